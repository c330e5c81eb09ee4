"""The table of runs."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest

from splade_sts.errors import UserError
from splade_sts.report import names
from splade_sts.runs.record import Record
from splade_sts.runs.table import Table, _row, as_csv, as_json, as_text, table
from tests.support.commands import printed, run
from tests.support.projects import commit, set_params


@pytest.fixture
def two_seeds(repository: Path) -> Path:
    """A second commit with another seed and another dvc.lock."""
    set_params(repository, train__seed=7)
    with (repository / "dvc.lock").open("a", encoding="utf-8") as file:
        file.write("# run again\n")
    commit(repository, "another seed")
    return repository


def test_commits_with_what_differs(two_seeds: Path) -> None:
    """The commits that changed dvc.lock, newest first, with the one parameter that differs."""
    found = table(two_seeds)
    assert [row.differs for row in found.rows] == [{"train.seed": 7}, {"train.seed": 42}]
    assert not found.left_out
    text = as_text(found)
    assert "seed=7" in text
    assert max(map(len, text.splitlines())) <= 120
    row = found.rows[0]
    assert f"{row.test_spearman:.4f}" in text
    assert f"{row.gain:+.4f} [{row.gain_low:+.3f}, {row.gain_high:+.3f}]" in text


LONG = "epochs-2-learning_rate-0.0001-regularizer_weight-0.0015-seed-"


def test_long_names(repository: Path) -> None:
    """Many runs with long names fit 120 columns: a name goes on below, whole; what most runs have
    is said once, and what the name says is not said again.
    """
    row = table(repository).rows[0]
    usual = {"train.epochs": 2.0, "train.loss": "cosine"}
    rows = [
        replace(row, run=f"{LONG}{seed}", differs=usual | {"train.seed": seed})
        for seed in range(1, 6)
    ]
    rows.append(replace(row, run="other", differs=usual | {"train.loss": "angle", "train.seed": 1}))
    text = as_text(Table(tuple(rows), {}, ()))
    assert max(map(len, text.splitlines())) <= 120
    cut = [line.split("  ")[0] for line in text.splitlines()]
    for seed in range(1, 6):
        assert f"{LONG}{seed}" in "".join(cut)
    assert "other (loss=angle, seed=1) " in text
    assert "names no other value: epochs=2, loss=cosine." in text


def test_what_is_the_same_for_all_runs(repository: Path) -> None:
    """One sentence says it: the verdict, and the dense encoder."""
    row = replace(table(repository).rows[0], dense=0.8203, verdict="raised")
    other = replace(row, run="other")
    text = as_text(Table((row, other), {}, ()))
    assert text.count("0.8203") == 1
    assert "The dense encoder has 0.8203 on test." in text
    assert text.endswith("Fine-tuning raised test Spearman: all runs.")
    other = replace(other, dense=None, verdict="lowered")
    text = as_text(Table((row, other), {}, ()))
    assert [line.split()[-1] for line in text.splitlines()[:4]] == ["dense", ANY, "0.8203", "–"]
    assert f"Fine-tuning raised test Spearman: {row.run}." in text
    assert text.endswith("Fine-tuning lowered test Spearman: other.")


def test_the_dense_encoder(repository: Path) -> None:
    """Its Spearman on test, where the run has that control; it stands in Git."""
    assert table(repository).rows[0].dense is None
    assert "dense" not in as_text(table(repository))
    path = repository / "metrics/controls.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["test"]["dense"] = 0.8203
    path.write_text(json.dumps(content), encoding="utf-8")
    commit(repository, "with a dense encoder")
    found = table(repository, ["HEAD"])
    assert found.rows[0].dense == 0.8203
    assert "0.8203" in as_text(found)
    assert json.loads(as_json(found))[0]["dense"] == 0.8203
    other = replace(found, rows=(replace(found.rows[0], run="über"),))
    assert json.loads(printed(as_json(other)))[0]["run"] == "über"


def test_intervals(repository: Path) -> None:
    """With the digits that their resamples carry, and marked where they are percentile intervals;
    without evidence the gain has three decimals and no mark.
    """
    bare = table(repository, ["HEAD"]).rows[0]
    assert (bare.error, bare.method, bare.gain_error, bare.gain_method) == (None,) * 4
    row = replace(bare, low=0.1, high=0.3, error=0.002, method="bca")
    row = replace(row, gain_low=-0.1, gain_high=0.2, gain_error=2e-5, gain_method="bca")
    text = as_text(Table((row,), {}, ()))
    assert " [0.10, 0.30] " in text
    assert " [-0.1000, +0.2000] " in text
    assert "†" not in text
    for marked in (replace(row, method="percentile"), replace(row, gain_method="percentile")):
        text = as_text(Table((marked, row), {}, ()))
        assert text.count("] †") == 1
        assert " ".join(text.split()).endswith(names.PERCENTILE_NOTE)
    assert json.loads(as_json(Table((row,), {}, ())))[0]["gain_error"] == 2e-5


def test_the_evidence_of_a_row(record: Record) -> None:
    """Its errors and methods are those of the comparison."""
    row = _row("a", record, [])
    assert (row.error, row.method, row.gain_error, row.gain_method) == (2e-4, "bca", 2e-4, "bca")


def test_verdict_is_that_of_the_interval(repository: Path) -> None:
    """More than chance only where the interval of the gain leaves zero out."""
    for row in table(repository, ["HEAD"]).rows:
        raised, lowered = row.gain_low > 0, row.gain_high < 0
        words = {(True, False): "raised", (False, True): "lowered"}
        assert row.verdict == words.get((raised, lowered), "no significant difference")


def test_json_and_csv_hold_the_same(two_seeds: Path) -> None:
    """One entry a run, unrounded."""
    found = table(two_seeds, ["HEAD", "HEAD~1"])
    listed = json.loads(as_json(found))
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [entry["run"] for entry in listed] == [row["run"] for row in rows] == ["HEAD", "HEAD~1"]
    assert [entry["differs"]["train.seed"] for entry in listed] == [7, 42]
    assert [float(row["test_spearman"]) for row in rows] == [
        entry["test_spearman"] for entry in listed
    ]


def test_without_the_cache(repository: Path) -> None:
    """Headlines are in Git: only the interval of the model itself is missing, and that is said."""
    found = table(repository, ["HEAD"])
    assert found.without_evidence == ("HEAD",)
    assert found.rows[0].low is None


def test_runs_that_are_not_there(repository: Path) -> None:
    """Named ones are an error; nothing at all says what to do."""
    with pytest.raises(UserError, match="nowhere"):
        table(repository, ["nowhere"])
    run(["git", "checkout", "-q", "--orphan", "empty"], repository)
    run(["git", "rm", "-rqf", "--cached", "."], repository)
    run(["git", "commit", "-qm", "nothing", "--allow-empty"], repository)
    with pytest.raises(UserError, match=r"no run has results yet: run dvc repro"):
        table(repository)
