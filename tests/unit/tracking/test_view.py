import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from splade_sts.report.verdict import verdict
from splade_sts.runs.sweep import plan
from splade_sts.tracking import view
from splade_sts.training.curves import ValidationPoint
from tests.support.records import TRAINING, run_record
from tests.support.tiny import PARAMS


def test_metrics_are_grouped() -> None:
    """Every headline and curve lies in one of three sections, under a name of its own."""
    names = [view.metric_name(headline) for headline in run_record().numbers]
    curves = {name for point in run_record().points for name in view.point_values(point)}
    assert {name.count("/") for name in (*names, *curves)} == {1}
    assert {name.split("/")[0] for name in (*names, *curves)} == {
        "train",
        "validation",
        "test",
    }
    assert len({*names, *curves}) == len(names) + len(curves)
    assert {
        "test/spearman",
        "test/base_spearman",
        "test/gain",
        "test/bm25_spearman",
        "train/best_step",
    } <= {*names}
    shown = {column.split("`")[1] for column in view.COLUMNS if column.startswith("metrics")}
    assert shown <= {*names}
    assert {column.split("`")[1] for column in view.COLUMNS if column.startswith("params")} <= {
        *run_record().params
    }


def test_points() -> None:
    """Without the step, and without what is not known."""
    values = view.point_values(TRAINING[1])
    assert values["train/loss"] == 0.5
    assert values["train/epoch"] == 0.5
    assert "train/gradient_norm" not in values
    assert (
        view.point_values(ValidationPoint(3, 1.0, 0.1, 0.2, 9.0, 0.9))["train/validation_spearman"]
        == 0.2
    )


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {"train.epochs": (2.0, 1.0), "x": (None, "a")},
            "committed parameters: `train.epochs` `2.0` instead of `1.0`, `x` `null`",
        ),
        ({}, "The parameters are the committed ones."),
        (None, None),
    ],
)
def test_note(changed: dict[str, tuple[Any, Any]] | None, expected: str | None) -> None:
    """The verdict once it is known, what differs from the commit, where the report is."""
    comparison = run_record().comparison
    assert comparison is not None
    said = verdict(comparison)
    note = view.note(said, changed, "reports/comparison.html")
    assert note.startswith(said)
    assert note.endswith("The report is the artifact `reports/comparison.html`.")
    if expected is None:
        assert "parameters" not in note
        assert view.note(None, None, None) == ""
    else:
        assert expected in note


def test_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a run comes from, for MLflow's own columns; also for a user without a name."""
    tags = view.mlflow_tags({"git.commit": "c" * 40, "dvc.experiment": "bold-name"}, "note")
    assert tags["mlflow.source.name"] == "dvc exp run bold-name"
    assert tags["mlflow.source.git.commit"] == "c" * 40
    monkeypatch.setattr("getpass.getuser", lambda: {}["nobody"])
    tags = view.mlflow_tags({"git.commit": "c" * 40}, "note")
    assert tags["mlflow.source.name"] == "dvc repro"
    assert tags["mlflow.user"] == "unknown"
    assert tags["mlflow.source.type"] == "LOCAL"
    assert tags["mlflow.note.content"] == "note"


@pytest.mark.parametrize(
    ("assignments", "varied"),
    [
        (["train.seed=1,2"], "train.seed"),
        (["train.epochs=1,2.5"], "train.epochs"),
        (["train.regularizer_weight=1e-5,3e-3"], "train.regularizer_weight"),
        (["evaluate.max_active_dims=null,8"], "evaluate.max_active_dims"),
        (["data.score_range=[0,5],[0,1]"], "data.score_range"),
        (
            ["train.learning_rate=1e-5,2e-5", "train.loss=cosine,cosent"],
            "train.learning_rate, train.loss",
        ),
    ],
)
def test_a_sweep_is_recognised(assignments: list[str], varied: str, tmp_path: Path) -> None:
    """Every experiment that `sweep` plans, whatever its values look like in names."""
    shutil.copy(PARAMS, tmp_path / "params.yaml")
    planned = plan(tmp_path, assignments)
    assert len(planned) == 2 ** len(assignments)
    for one in planned:
        tags = {"dvc.experiment": one.name, "dvc.baseline": "c0ffee" * 6}
        assert view.sweep_tag(tags, one.params) == {"sweep": f"{varied} from c0ffeec"}, one.name


@pytest.mark.parametrize("name", ["bold-name", "seed-search", "seed-43", "seed-42-more", ""])
def test_what_is_no_sweep(name: str) -> None:
    """A name that only looks like one, another value than the run has, and no name at all."""
    assert run_record().params["train.seed"] == 42
    assert view.sweep_tag({"dvc.experiment": name, "dvc.baseline": "c"}, run_record().params) == {}
    assert view.sweep_tag({}, run_record().params) == {}


def test_same_results() -> None:
    """Said below the rest of the note, or alone."""
    said = "Its results equal those of the run `first`."
    assert view.same_results("A verdict.", "first") == f"A verdict.\n\n{said}"
    assert view.same_results("", "first") == said


def test_runs_page() -> None:
    """The table of runs of a training, with our columns, not the page of traces; alone and by
    sweep.
    """
    page = view.runs_page("3")
    assert page.startswith("/#/experiments/3/runs?")
    assert "workflowType=machine_learning" in page
    state = view.experiment_tags()["mlflow.sharedViewState.results"]
    assert "viewStateShareKey=results" in page
    assert json.loads(state)["selectedColumns"]
    assert "groupBy" not in json.loads(state)
    grouped = json.loads(view.experiment_tags()["mlflow.sharedViewState.sweeps"])
    assert "viewStateShareKey=sweeps" in view.runs_page("3", view.SWEEPS)
    assert grouped["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "sweep"}]
