"""Sweeps as DVC experiments, and quality against sparsity of what they gave."""

import json
import shutil
from dataclasses import replace

import pytest

from splade_sts.errors import UserError
from splade_sts.runs.pareto import as_table, picture, points, series, write
from splade_sts.runs.sweep import plan
from splade_sts.runs.record import Record
from tests.conftest import run
from tests.test_tracking import splade_sts


def changed(record: Record, quality: float, size: float, **params) -> Record:
    """A run with that validation Spearman and those active dims; on test it is the other way round."""
    metrics = {
        "finetuned.validation.spearman_cosine": quality, "finetuned.validation.active_dims": size,
        "finetuned.test.spearman_cosine": 1 - quality,
    }
    return replace(record, metrics={**record.metrics, **metrics}, params={**record.params, **params})


def test_which_runs_are_efficient(record):
    """None may be at least as good in both on validation; test has no say; the base is there once, and counts."""
    base = record.metrics["base.validation.active_dims"]
    weight = "train.regularizer_weight"
    found = points({
        "best": changed(record, 0.9, 20.0, **{weight: 1e-3}), "worse": changed(record, 0.8, 20.0, **{weight: 2e-3}),
        "smaller": changed(record, 0.7, base / 2, **{weight: 1e-2}), "twin": changed(record, 0.7, base / 2, **{weight: 2e-2}),
        "beaten": changed(record, 0.6, base * 2, **{weight: 3e-2}),
    })
    assert found["varied"] == [weight]
    efficient = {point["run"]: point["efficient"] for point in found["points"]}
    assert efficient.pop("base") in (True, False) and len(found["points"]) == 6
    assert efficient == {"best": True, "worse": False, "smaller": True, "twin": True, "beaten": False}
    sizes = [point["validation"]["active_dims"] for point in found["points"]]
    assert sizes == sorted(sizes)
    text = as_table(found)
    assert "| smaller | 0.01" in text and "best for its size" in text and "on validation" in text


def test_series(record):
    """A point belongs to the parameter that sets it apart from most runs."""
    weight, most = "train.regularizer_weight", "evaluate.max_active_dims"
    usual = {weight: 3e-3, most: None}
    found = points({
        "usual": changed(record, 0.9, 20.0, **usual), "heavy": changed(record, 0.8, 10.0, **usual | {weight: 1e-2}),
        "light": changed(record, 0.91, 30.0, **usual | {weight: 1e-3}), "cut": changed(record, 0.7, 9.0, **usual | {most: 9}),
        "shorter": changed(record, 0.6, 5.0, **usual | {most: 5}), "both": changed(record, 0.5, 4.0, **usual | {weight: 1e-2, most: 5}),
    })
    names = {name: {point["run"] for point in group} for name, group in series(found).items()}
    assert names == {
        "base": {"base"}, "as usual": {"usual"}, weight: {"heavy", "light"}, most: {"cut", "shorter"},
        f"{most} and {weight}": {"both"},
    }
    assert picture(found) == picture(found) and picture(found).startswith(b"\x89PNG")


def test_other_data_are_refused(record):
    """Also under the same name."""
    other = replace(record, tags={**record.tags, "dvc.md5.data/normalized": "0"})
    with pytest.raises(UserError, match="a and b are of different data"):
        points({"a": record, "b": other})


def test_files(record, tmp_path):
    """JSON, Markdown and picture; written twice they are the same."""
    found = points({"a": changed(record, 0.9, 20.0)})
    write(found, tmp_path / "x")
    first = {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()}
    write(found, tmp_path / "x")
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()}
    assert set(first) == {"pareto.json", "pareto.md", "pareto.png"} and json.loads(first["pareto.json"])["points"]


def test_plan(project, monkeypatch):
    """Names, overrides and the parameters that will be recorded; several keys give every combination."""
    monkeypatch.chdir(project)
    (one, two) = plan(["train.regularizer_weight=1e-3,3e-3"])
    assert one.name == "regularizer_weight-0.001" and one.overrides == ["train.regularizer_weight=0.001"]
    assert two.params["train.regularizer_weight"] == 3e-3 and one.params["train.epochs"] == two.params["train.epochs"]
    names = [experiment.name for experiment in plan(["train.seed=range(1,3)", "evaluate.max_active_dims=4,8"])]
    assert names == ["seed-1-max_active_dims-4", "seed-1-max_active_dims-8", "seed-2-max_active_dims-4", "seed-2-max_active_dims-8"]


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["nonsense"], "nonsense: .*expected keys of params.yaml with their values"),
        (["train.wieght=1,2"], "wieght"),
        (["train.batch_size=0,8"], r"train.batch_size: found 0; input should be greater than or equal to 1"),
        (["train.seed=1,1"], "the same experiment twice"),
    ],
)
def test_plans_that_are_refused(project, monkeypatch, assignments, message):
    """Before anything has run."""
    monkeypatch.chdir(project)
    with pytest.raises(UserError, match=f"(?s){message}"):
        plan(assignments)


def test_sweeps_from_the_command_line(project, tmp_path):
    """One after another and through the queue; what is there is not run again; what fails is named; MLflow has the runs."""
    folder = tmp_path / "project"
    shutil.copytree(project, folder, symlinks=True)
    cut = splade_sts(folder, "sweep", "evaluate.max_active_dims=5,6", "--output", "cut")
    assert cut.returncode == 0, cut.stdout + cut.stderr
    found = json.loads((folder / "cut/pareto.json").read_text())
    tuned = {point["run"]: point for point in found["points"] if point["model"] == "finetuned"}
    assert set(tuned) == {"max_active_dims-5", "max_active_dims-6"}
    assert tuned["max_active_dims-5"]["test"]["active_dims"] <= 5 < tuned["max_active_dims-6"]["test"]["active_dims"] <= 6
    assert sum(point["model"] == "base" for point in found["points"]) == 2, "the base model is cut, too"
    assert "Running stage 'finetune'" not in cut.stdout

    again = splade_sts(folder, "sweep", "evaluate.max_active_dims=5,6", "--output", "cut")
    assert again.returncode == 0 and "max_active_dims-5 is there already" in again.stdout and "dvc exp run" not in again.stdout

    try:  # with 3 dims the scores of this model hardly vary, which compare refuses
        queued = splade_sts(folder, "sweep", "evaluate.max_active_dims=3,7", "--queue", "--jobs", "2", "--output", "queued")
    finally:
        run(["dvc", "queue", "stop", "--kill"], folder, check=False)
    assert queued.returncode == 1 and "1 of 2 experiments failed: max_active_dims-3" in queued.stderr, queued.stdout + queued.stderr
    assert "| max_active_dims-7" in queued.stdout and (folder / "queued/pareto.png").exists()
    names = run(["git", "for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps"], folder).stdout.split()
    assert {name for name in names if name.startswith("max_")} == {f"max_active_dims-{number}" for number in (5, 6, 7)}

    run(["git", "commit", "-q", "--allow-empty", "-m", "another commit"], folder)
    refused = splade_sts(folder, "sweep", "evaluate.max_active_dims=5,6")
    assert refused.returncode == 1 and "dvc exp remove max_active_dims-5" in refused.stderr and "Traceback" not in refused.stderr
    compared = splade_sts(folder, "pareto", "HEAD~1", "max_active_dims-5", "--output", "both")
    assert compared.returncode == 0 and "| HEAD~1" in compared.stdout and (folder / "both/pareto.png").exists()
