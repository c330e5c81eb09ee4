"""What the models of runs that differ in their seed say of the same pairs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np

from splade_sts import layout
from splade_sts.comparison.statistics import Array
from splade_sts.controls.scores import DENSE, ControlScores
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions
from splade_sts.runs.record import not_in_cache
from splade_sts.runs.source import RunFiles

Read = TypeVar("Read")


class NotInCacheError(UserError):
    """DVC's cache does not hold what was asked for; `dvc pull` may get it."""


@dataclass(frozen=True, eq=False)
class SplitScores:
    """Scores of the pairs of one split.

    Attributes:
        pairs: the pairs.
        finetuned: cosines of the fine-tuned model of each run, in the order of the runs: float64
            (runs, pairs).
        base: cosines of the base model that all runs have, float64 (pairs,).
        dense: those of the dense encoder, None where the runs have no such control.
    """

    pairs: Pairs
    finetuned: Array
    base: Array
    dense: Array | None


def read_scores(opened: Mapping[str, RunFiles], split: str) -> SplitScores:
    """The scores of runs, of which the base model and the controls are the same.

    Args:
        opened: the files of each run, by name.
        split: validation, test, or the name of another set that the models were evaluated on.

    Raises:
        NotInCacheError: DVC's cache lacks some of them.
        UserError: the runs were not evaluated on such a set, or on other pairs under that name.
    """
    first = next(iter(opened))
    wanted = layout.prediction("finetuned", split)
    missing = [name for name, files in opened.items() if not _there(files, wanted, name)]
    if missing:
        raise NotInCacheError(not_in_cache([f"{wanted} of {', '.join(missing)}"]))
    tuned = {name: _read(files, wanted, name, Predictions.read) for name, files in opened.items()}
    base = _read(opened[first], layout.prediction("base", split), first, Predictions.read)
    controls = _read(opened[first], layout.control(split), first, ControlScores.read)
    pairs = tuned[first].pairs
    for name, one in tuned.items():
        check_same_pairs(split, {first: pairs, name: one.pairs})
    return SplitScores(
        pairs,
        np.stack([one.cosine for one in tuned.values()]),
        base.cosine,
        controls.scores.get(DENSE),
    )


def check_same_pairs(split: str, found: Mapping[str, Pairs]) -> None:
    """Check that two runs were evaluated on the same pairs.

    Args:
        split: its name, for the message.
        found: the pairs by name of the run.

    Raises:
        UserError: they were not.
    """
    first, *others = found
    for other in others:
        if not found[other].same_as(found[first]):
            raise UserError(
                f"{first} and {other} were evaluated on other pairs ({split}): they are not to be "
                "compared; name runs of the same data set"
            )


def _there(files: RunFiles, path: Path, name: str) -> bool:
    """Whether the cache has the list of the folder of `path`.

    Raises:
        UserError: it has, and `path` is not in it.
    """
    folder = layout.predictions("finetuned")
    try:
        found = files.names(folder)
    except FileNotFoundError:
        return False
    splits = [layout.prediction("finetuned", split) for split in layout.HELD_OUT]
    listed = [one for one in splits if one in found] + _names(files, folder / layout.TEST_SETS)
    if path not in listed:
        raise UserError(
            f"{name} was not evaluated on {path.stem}; it was on: "
            f"{', '.join(one.stem for one in listed)}"
        )
    return True


def _names(files: RunFiles, folder: Path) -> list[Path]:
    """The files right in `folder`; none where there is no such folder."""
    try:
        return files.names(folder)
    except FileNotFoundError:
        return []


def _read(files: RunFiles, path: Path, name: str, read: Callable[[BytesIO], Read]) -> Read:
    try:
        return read(BytesIO(files.read(path)))
    except FileNotFoundError:
        raise NotInCacheError(not_in_cache([f"{path} of {name}"])) from None
