"""The summary over seeds, and the runs that it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from splade_sts.errors import UserError
from splade_sts.runs.seeds import as_text, check_only_seeds_differ, read_run, summarize
from splade_sts.runs.record import Record
from tests.conftest import dvc
from tests.test_tracking import splade_sts


def run(record: Record, seed: int, spearman: float = 0.5, tags: dict | None = None, **params) -> Record:
    return replace(
        record, params={**record.params, "train.seed": seed, **params}, tags={**record.tags, **(tags or {})},
        metrics={**record.metrics, "finetuned.test.spearman_cosine": spearman},
    )


def test_summary(record):
    """Mean, sample standard deviation and Student's interval, as scipy computes it; every seed is shown."""
    values = [0.79, 0.81, 0.80]
    runs = {
        f"seed-{seed}": run(record, seed, value, **{"train.checkpoint_steps": seed}) for seed, value in enumerate(values, start=1)
    }
    check_only_seeds_differ(runs)
    summary = summarize(runs, 0.9)
    found = summary["metrics"]["test.spearman_cosine"]
    assert found["values"] == {"seed-1": 0.79, "seed-2": 0.81, "seed-3": 0.80}
    assert found["base"] == record.metrics["base.test.spearman_cosine"]
    assert (found["mean"], found["sd"]) == pytest.approx((0.80, 0.01))
    assert (found["low"], found["high"]) == pytest.approx(stats.t.interval(0.9, 2, 0.8, stats.sem(values)))
    assert {"validation.retrieval.mrr_at_10", "test.flops", "validation.active_dims"} <= set(summary["metrics"])
    text = as_text(summary)
    assert "seed-2 (seed 2)" in text and "90% interval" in text and "mean over 3 seeds" in text
    assert f"{found['low']:.4f} to {found['high']:.4f}" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.epochs": 2.0}, r"differ in more than train.seed.*\n  train.epochs: 1.0 and 2.0$"),
        ({"data.on_leak": "drop_from_train"}, "data.on_leak: 'keep' and 'drop_from_train'"),
        ({"tags": {"dvc.md5.data/normalized": "0"}}, "the content of data/normalized"),
        ({"seed": 1}, "the same seed twice: a has 1, b has 1"),
    ],
)
def test_other_differences_are_refused(record, changes, message):
    """Every parameter that differs is shown with both values; other data under the same name are noticed."""
    settings = {"seed": 2, **changes}
    with pytest.raises(UserError, match=message):
        check_only_seeds_differ({"a": run(record, 1), "b": run(record, **settings)})


def test_parameters_that_change_no_model(record):
    """Another report or tracking does not matter; one run alone is refused."""
    check_only_seeds_differ({"a": run(record, 1), "b": run(record, 2, **{"compare.changed_pairs": 3, "tracking.enabled": False})})
    with pytest.raises(UserError, match="at least two"):
        check_only_seeds_differ({"a": run(record, 1)})


def test_unknown_runs(project, monkeypatch):
    """Neither an experiment nor a revision; a commit from before the first run."""
    monkeypatch.chdir(project)
    with pytest.raises(UserError, match="no DVC experiment or Git revision nonsense"):
        read_run(project, "nonsense")
    with pytest.raises(UserError, match="HEAD~1: the pipeline has not run to its end there"):
        read_run(project, "HEAD~1")


def test_seeds_from_the_command_line(project):
    """A commit and an experiment with another seed; a learning rate of 0 is another parameter, and its verdict is honest."""
    dvc(project, "exp", "run", "--temp", "-n", "seed-7", "-S", "train.seed=7")
    done = splade_sts(project, "seeds", "HEAD", "seed-7", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["seeds"] == {"HEAD": 42, "seed-7": 7}
    found = summary["metrics"]["test.spearman_cosine"]
    assert found["mean"] == pytest.approx(np.mean(list(found["values"].values())))
    assert found["values"]["HEAD"] == json.loads((project / "metrics/finetuned.json").read_text())["test"]["spearman_cosine"]

    still = dvc(project, "exp", "run", "--temp", "-n", "still", "-S", "train.learning_rate=0")
    assert "Fine-tuning made no significant difference to test Spearman: from " in still.stdout
    done = splade_sts(project, "seeds", "HEAD", "still")
    assert done.returncode == 1 and "train.learning_rate: 0.001 and 0" in done.stderr and "Traceback" not in done.stderr
