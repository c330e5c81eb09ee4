"""Runs of a whole pipeline: what MLflow holds of them, seeds, sweeps, an empty cache, verify."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splade_sts.runs.record import Record
from splade_sts.tracking import view
from tests.support.commands import dvc, run, splade_sts, stage, stages_run
from tests.support.mlflow_runs import runs
from tests.support.projects import copy_project, set_params

CANARY = "hf_" + "Canary" * 6  # in two parts, so that this file does not hold it
MLFLOW_FILES = ("mlflow.db*", "mlartifacts")


def test_the_pipeline_run_is_one_complete_run(project: Path, record: Record) -> None:
    """`dvc repro` of the fixture left one FINISHED run with everything in it."""
    found = [one for one in runs(project) if one.data.tags.get(view.RECORD_TAG) == record.id]
    one = next(one for one in found if one.data.tags[view.COMPLETE_TAG] == "true")
    assert one.info.status == "FINISHED"
    base = json.loads((project / "metrics/base.json").read_text())
    comparison = json.loads((project / "metrics/comparison.json").read_text())
    controls = json.loads((project / "metrics/controls.json").read_text())
    metrics = one.data.metrics
    [(control, spearman)] = controls["test"].items()
    assert metrics[f"test/{control}_spearman"] == spearman
    assert metrics["test/base_spearman"] == base["base"]["test"]["spearman"]
    assert metrics["test/gain_low"] == comparison["gain_low"]
    assert {"test/pearson", "validation/base_pearson", "train/best_step"} <= {*metrics}
    gain = metrics["test/spearman"] - metrics["test/base_spearman"]
    assert metrics["test/gain"] == pytest.approx(gain, abs=1e-6)
    assert one.data.params["train.learning_rate"] == "0.001"
    assert one.data.params["train.loss"] == "cosine"
    tags = {"git.commit", "git.dirty", "device", "precision", "dvc.md5.models/finetuned"}
    assert tags <= set(one.data.tags)
    assert [name for name in one.data.tags if name.startswith("version.")]
    note = one.data.tags["mlflow.note.content"]
    assert note.startswith("Fine-tuning ")
    assert "The parameters are the committed ones." in note
    names = {entry.dataset.name for entry in one.inputs.dataset_inputs}
    assert names == {"train", "validation", "test"}
    assert view.SECONDS in metrics
    assert record.missing == ()


def test_a_cached_training_still_ends_in_one_complete_run(project: Path, tmp_path: Path) -> None:
    """Only compare runs again; the new run has its own parameters and the curves of the cached
    training.
    """
    folder = copy_project(project, tmp_path / "project")
    options = ("-n", "other-report", "-S", "compare.changed_pairs=3")
    done = dvc(folder, "exp", "run", "--temp", *options)
    assert stages_run(done.stdout) == ["compare", "track"]
    (one,) = [one for one in runs(folder) if one.data.tags.get("dvc.experiment") == "other-report"]
    assert one.info.status == "FINISHED"
    assert one.data.tags[view.COMPLETE_TAG] == "true"
    assert one.data.tags["mlflow.source.name"] == "dvc exp run other-report"
    assert "`compare.changed_pairs` `3` instead of" in one.data.tags["mlflow.note.content"]
    assert one.data.params["compare.changed_pairs"] == "3"
    assert "train/loss" in one.data.metrics
    with sqlite3.connect(folder / "mlflow.db") as database:
        ((place,),) = database.execute(
            "SELECT artifact_uri FROM runs WHERE run_uuid = ?", (one.info.run_id,)
        )
    kept = Path(place.removeprefix("file://"))
    files = {path.name for path in kept.rglob("*") if path.is_file()}
    assert {"params.yaml", "dvc.lock", "comparison.html", "predictions.png"} <= files


def test_equal_results_have_a_run_for_each_name(project: Path, tmp_path: Path) -> None:
    """Experiments that repeat others, with stages that run and without, are there under their
    names; committing one of them, or a second sync, adds nothing.
    """
    folder = copy_project(project, tmp_path / "project")
    change = ("-S", "compare.changed_pairs=3")
    for name in ("once", "twice"):
        dvc(folder, "exp", "run", "--temp", "-n", name, *change)
    dvc(folder, "exp", "run", "-n", "nothing-new")
    splade_sts(folder, "sync", check=True)
    found = [one for one in runs(folder) if view.COMPLETE_TAG in one.data.tags]
    notes = {one.info.run_name: one.data.tags["mlflow.note.content"] for one in found}
    assert {"once", "twice", "nothing-new"} <= set(notes)
    assert len(found) == len(notes) == 4
    assert "equal" not in notes["once"]
    assert "Its results equal those of the run `once`." in notes["twice"]
    assert "Its results equal those of the run `repro-" in notes["nothing-new"]
    dvc(folder, "exp", "apply", "twice")
    again = splade_sts(folder, "sync", check=True)
    assert again.stdout.splitlines()[-1].startswith("0 written")
    run(["git", "commit", "-qam", "twice"], folder)
    again = splade_sts(folder, "sync", check=True)
    assert again.stdout.splitlines()[-1].startswith("0 written")


def test_registering_models(project: Path, tmp_path: Path) -> None:
    """The workspace's, and that of an experiment from DVC's cache; each once, and by
    `track.log_model` as well.
    """
    folder = copy_project(project, tmp_path / "project")
    (first,) = [one for one in runs(folder) if view.COMPLETE_TAG in one.data.tags]
    done = splade_sts(folder, "register", check=True)
    model = f"the model of {first.info.run_name} (run {first.info.run_id})"
    assert done.stdout == f"{model} is now version 1 of splade-sts\n"
    shutil.rmtree(folder / "models/finetuned")
    done = splade_sts(folder, "register", "HEAD", check=True)
    assert done.stdout == f"{model} was already version 1 of splade-sts\n"
    dvc(folder, "exp", "run", "--temp", "-n", "logged", "-S", "track.log_model=true")
    done = splade_sts(folder, "register", "logged", check=True)
    assert "the model of logged" in done.stdout
    assert "was already version 2" in done.stdout
    dvc(folder, "exp", "run", "--temp", "-n", "other-report", "-S", "compare.changed_pairs=3")
    done = splade_sts(folder, "register", "other-report", check=True)
    assert "is now version 3" in done.stdout
    found = [path.parent for path in folder.rglob("mlartifacts/**/model.safetensors")]
    assert len(found) == 3
    kept = {(path / "config.json").read_bytes() for path in found}
    assert len(kept) == 1


def test_syncing_brings_runs_back(project: Path, record: Record, tmp_path: Path) -> None:
    """Into an empty store, from Git and DVC, curves included; a second sync writes nothing.

    Such a run stands at the time of its commit, with no duration that nobody knows.
    """
    uri = f"sqlite:///{tmp_path / 'again.db'}"
    done = splade_sts(project, "sync", check=True, MLFLOW_TRACKING_URI=uri)
    assert "not in the cache" not in done.stdout
    (one,) = [one for one in runs(project, uri) if one.data.tags[view.RECORD_TAG] == record.id]
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    curves: dict[str, list[tuple[int, float]]] = {
        "train/loss": [(point.step, point.loss) for point in record.training],
        "train/validation_spearman": [(point.step, point.spearman) for point in record.validation],
    }
    for name, expected in curves.items():
        history = client.get_metric_history(one.info.run_id, name)
        assert sorted((point.step, point.value) for point in history) == expected
    made = int(run(["git", "show", "-s", "--format=%ct", "HEAD"], project).stdout)
    assert one.info.start_time == one.info.end_time == 1000 * made
    again = splade_sts(project, "sync", check=True, MLFLOW_TRACKING_URI=uri)
    assert again.stdout.splitlines()[-1].startswith("0 written")


def test_an_empty_cache(project: Path, tmp_path: Path) -> None:
    """In a fresh clone the numbers are there; what is missing is said in one line for each run, and
    a sync after it came back adds it.
    """
    clone, uri = tmp_path / "clone", f"sqlite:///{tmp_path / 'clone.db'}"
    run(["git", "clone", "-q", str(project), str(clone)], tmp_path)
    compared = splade_sts(clone, "pareto", "HEAD", check=True)
    said = "not in the cache: evidence/comparison.json of HEAD (dvc pull)"
    assert [line for line in compared.stderr.splitlines() if line.startswith(said)]
    assert "\nHEAD " in compared.stdout
    assert "Traceback" not in compared.stderr
    done = splade_sts(clone, "sync", check=True, MLFLOW_TRACKING_URI=uri)
    *places, total = done.stdout.splitlines()
    assert places
    assert all("; not in the cache: reports, evidence/" in line for line in places)
    assert total.startswith("1 written")
    shutil.copytree(project / ".dvc/cache", clone / ".dvc/cache")
    done = splade_sts(clone, "sync", check=True, MLFLOW_TRACKING_URI=uri)
    assert "not in the cache" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 written")
    assert len(runs(clone, uri)) == 1


def test_tracking_can_be_turned_off(project: Path, tmp_path: Path) -> None:
    """track.enabled false: the stage makes no store and no run."""
    folder = copy_project(project, tmp_path / "off", *MLFLOW_FILES)
    set_params(folder, track__enabled=False)
    stage(folder, "track", check=True)
    assert not (folder / "mlflow.db").exists()
    assert (folder / "metrics/record.json").exists()


def holders(folder: Path, *secrets: str) -> list[Path]:
    """Files below `folder` that hold one of `secrets`."""
    contents = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return [
        path for path, content in contents.items() if any(s.encode() in content for s in secrets)
    ]


def test_no_secrets_and_no_paths(project: Path, tmp_path: Path) -> None:
    """Neither a token of the environment nor a folder of this machine is in the store."""
    folder = copy_project(project, tmp_path / "project", *MLFLOW_FILES)
    splade_sts(folder, "sync", check=True, HF_TOKEN=CANARY)
    with sqlite3.connect(folder / "mlflow.db") as database:
        tables = ("params", "tags", "inputs", "datasets", "metrics")
        rows = [str(row) for table in tables for row in database.execute(f"SELECT * FROM {table}")]
    assert len(rows) > 100
    for secret in (CANARY, str(project.parent), str(tmp_path)):
        assert not [row for row in rows if secret in row]
        assert holders(folder / "mlartifacts", secret) == []


@pytest.mark.parametrize("command", ["sync", "track", "live"])
def test_mlflow_credentials_stay_in_the_environment(
    project: Path, tmp_path: Path, command: str
) -> None:
    """A server that cannot be reached, with a password in its address: neither messages nor files
    name it.
    """
    folder = copy_project(project, tmp_path / "project", *MLFLOW_FILES, "cache")
    secrets = {
        "MLFLOW_TRACKING_URI": f"http://somebody:{CANARY}@127.0.0.1:9",
        "MLFLOW_TRACKING_TOKEN": f"token{CANARY}",
        "HF_TOKEN": CANARY,
    }
    if command == "sync":
        done = splade_sts(folder, "sync", **secrets)
    elif command == "track":
        done = stage(folder, "track", **secrets)
    else:
        live = "from splade_sts.tracking.live import LiveRun\nwith LiveRun('x', {'a': 1}, {}): pass"
        done = run(["python", "-c", live], folder, check=False, **secrets)
    assert done.returncode == (command == "sync")
    assert "MLflow" in done.stderr
    assert "Traceback" not in done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert holders(folder, CANARY) == []


def test_seeds_from_the_command_line(project: Path, tmp_path: Path) -> None:
    """A commit and an experiment with another seed; a learning rate of 0 is another parameter, and
    its verdict is honest.
    """
    folder = copy_project(project, tmp_path / "project")
    dvc(folder, "exp", "run", "--temp", "-n", "seed-7", "-S", "train.seed=7")
    summary = json.loads(splade_sts(folder, "seeds", "HEAD", "seed-7", "--json", check=True).stdout)
    assert summary["seeds"] == {"HEAD": 42, "seed-7": 7}
    found = summary["metrics"]["test.spearman"]
    assert found["mean"] == pytest.approx(np.mean(list(found["values"].values())))
    finetuned = json.loads((folder / "metrics/finetuned.json").read_text())
    assert found["values"]["HEAD"] == pytest.approx(finetuned["test"]["spearman"])
    assert found["both"]["low"] <= found["low"]
    over_base = splade_sts(
        folder, "seeds", "HEAD", "seed-7", "--against", "base", "--json", check=True
    )
    difference = json.loads(over_base.stdout)["metrics"]["test.spearman"]
    assert difference["value"] == pytest.approx(found["mean"] - found["base"])
    assert difference["low"] == difference["both"]["low"] < difference["value"]
    unknown = splade_sts(folder, "seeds", "HEAD", "seed-7", "--on", "sick")
    assert "HEAD was not evaluated on sick; it was on: validation, test" in unknown.stderr

    still = dvc(folder, "exp", "run", "--temp", "-n", "still", "-S", "train.learning_rate=0")
    assert "Fine-tuning made no significant difference to test Spearman: from " in still.stdout
    done = splade_sts(folder, "seeds", "HEAD", "still")
    assert done.returncode == 1
    assert "train.learning_rate: 0.001 and 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_sweeps_from_the_command_line(project: Path, tmp_path: Path) -> None:
    """In turn and through the queue; what is there is not run again; what fails is named."""
    folder = copy_project(project, tmp_path / "project")
    cut = splade_sts(
        folder, "sweep", "evaluate.max_active_dims=5,6", "--output", "cut", "--json", check=True
    )
    found: dict[str, Any] = json.loads(cut.stdout)
    assert found == json.loads((folder / "cut/pareto.json").read_text())
    tuned = {
        point["run"]: point["splits"] for point in found["points"] if point["model"] == "finetuned"
    }
    assert set(tuned) == {"max_active_dims-5", "max_active_dims-6"}
    five, six = (tuned[f"max_active_dims-{number}"]["test"]["active_dims"] for number in (5, 6))
    assert five <= 5 < six <= 6
    bases = [point for point in found["points"] if point["model"] == "base"]
    assert len(bases) == 2, "the base model is cut, too"
    assert "Running stage 'evaluate@base'" in cut.stderr
    assert "Running stage 'train'" not in cut.stderr

    try:  # with 3 dims the scores of this model hardly vary, which compare refuses
        queued = splade_sts(
            folder,
            "sweep",
            "evaluate.max_active_dims=3,5",
            "--queue",
            "--jobs",
            "2",
            "--output",
            "queued",
        )
    finally:
        run(["dvc", "queue", "stop", "--kill"], folder, check=False)
    assert queued.returncode == 1, queued.stdout + queued.stderr
    assert "1 of 2 experiments failed: max_active_dims-3" in queued.stderr
    assert "max_active_dims-5 is there already" in queued.stdout
    assert "\nmax_active_dims-5 " in queued.stdout
    assert (folder / "queued/pareto.png").exists()
    head = run(["git", "rev-parse", "HEAD"], folder).stdout
    named = {one.info.run_name: one.data.tags.get(view.SWEEP_TAG) for one in runs(folder)}
    group = f"evaluate.max_active_dims from {head[:7]}"
    assert {name for name, sweep in named.items() if sweep == group} == set(tuned)
    refs = ["git", "for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps"]
    names = {name for name in run(refs, folder).stdout.split() if name.startswith("max_")}
    assert names == {"max_active_dims-5", "max_active_dims-6"}


def test_verify(project: Path, tmp_path: Path) -> None:
    """One hash in the committed dvc.lock is wrong: that output is named, the others come out."""
    folder = copy_project(project, tmp_path / "project")
    text = (folder / "dvc.lock").read_text()
    lines = text.splitlines()
    place = next(
        n for n, line in enumerate(lines) if line.strip() == "- path: metrics/finetuned.json"
    )
    md5 = next(line for line in lines[place:] if "md5:" in line and "hash" not in line)
    (folder / "dvc.lock").write_text(text.replace(md5, md5[:-32] + "f" * 32))
    run(["git", "commit", "-qam", "a wrong hash"], folder)
    status = run(["git", "status", "--short"], folder).stdout
    done = splade_sts(folder, "verify")
    rows = [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 4]
    results = ("reproduced", "differs", "missing")
    found = {row[2].strip(): row[3].strip() for row in rows if row[3].strip() in results}
    assert found.pop("metrics/finetuned.json") == "differs", done.stdout + done.stderr
    assert len(found) > 10
    assert set(found.values()) == {"reproduced"}, found
    assert done.returncode == 1
    assert "1 of" in done.stderr
    assert "Traceback" not in done.stderr
    assert run(["git", "status", "--short"], folder).stdout == status
