"""The sample data is what its data card says, and nothing else passes for it."""

import csv
import shutil
from collections import defaultdict

import pytest
from scipy.stats import spearmanr

from splade_sts import layout
from splade_sts.data.pairs import sentence_key
from splade_sts.data.sample import sample_file
from splade_sts.errors import UserError
from splade_sts.text import words
from tests.support.commands import ROOT

FOLDER = ROOT / "data" / "sample"


@pytest.fixture(scope="module")
def sample() -> dict[str, list[tuple[str, str, float]]]:
    splits = {}
    for split in layout.SPLITS:
        with (FOLDER / f"{split}.csv").open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            splits[split] = [(r["sentence1"], r["sentence2"], float(r["score"])) for r in rows]
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
    """Not even in another spelling."""
    train, validation, test = (
        {sentence_key(text) for row in rows for text in row[:2]} for rows in sample.values()
    )
    assert train.isdisjoint(validation)
    assert train.isdisjoint(test)
    assert validation.isdisjoint(test)


def test_word_overlap_does_not_solve_it(sample):
    """Jaccard overlap of words explains clearly less than an encoder does."""
    rows = [row for split in sample.values() for row in split]
    sides = [(set(words(first)), set(words(second))) for first, second, _ in rows]
    overlap = [len(a & b) / len(a | b) for a, b in sides]
    assert spearmanr(overlap, [score for _, _, score in rows])[0] < 0.5


def test_only_our_own_files_pass(tmp_path, monkeypatch):
    """A file that is missing or has been edited is refused, with the way to get it back."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(FOLDER, layout.SAMPLE)
    for split in layout.SPLITS:
        assert sample_file(split) == layout.SAMPLE / f"{split}.csv"
    with (layout.SAMPLE / "test.csv").open("a", encoding="utf-8") as file:
        file.write("a,b,1\n")
    (layout.SAMPLE / "train.csv").unlink()
    for split in ("train", "test"):
        with pytest.raises(UserError, match=rf"git checkout data/sample/{split}\.csv"):
            sample_file(split)
