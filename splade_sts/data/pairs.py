"""The sentence pairs of a split, and when two sentences or pairs are the same."""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from splade_sts import layout
from splade_sts.errors import UserError

# Fewest pairs of a split of which intervals are made.
MINIMUM_PAIRS = 10
# Share of resamples, at most, in which all gold scores of a split may be the same: a comparison
# fails where one of its resamples is such. With 10,000 of them that is one comparison in a hundred.
RAREST = 1e-6
# Unicode categories of controls and format characters: zero-width spaces and joiners, soft hyphens,
# byte order marks, direction marks.
UNSEEN_CHARACTERS = ("Cc", "Cf")


class InParts(Protocol):
    """Pairs that can be gone through: those of a file, or those in memory (`Pairs`)."""

    def __len__(self) -> int: ...

    def parts(self) -> Iterator["Pairs"]:
        """All pairs in their order, some at a time."""
        ...


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

    def parts(self) -> Iterator["Pairs"]:
        """All of them at once, see `InParts`."""
        yield self

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
    def read(cls, path: str | os.PathLike[str] | BytesIO) -> "Pairs":
        """Read what `write` wrote: a file, or its content."""
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
        """One key a pair, the same for (a, b) and (b, a): that of each sentence, see
        `sentence_key`.
        """
        return [(min(a, b), max(a, b)) for a, b in zip(*self.sentence_keys, strict=True)]

    @cached_property
    def sentence_keys(self) -> tuple[list[str], list[str]]:
        """`sentence_key` of every first and of every second sentence."""
        return [*map(sentence_key, self.sentence1)], [*map(sentence_key, self.sentence2)]

    def spelled_alike(self) -> "Pairs":
        """The same pairs, with sentences that are the same (`sentence_key`) spelled as the first of
        them in `sentences`.
        """
        first: dict[str, str] = {}
        spelling = {text: first.setdefault(sentence_key(text), text) for text in self.sentences}
        return Pairs(
            [spelling[text] for text in self.sentence1],
            [spelling[text] for text in self.sentence2],
            self.score,
            self.genre,
        )

    def with_sentence_of(self, *others: InParts) -> NDArray[np.bool_]:
        """Whether a sentence of a pair occurs in one of `others`, in any pair, on either side: bool
        (pairs,). Of `others` a part is held at a time.
        """
        first, second = self.sentence_keys
        own = {*first, *second}
        known: set[str] = set()
        for part in (part for other in others for part in other.parts()):
            for side in part.sentence_keys:
                known |= own.intersection(side)
        return np.array(
            [a in known or b in known for a, b in zip(first, second, strict=True)], dtype=bool
        )

    def same_as_one_of(self, other: InParts) -> NDArray[np.bool_]:
        """Whether a pair (`keys`) stands in `other`: bool (pairs,)."""
        keys = self.keys
        own = set(keys)
        known: set[tuple[str, str]] = set()
        for part in other.parts():
            known |= own.intersection(part.keys)
        return np.array([key in known for key in keys], dtype=bool)


Splits = dict[str, Pairs]


def check_size(pairs: Pairs, split: str) -> None:
    """Raise `UserError` where a split or test set has too few pairs for intervals."""
    if len(pairs) < MINIMUM_PAIRS:
        raise UserError(
            f"{split} has {len(pairs)} pairs; intervals need at least {MINIMUM_PAIRS}: use a "
            "larger split"
        )


def check_gold(pairs: Pairs, split: str, key: str = "data") -> None:
    """Raise `UserError` where the gold scores of a split or test set allow no comparison: fewer
    than `MINIMUM_PAIRS`, or (almost) all the same. `key` names what it is read by, in params.yaml.
    """
    check_size(pairs, split)
    values, counts = np.unique(pairs.score, return_counts=True)
    most, score = int(counts.max()), values[counts.argmax()]
    advice = f"check {key}.columns.score and {key}.score_range, or use a larger split"
    if most == len(pairs):
        raise UserError(
            f"{split}: all {most} gold scores are {score:g} (of 0 to 1), which correlate with "
            f"nothing; {advice}"
        )
    # a resample draws as many pairs as there are
    if (most / len(pairs)) ** len(pairs) > RAREST:
        raise UserError(
            f"{split}: {most} of {len(pairs)} gold scores are {score:g} (of 0 to 1), too many for "
            f"intervals: in some resamples all would be the same; {advice}"
        )


def leaks(splits: Splits, sentences: bool) -> NDArray[np.bool_]:
    """Which pairs of train also stand in validation or test: bool (pairs of train,).

    Args:
        splits: the pairs of each split.
        sentences: True counts every pair with a sentence that occurs there, in any pair; False only
            whole pairs, in either order of their sentences.
    """
    train, held_out = splits["train"], [splits[split] for split in layout.HELD_OUT]
    if sentences:
        return train.with_sentence_of(*held_out)
    known = {key for pairs in held_out for key in pairs.keys}
    return np.array([key in known for key in train.keys], dtype=bool)


def drop_leaks(parts: Iterable[Pairs], held_out: Splits, sentences: bool) -> Iterator[Pairs]:
    """The pairs of train without its `leaks`, part by part.

    Args:
        parts: train.
        held_out: the pairs of validation and test.
        sentences: see `leaks`.

    Raises:
        UserError: no pair of train is left.
    """
    left = 0
    for part in parts:
        kept = ~leaks({**held_out, "train": part}, sentences)
        left += int(kept.sum())
        if kept.any():
            yield part.select(kept)
    if not left:
        found = (
            "drop_sentences_from_train, but every pair of train has a sentence that also occurs"
            if sentences
            else "drop_from_train, but every pair of train also occurs"
        )
        raise UserError(
            f"data.on_leak is {found} in validation or test; set it to keep, or take other splits"
        )


def sentence_key(text: str) -> str:
    """What counts as the same sentence as another, everywhere: two with the same key.

    Unicode forms (canonical caseless matching: The Unicode Standard, section 3.13, D145), case,
    white space, and characters that nobody sees (`UNSEEN_CHARACTERS`) do not matter.
    """
    if not text.isprintable():
        text = "".join(
            character
            for character in text
            if character.isspace() or unicodedata.category(character) not in UNSEEN_CHARACTERS
        )
    folded = unicodedata.normalize("NFD", text).casefold()
    return " ".join(unicodedata.normalize("NFC", folded).split())


def unseen(pairs: Pairs, train: InParts) -> NDArray[np.bool_]:
    """Whether neither sentence of a pair occurs in `train` (in any pair, on either side): bool
    (pairs,).
    """
    return ~pairs.with_sentence_of(train)
