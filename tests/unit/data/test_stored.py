"""Pairs that are read in parts."""

import numpy as np
import pytest

from splade_sts.data import stored as module
from splade_sts.data.pairs import Pairs, unseen
from splade_sts.data.stored import DistinctSentences, StoredPairs, write_parts

PAIRS = Pairs(
    ["a", "b", "ä", "a", "c"], ["b", "a", "d", "ä", "e"], np.array([0.0, 0.5, 1.0, 0.25, 0.125])
)


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PART", 2)
    PAIRS.write(tmp_path / "pairs.parquet")
    return StoredPairs(tmp_path / "pairs.parquet")


def test_parts_are_all_pairs_in_order(stored):
    """No more at a time than wanted."""
    parts = list(stored.parts())
    assert [len(part) for part in parts] == [2, 2, 1]
    assert len(stored) == 5
    assert [text for part in parts for text in part.sentence2] == PAIRS.sentence2
    assert np.concatenate([part.score for part in parts]).tolist() == PAIRS.score.tolist()


@pytest.mark.parametrize("numbers", [range(6), [5, 0, 2], []])
def test_distinct_sentences(stored, numbers):
    """Those of `Pairs.sentences`, by their number, from a file or from memory."""
    expected = [PAIRS.sentences[number] for number in numbers]
    for pairs in (stored, PAIRS):
        found = DistinctSentences(pairs)
        assert len(found) == 6
        assert found.at(numbers) == expected


def test_parts_that_are_written(tmp_path, stored):
    """They come back together; one part gives the bytes of `Pairs.write`, an empty one none."""
    nothing = PAIRS.select(np.zeros(5, dtype=bool))
    write_parts([nothing, *stored.parts(), nothing], tmp_path / "parts.parquet")
    assert Pairs.read(tmp_path / "parts.parquet").same_as(PAIRS)
    write_parts([PAIRS], tmp_path / "one.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == stored.path.read_bytes()


def test_what_a_split_knows_of_stored_pairs(stored):
    """The same in parts as of all at once."""
    others = Pairs(["E", "x", "d"], ["C", "a", "y"], np.array([0.0, 0.5, 1.0]))
    for pairs in (stored, PAIRS):
        assert unseen(others, pairs).tolist() == [False, False, False]
        assert others.same_as_one_of(pairs).tolist() == [True, False, False]
    assert unseen(Pairs(["x"], ["y"], np.zeros(1)), stored).tolist() == [True]
