"""Test Spearman of two runs on the same pairs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from splade_sts import layout
from splade_sts.comparison.statistics import Array, Bootstrap
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions
from splade_sts.runs.regression import as_json, as_text, regression
from splade_sts.runs.scores import NotInCacheError
from tests.support.commands import printed, run
from tests.support.projects import commit

COUNT = 200
BOOTSTRAP = Bootstrap(resamples=500, confidence=0.95, seed=0)
GENERATOR = np.random.default_rng(0)
GOLD = np.round(GENERATOR.uniform(size=COUNT), 2)
NOISE = GENERATOR.normal(size=COUNT)
# The same scores with ever more of an error of their own on top of a common one.
GOOD, BAD, NEAR = (
    GOLD + 0.4 * NOISE + error * GENERATOR.normal(size=COUNT) for error in (0, 0.3, 0.02)
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A DVC project in Git, with a run in each commit, by tag; Git holds their predictions."""
    (tmp_path / ".dvc").mkdir()
    run(["git", "init", "-q"], tmp_path)
    commit_nothing = ["git", "commit", "-q", "--allow-empty", "-m", "nothing"]
    run(commit_nothing, tmp_path)
    run(["git", "tag", "nothing"], tmp_path)
    scores = {"good": GOOD, "bad": BAD, "near": NEAR, "flat": np.ones(COUNT), "other": GOOD}
    for name, cosine in scores.items():
        write(tmp_path, cosine, "b" if name == "other" else "a")
        commit(tmp_path, name)
        run(["git", "tag", name], tmp_path)
    return tmp_path


def write(folder: Path, cosine: Array, sentence: str) -> None:
    """The predictions of a fine-tuned model for pairs that begin with `sentence`."""
    path, dims = folder / layout.prediction("finetuned", "test"), np.ones(COUNT, dtype=np.int64)
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = Pairs([sentence] * COUNT, ["c"] * COUNT, GOLD)
    Predictions(pairs, cosine, dims, dims, [[]] * COUNT).write(path)


def test_a_fall_is_seen_in_the_same_pairs(root: Path) -> None:
    """Where the two intervals by themselves overlap, the paired one may still lie below 0."""
    found = regression(root, "bad", "good", BOOTSTRAP)
    assert found.fell
    assert found.now.high > found.before.low, "apart they could not be told from each other"
    assert found.change.value == pytest.approx(found.now.value - found.before.value)
    assert as_text(found).startswith("From good to bad, test Spearman fell from 0.")
    assert as_text(found).endswith("95 % interval of the paired bootstrap, 200 pairs).")
    assert json.loads(as_json(found))["fell"] is True
    assert json.loads(printed(as_json(replace(found, run="über"))))["run"] == "über"


def test_what_is_no_fall(root: Path) -> None:
    better = regression(root, "good", "bad", BOOTSTRAP)
    assert not better.fell
    assert "test Spearman rose from" in as_text(better)
    near = regression(root, "near", "good", BOOTSTRAP)
    assert not near.fell
    assert near.change.low < 0 < near.change.high
    assert "test Spearman did not change significantly: from" in as_text(near)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        (
            "nothing",
            NotInCacheError,
            r"^not in the cache: predictions/finetuned/test.parquet of no",
        ),
        ("other", UserError, r"^good and other were evaluated on other pairs \(test\)"),
        ("flat", UserError, r"^the gold scores of test, or the cosines of flat or good, are"),
        ("nowhere", UserError, r"^no DVC experiment or Git revision nowhere"),
    ],
)
def test_runs_that_are_not_to_be_compared(
    root: Path, name: str, kind: type[UserError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        regression(root, name, "good", BOOTSTRAP)
