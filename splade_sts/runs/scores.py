"""What the models of runs that differ in their seed say of the same pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from splade_sts import layout
from splade_sts.comparison.evidence import Level
from splade_sts.comparison.slices import MINIMUM_SLICE
from splade_sts.comparison.statistics import Array
from splade_sts.comparison.suite import kept
from splade_sts.controls.scores import DENSE, ControlScores
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions
from splade_sts.runs.record import not_in_cache
from splade_sts.runs.source import RunFiles

Found = TypeVar("Found")
# What of train a set is taken without.
Without = Literal["pairs", "sentences"]
LEFT_OUT: dict[Without, Level] = {"pairs": "without_pairs", "sentences": "without_sentences"}


class NotInCacheError(UserError):
    """DVC's cache does not hold what was asked for; `dvc pull` may get it."""


class TooFewError(UserError):
    """Too few pairs are left of a split or test set."""


@dataclass(frozen=True, eq=False)
class SplitScores:
    """Scores of the pairs of one split.

    Attributes:
        pairs: the pairs.
        finetuned: cosines of the fine-tuned model of each run, in the order of the runs: float64
            (runs, pairs).
        base: cosines of the base model that all runs have, float64 (pairs,).
        dense: those of the dense encoder, None where the runs have no such control.
        left_out: how many other pairs the split has; None where all of them count.
    """

    pairs: Pairs
    finetuned: Array
    base: Array
    dense: Array | None
    left_out: int | None = None

    def select(self, chosen: NDArray[np.bool_]) -> "SplitScores":
        """The pairs for which `chosen`, bool (pairs,), is true; the others are left out."""
        return SplitScores(
            self.pairs.select(chosen),
            self.finetuned[:, chosen],
            self.base[chosen],
            None if self.dense is None else self.dense[chosen],
            int(len(chosen) - chosen.sum()),
        )


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
    tuned = {
        name: _held(read_predictions(files, "finetuned", split), wanted, name)
        for name, files in opened.items()
    }
    base, controls = layout.prediction("base", split), layout.control(split)
    shared = _held(read_predictions(opened[first], "base", split), base, first)
    dense = _held(read_controls(opened[first], split), controls, first).scores.get(DENSE)
    pairs = tuned[first].pairs
    for name, one in tuned.items():
        check_same_pairs(split, {first: pairs, name: one.pairs})
    return SplitScores(
        pairs,
        np.stack([one.cosine for one in tuned.values()]),
        shared.cosine,
        dense,
    )


def read_train(opened: Mapping[str, RunFiles]) -> Pairs:
    """The pairs that runs with the same data were trained on.

    Args:
        opened: the files of each run, by name.

    Raises:
        NotInCacheError: DVC's cache lacks them.
        UserError: DVC cannot read them.
    """
    name, files = next(iter(opened.items()))
    path = layout.normalized("train")
    content = _content(files, path)
    if content is None:
        raise NotInCacheError(
            f"what train of {name} holds is not known: {not_in_cache([str(path)])}; without "
            "--without, all pairs count"
        )
    return Pairs.read(content)


def left_of(
    split: str, pairs: Pairs, trains: Sequence[Pairs], without: Without
) -> NDArray[np.bool_]:
    """Which pairs of a split or test set are left without what one of `trains` holds, as in the
    report's tables of test sets: bool (pairs,).

    Raises:
        TooFewError: fewer than `MINIMUM_SLICE` are left, and not all.
    """
    found = [kept(pairs, train)[LEFT_OUT[without]] for train in trains]
    left: NDArray[np.bool_] = np.logical_and.reduce(found)
    if left.sum() < MINIMUM_SLICE and not left.all():
        raise TooFewError(
            f"{split}: of {len(pairs)} pairs {left.sum()} are left without {without} of train; "
            f"intervals need at least {MINIMUM_SLICE}"
        )
    return left


def read_predictions(files: RunFiles, model: layout.Model, split: str) -> Predictions | None:
    """What a model of a run says of the pairs of a split; None where DVC's cache does not hold it.

    Raises:
        UserError: DVC cannot read it.
    """
    content = _content(files, layout.prediction(model, split))
    return None if content is None else Predictions.read(content)


def read_controls(files: RunFiles, split: str) -> ControlScores | None:
    """What the controls of a run say of the pairs of a split; None where DVC's cache does not hold
    it.

    Raises:
        UserError: DVC cannot read it.
    """
    content = _content(files, layout.control(split))
    return None if content is None else ControlScores.read(content)


def _content(files: RunFiles, path: Path) -> BytesIO | None:
    try:
        return BytesIO(files.read(path))
    except FileNotFoundError:
        return None


def _held(found: Found | None, path: Path, name: str) -> Found:
    if found is None:
        raise NotInCacheError(not_in_cache([f"{path} of {name}"]))
    return found


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
