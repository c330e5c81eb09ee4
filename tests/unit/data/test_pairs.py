"""Pairs, which of them are the same, and which sentences another split has seen."""

import numpy as np
import pandas as pd
import pytest

from splade_sts.data.pairs import Pairs, drop_leaks, sentence_key, unseen
from splade_sts.errors import UserError


def made(*pairs: tuple[str, str]) -> Pairs:
    first, second = zip(*pairs, strict=True)
    return Pairs(list(first), list(second), np.linspace(0, 1, len(pairs)))


SPLITS = {
    "train": made(("a", "b"), ("b", "a"), ("c", "d"), ("a", "b"), ("h", "g")),
    "validation": made(("d", "c"), ("e", "f"), ("g", "h")),
    "test": made(("g", "h"), ("a", "x")),
}


def test_columns_of_different_lengths():
    """They are no pairs."""
    with pytest.raises(ValueError, match="different lengths"):
        Pairs(["a"], ["b", "c"], np.zeros(1))


@pytest.mark.parametrize("genre", [None, ["x", "y"]])
def test_a_file_gives_back_what_was_written(tmp_path, genre):
    """Sentences, scores to the last bit, and the genre where there is one."""
    written = Pairs(["a", "Ä \n"], ["c", "d"], np.array([0.1, 1 / 3]), genre)
    written.write(tmp_path / "p.parquet")
    read = Pairs.read(tmp_path / "p.parquet")
    assert read.same_as(written)
    assert read.genre == genre
    names = ["sentence1", "sentence2", "score", "genre"][: 4 if genre else 3]
    assert list(pd.read_parquet(tmp_path / "p.parquet").columns) == names


def test_sentences_and_selection():
    """Distinct sentences, first sides first; a selection keeps the order and all columns."""
    pairs = Pairs(["a", "b", "a"], ["c", "a", "d"], np.array([0.0, 0.5, 1.0]), ["x", "y", "z"])
    assert pairs.sentences == ["a", "b", "c", "d"]
    kept = pairs.select(np.array([True, False, True]))
    assert (kept.sentence1, kept.sentence2, kept.genre) == (["a", "a"], ["c", "d"], ["x", "z"])
    assert kept.score.tolist() == [0.0, 1.0]


def test_same_pairs():
    """Sentences, scores and order count."""
    pairs = SPLITS["train"]
    assert pairs.same_as(made(*zip(pairs.sentence1, pairs.sentence2, strict=True)))
    assert not pairs.same_as(pairs.select(np.arange(5) < 4))
    assert not pairs.same_as(Pairs(pairs.sentence1, pairs.sentence2, pairs.score[::-1]))
    assert not pairs.same_as(Pairs(pairs.sentence2, pairs.sentence1, pairs.score))


def test_drop_leaks():
    """Only train loses pairs, in either order of the sentences."""
    kept = drop_leaks(SPLITS)
    assert (kept["train"].sentence1, kept["train"].sentence2) == (["a", "b", "a"], ["b", "a", "b"])
    assert kept["train"].score.tolist() == [0.0, 0.25, 0.75]
    assert kept["validation"] is SPLITS["validation"]
    assert kept["test"] is SPLITS["test"]
    with pytest.raises(UserError, match="every pair of train"):
        drop_leaks({**SPLITS, "train": made(("c", "d"))})


def test_unseen():
    """A sentence on either side of train counts on either side; case and white space do not."""
    train = made(("W1  Long ", "never"), ("x", "w3 OTHER"), ("w7 other", "y"))
    pairs = made(*((f"w{number} long", f"w{number} other") for number in range(10)))
    assert unseen(pairs, train).tolist() == [number not in (1, 3, 7) for number in range(10)]
    assert sentence_key(" A\u00a0 b\n") == "a b"
