"""Which pairs models are measured on: the held-out splits, and the further test sets."""

from collections.abc import Sequence
from pathlib import Path

from splade_sts import layout
from splade_sts.files import read_json, write_json


def write_names(folder: Path, names: Sequence[str]) -> None:
    """Write the names of the further test sets below `folder`, which holds the normalized tables.

    There is such a file in any case: DVC keeps no empty folder, and stages depend on this one.
    """
    write_json(folder / layout.SET_NAMES.relative_to(layout.NORMALIZED), {"names": list(names)})


def set_names() -> list[str]:
    """The names of the further test sets whose pairs are normalized, in the order of
    `data.test_sets`.
    """
    names: list[str] = read_json(layout.SET_NAMES)["names"]
    return names


def held_out() -> list[str]:
    """Everything that models are measured on: validation, test, and the further test sets. The
    pairs of each are in `layout.normalized`.

    Only validation ever selects anything.
    """
    return [*layout.HELD_OUT, *set_names()]
