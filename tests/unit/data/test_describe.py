"""What is said of the data."""

import numpy as np
import pytest

from splade_sts.data.describe import LISTED_BAD_ROWS, describe
from splade_sts.data.normalize import BadRow
from splade_sts.data.pairs import Pairs


def test_duplicates_and_shared_pairs():
    """(a, b) and (b, a) are one pair; shared pairs are counted once."""

    def made(first: str, second: str) -> Pairs:
        return Pairs(list(first), list(second), np.zeros(len(first)))

    splits = {"train": made("abcah", "badbg"), "validation": made("deg", "cfh")}
    found = describe({**splits, "test": made("ga", "hx")}, dropped=3)
    duplicates = {split: values.duplicate_pairs for split, values in found.splits.items()}
    assert duplicates == {"train": 2, "validation": 0, "test": 0}
    shared = {"train_validation": 2, "train_test": 1, "validation_test": 1}
    assert found.shared_pairs == shared
    assert found.splits["train"].dropped == 3
    assert found.headlines() == {
        "rows": {"train": 5, "validation": 3, "test": 2},
        "shared_pairs": {"train_validation": 2, "train_test": 1},
    }
    assert found.content()["splits"]["train"]["dropped"] == 3


def test_bad_rows():
    """Counted and listed by split, the list being bounded; a headline only where they are
    dropped.
    """
    pairs = Pairs(["a"], ["b"], np.zeros(1))
    bad = [BadRow(f"line {number}", "x") for number in range(LISTED_BAD_ROWS + 1)]
    found = describe({"train": pairs, "test": pairs}, bad_rows={"train": bad, "test": bad[:2]})
    train, test = (found.content()["splits"][split] for split in ("train", "test"))
    assert (train["bad_rows"], len(train["first_bad_rows"])) == (1001, 1000)
    assert (test["bad_rows"], test["first_bad_rows"]) == (
        2,
        [{"place": f"line {number}", "problem": "x"} for number in (0, 1)],
    )
    assert "bad_rows" not in found.headlines()
    assert found.headlines("drop")["bad_rows"] == 1003
    assert describe({"train": pairs}).headlines("drop")["bad_rows"] == 0


def test_numbers_of_a_split():
    """Rows, mean, histogram with a closed last bin, words in a sentence."""
    pairs = Pairs(["a"] * 4, ["a b c", "b", "b", "b"], np.array([0.0, 0.1, 0.95, 1.0]))
    found = describe({"train": pairs}).splits["train"]
    assert found.rows == 4
    assert found.mean_score == pytest.approx(0.5125)
    assert found.score_histogram == [1, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert (found.words_p50, found.words_max) == (1, 3)
