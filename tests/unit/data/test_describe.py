"""What is said of the data."""

import numpy as np
import pytest

from splade_sts import layout
from splade_sts.data.describe import LISTED_BAD_ROWS, Overlap, describe
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
    splits = dict.fromkeys(layout.SPLITS, pairs)
    bad = [BadRow(f"line {number}", "x") for number in range(LISTED_BAD_ROWS + 1)]
    found = describe(splits, bad_rows={"train": bad, "test": bad[:2]})
    train, test = (found.content()["splits"][split] for split in ("train", "test"))
    assert (train["bad_rows"], len(train["first_bad_rows"])) == (1001, 1000)
    assert (test["bad_rows"], test["first_bad_rows"]) == (
        2,
        [{"place": f"line {number}", "problem": "x"} for number in (0, 1)],
    )
    assert "bad_rows" not in found.headlines()
    assert found.headlines("drop")["bad_rows"] == 1003
    assert describe(splits).headlines("drop")["bad_rows"] == 0


def test_numbers_of_a_split():
    """Rows, mean, histogram with a closed last bin, words in a sentence."""
    pairs = Pairs(["a"] * 4, ["a b c", "b", "b", "b"], np.array([0.0, 0.1, 0.95, 1.0]))
    found = describe(dict.fromkeys(layout.SPLITS, pairs)).splits["train"]
    assert found.rows == 4
    assert found.mean_score == pytest.approx(0.5125)
    assert found.score_histogram == [1, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert (found.words_p50, found.words_max) == (1, 3)


def made(*rows: tuple[str, str, float]) -> Pairs:
    first, second, score = zip(*rows, strict=True)
    return Pairs(list(first), list(second), np.array(score))


def test_contradicting_duplicates():
    """Groups of rows with the same pair, in either order and any spelling, and those of them whose
    gold scores differ.
    """
    train = made(
        *(("a", "b", 0.5), ("B", "A ", 0.5), ("c", "d", 0.2), ("d", "c", 0.3), ("c", "d", 0.2)),
        *(("e", "f", 0.1), ("e", "g", 0.9)),
    )
    found = describe(dict.fromkeys(layout.SPLITS, train)).splits["train"]
    counts = (found.duplicate_pairs, found.duplicate_groups, found.contradicting_groups)
    assert counts == (3, 2, 1)


LONG = "one two three four five six seven eight nine"


def test_overlaps_and_leaks():
    """Pairs of a held-out split that stand in another one, have a sentence of it, or nearly one;
    and the pairs of train that each way to drop leaks would leave out.
    """
    train = made((LONG, "x", 0.0), ("p", "q", 0.5), ("P", "r", 0.7), ("s", "t", 1.0))
    validation = made(("q", "p", 0.0), ("p", "new", 0.5), ("v", "w", 1.0))
    test = made(
        *((LONG + " ten", "y", 0.0), (LONG + " ten", "V", 0.5), ("u", "X", 0.5)),
        *(("y", "z", 1.0), ("w", "v", 1.0), (LONG[4:], "x", 0.0)),
    )
    found = describe({"train": train, "validation": validation, "test": test})
    assert found.overlaps == {
        "validation_in_train": Overlap(same_pair=1, same_sentence=2, near_sentence=0),
        "test_in_train": Overlap(same_pair=0, same_sentence=2, near_sentence=2),
        "test_in_validation": Overlap(same_pair=1, same_sentence=2, near_sentence=0),
    }
    assert found.leaks == {"drop_from_train": 1, "drop_sentences_from_train": 3}
    assert found.content()["overlaps"]["test_in_train"]["near_sentence"] == 2
    assert found.headlines().keys() == {"rows", "shared_pairs"}
