"""The sentence pairs of a split, and when two of them are the same."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from splade_sts.errors import UserError

# Fewest pairs of a split of which intervals are made.
MINIMUM_PAIRS = 10


@dataclass(frozen=True, eq=False)
class Pairs:
    """Sentence pairs with their gold scores, as every stage after `normalize` reads them.

    Attributes:
        sentence1, sentence2: the two sides, Unicode NFC without outer white space; (pairs,).
        score: gold scores, float64 in [0, 1]; (pairs,).
        genre: where each pair comes from; None where the data does not say.
    """

    sentence1: list[str]
    sentence2: list[str]
    score: NDArray[np.float64]
    genre: list[str] | None = None

    def __post_init__(self) -> None:
        lengths = {
            len(column)
            for column in (self.sentence1, self.sentence2, self.score, self.genre)
            if column is not None
        }
        if len(lengths) != 1:
            raise ValueError(f"columns of different lengths: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.sentence1)

    @property
    def sentences(self) -> list[str]:
        """The distinct sentences: first sides in their order, then second sides."""
        return list(dict.fromkeys([*self.sentence1, *self.sentence2]))

    def select(self, chosen: NDArray[np.bool_]) -> "Pairs":
        """The pairs for which `chosen`, bool (pairs,), is true."""
        keep = [bool(value) for value in chosen]

        def part(column: list[str]) -> list[str]:
            return [value for value, kept in zip(column, keep, strict=True) if kept]

        genre = None if self.genre is None else part(self.genre)
        return Pairs(
            part(self.sentence1),
            part(self.sentence2),
            self.score[np.array(keep, dtype=bool)],
            genre,
        )

    def table(self) -> pd.DataFrame:
        """A table with a column for each attribute that is there."""
        columns = {"sentence1": self.sentence1, "sentence2": self.sentence2, "score": self.score}
        if self.genre is not None:
            columns["genre"] = self.genre
        return pd.DataFrame(columns)

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> "Pairs":
        """The pairs in the columns `sentence1`, `sentence2`, `score` and, where there is one,
        `genre`.
        """
        genre = table["genre"].tolist() if "genre" in table else None
        return cls(
            table["sentence1"].tolist(),
            table["sentence2"].tolist(),
            table["score"].to_numpy("float64"),
            genre,
        )

    def write(self, path: Path) -> None:
        """Write the pairs as Parquet."""
        self.table().to_parquet(path, index=False)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Pairs":
        """Read what `write` wrote."""
        return cls.from_table(pd.read_parquet(path))

    def same_as(self, other: "Pairs") -> bool:
        """Whether `other` holds the same sentences and gold scores in the same order."""
        return (
            self.sentence1 == other.sentence1
            and self.sentence2 == other.sentence2
            and np.array_equal(self.score, other.score)
        )

    @property
    def keys(self) -> list[tuple[str, str]]:
        """One key a pair, the same for (a, b) and (b, a)."""
        return [(min(a, b), max(a, b)) for a, b in zip(self.sentence1, self.sentence2, strict=True)]


Splits = dict[str, Pairs]


def check_size(pairs: Pairs, split: str) -> None:
    """Raise `UserError` where a split has too few pairs for intervals."""
    if len(pairs) < MINIMUM_PAIRS:
        raise UserError(
            f"{split} has {len(pairs)} pairs; intervals need at least {MINIMUM_PAIRS}: use a "
            "larger split"
        )


def drop_leaks(splits: Splits) -> Splits:
    """The splits, with the pairs of train that also stand in validation or test (in either order)
    dropped.

    Raises:
        UserError: no pair of train would be left.
    """
    held_out = {*splits["validation"].keys, *splits["test"].keys}
    train = splits["train"]
    kept = train.select(np.array([key not in held_out for key in train.keys], dtype=bool))
    if not len(kept):
        raise UserError(
            "data.on_leak is drop_from_train, but every pair of train also occurs in validation "
            "or test"
        )
    return {**splits, "train": kept}


def sentence_key(text: str) -> str:
    """What counts as the same sentence as another: case and white space do not matter."""
    return " ".join(text.casefold().split())


def unseen(pairs: Pairs, train: Pairs) -> NDArray[np.bool_]:
    """Whether neither sentence of a pair occurs in `train` (in any pair, on either side): bool
    (pairs,).
    """
    seen = {sentence_key(text) for text in train.sentences}
    return np.array(
        [
            sentence_key(first) not in seen and sentence_key(second) not in seen
            for first, second in zip(pairs.sentence1, pairs.sentence2, strict=True)
        ],
        dtype=bool,
    )
