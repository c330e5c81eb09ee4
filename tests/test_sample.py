"""The sample data is what its data card says."""

import csv
from collections import defaultdict

import pytest
from scipy.stats import spearmanr

from tests.conftest import ROOT

FOLDER = ROOT / "data" / "sample"


@pytest.fixture(scope="module")
def sample() -> dict[str, list[tuple[str, str, float]]]:
    splits = {}
    for split in ("train", "validation", "test"):
        with open(FOLDER / f"{split}.csv", newline="", encoding="utf-8") as file:
            splits[split] = [(r["sentence1"], r["sentence2"], float(r["score"])) for r in csv.DictReader(file)]
    return splits


def test_size_and_scale(sample):
    """At least 900 pairs; at least 150 starting sentences with partners over the whole scale."""
    rows = [row for split in sample.values() for row in split]
    assert len(rows) >= 900
    assert all(0 <= score <= 5 for _, _, score in rows)
    bands = defaultdict(set)
    for first, second, score in rows:
        for sentence in (first, second):
            bands[sentence].add(round(score))
    assert sum(found >= {0, 1, 2, 3, 4, 5} for found in bands.values()) >= 150


def test_no_sentence_in_two_splits(sample):
    """Not even in another case."""
    sentences = {
        split: {text.casefold() for row in rows for text in row[:2]} for split, rows in sample.items()
    }
    assert not sentences["train"] & sentences["validation"]
    assert not sentences["train"] & sentences["test"]
    assert not sentences["validation"] & sentences["test"]


def test_word_overlap_does_not_solve_it(sample):
    """Jaccard overlap of lower-cased words explains clearly less than an encoder does."""
    def words(text):
        return {word.strip(".,;:!?\"'()") for word in text.lower().split()}

    rows = [row for split in sample.values() for row in split]
    overlap = [len(words(a) & words(b)) / len(words(a) | words(b)) for a, b, _ in rows]
    rho = spearmanr(overlap, [score for _, _, score in rows])[0]
    print(f"Jaccard Spearman {rho:.3f}")
    assert rho < 0.5
