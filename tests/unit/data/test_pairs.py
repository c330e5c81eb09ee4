"""Pairs, which of them are the same, and which sentences another split has seen."""

import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_sts import layout
from splade_sts.data.pairs import Pairs, check_gold, drop_leaks, sentence_key, unseen
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


def without_leaks(train: Pairs, sentences: bool) -> Pairs:
    """In one part, and the same in parts of a pair each."""
    held_out = {split: SPLITS[split] for split in layout.HELD_OUT}
    (kept,) = drop_leaks([train], held_out, sentences)
    each = (train.select(np.arange(len(train)) == row) for row in range(len(train)))
    parts = [*drop_leaks(each, held_out, sentences)]
    assert [part.sentence1[0] for part in parts] == kept.sentence1
    return kept


def test_drop_leaks():
    """In either order of the sentences."""
    kept = without_leaks(SPLITS["train"], sentences=False)
    assert (kept.sentence1, kept.sentence2) == (["a", "b", "a"], ["b", "a", "b"])
    assert kept.score.tolist() == [0.0, 0.25, 0.75]
    with pytest.raises(UserError, match="every pair of train"):
        without_leaks(made(("c", "d")), sentences=False)


def test_drop_sentences():
    """Every pair of train goes that has a sentence of a held-out split, on either side."""
    train = made(("a", "b"), ("u", "H\u200b"), ("C ", "v"), ("w", "z"), ("x", "y"))
    kept = without_leaks(train, sentences=True)
    assert (kept.sentence1, kept.sentence2) == (["w"], ["z"])
    assert kept.score.tolist() == [0.75]
    with pytest.raises(UserError, match="drop_sentences_from_train, but every pair of train has"):
        without_leaks(made(("c", "u"), ("u", "a")), sentences=True)


def test_drop_leaks_of_another_spelling():
    """A pair is the same where its sentences are: (`C  `, `D`) and (`d`, `c`)."""
    assert without_leaks(made(("C  ", "D"), ("c", "e")), sentences=False).sentence2 == ["e"]


def test_unseen():
    """A sentence on either side of train counts on either side; case and white space do not."""
    train = made(("W1  Long ", "never"), ("x", "w3 OTHER"), ("w7 other", "y"))
    pairs = made(*((f"w{number} long", f"w{number} other") for number in range(10)))
    assert unseen(pairs, train).tolist() == [number not in (1, 3, 7) for number in range(10)]


SAME = [
    (" A\u00a0 b\n", "a b"),
    ("CAF\u00c9", "cafe\u0301"),
    ("STRASSE", "stra\u00dfe"),
    ("a\u200bb", "ab"),  # zero-width space
    ("a\u200db", "ab"),  # zero-width joiner
    ("co\u00adop", "coop"),  # soft hyphen
    ("\ufeffab", "ab"),  # byte order mark
    ("a\u2060b\u200f", "ab"),  # word joiner, mark of direction
    ("e\u200b\u0301", "\u00e9"),
    ("a\x00b", "ab"),
    ("\u03b1\u0345\u0301", "\u1fb4"),
]


@pytest.mark.parametrize(("text", "other"), SAME, ids=map(str, range(len(SAME))))
def test_the_same_sentence(text, other):
    """Unicode forms, case, white space and what nobody sees make no other sentence, anywhere."""
    assert sentence_key(text) == sentence_key(other)
    pairs, train = made((text, "x"), ("z", "x")), made(("y", other), ("u", "v"))
    assert unseen(pairs, train).tolist() == [False, True]
    assert made((text, "x")).keys == made(("X", other)).keys
    assert made((text, other), ("x", text)).spelled_alike().sentences == [text, "x"]


@pytest.mark.parametrize(
    ("text", "other"), [("a b", "ab"), ("a.", "a"), ("\u00e9", "e"), ("1", "\u00b9"), ("ok", "0k")]
)
def test_other_sentences(text, other):
    """Nothing that is seen is left out."""
    assert sentence_key(text) != sentence_key(other)


@given(st.text())
def test_a_key_is_its_own_key(text):
    """And that of every Unicode form of it."""
    key = sentence_key(text)
    assert sentence_key(key) == key
    assert sentence_key(unicodedata.normalize("NFD", text)) == key
    assert sentence_key(unicodedata.normalize("NFC", text)) == key


def gold(*counts: int) -> Pairs:
    """Pairs of which the first score has so many, the second so many, and so on."""
    scores = np.repeat(np.linspace(0, 1, len(counts)), counts)
    return Pairs(["a"] * len(scores), ["b"] * len(scores), scores)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (gold(3, 3, 3), "test has 9 pairs; intervals need at least 10"),
        (gold(50), "test: all 50 gold scores are 0 (of 0 to 1), which correlate with nothing"),
        (gold(1, 49), "test: 49 of 50 gold scores are 1 (of 0 to 1), too many for intervals"),
        (gold(13, 1387), "test: 1387 of 1400 gold scores are 1"),
        (gold(5, 5), "test: 5 of 10 gold scores are 0"),
    ],
)
def test_gold_that_allows_no_comparison(pairs, expected):
    """Too few, or (almost) all the same."""
    with pytest.raises(UserError) as error:
        check_gold(pairs, "test")
    assert str(error.value).startswith(expected)


@pytest.mark.parametrize(
    "pairs", [gold(*[1] * 10), gold(10, 10), gold(14, 1386)], ids=["few", "halves", "rare"]
)
def test_gold_that_allows_one(pairs):
    """Hardly a resample holds a single value."""
    check_gold(pairs, "test")
    generator = np.random.default_rng(0)
    drawn = generator.choice(pairs.score, (2000, len(pairs)))
    assert not (drawn == drawn[:, :1]).all(axis=1).any()
