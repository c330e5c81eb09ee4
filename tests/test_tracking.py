"""MLflow: live runs and how they end, records, sync, servers that are away."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from splade_sts.params import public_params
from tests.conftest import ROOT, dvc, stages_run

TRAINING = """
import os, signal, sys, time
from splade_sts.tracking.live import LiveRun
with LiveRun("splade-sts", {"train.seed": 1}, {"device": "test"}) as live:
    for step in range(1, 4):
        live.log(step, {"train.loss": 1.0 / step})
    time.sleep(float(sys.argv[2]))
    print("trained", flush=True)
    match sys.argv[1]:
        case "raise": raise RuntimeError("boom")
        case "interrupt": raise KeyboardInterrupt
        case "exit": pass
        case name: os.kill(os.getpid(), getattr(signal, name)); time.sleep(60)
"""


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    """An empty DVC project in Git, and no MLflow settings of the caller."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "workspace"
    (folder / ".dvc").mkdir(parents=True)
    for command in (["init", "-q"], ["-c", "user.name=t", "-c", "user.email=t@e", "commit", "-qm", "s", "--allow-empty"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def train(workspace: Path, end: str, pause: float = 4.0, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", TRAINING, end, str(pause)], cwd=workspace, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def runs(workspace: Path, uri: str | None = None) -> list:
    from filelock import FileLock
    from mlflow import MlflowClient

    # two processes that create one new database at once are in each other's way: the lock of splade_sts.tracking.store
    with FileLock(workspace / "mlflow.db.lock"):
        client = MlflowClient(uri or f"sqlite:///{workspace / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("splade-sts")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def wait_for_status(workspace: Path, status: str, uri: str | None = None) -> list:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        found = runs(workspace, uri)
        if found and all(run.info.status == status for run in found):
            return found
        time.sleep(0.5)
    raise AssertionError([run.info.status for run in runs(workspace, uri)])


@contextmanager
def mlflow_server(folder: Path, backend: str | None = None):
    """A real `mlflow server` on a free port of 127.0.0.1; yields its address and a function that kills it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", backend or f"sqlite:///{folder / 'server.db'}",
         "--artifacts-destination", str(folder / "server-artifacts")],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )

    def stop() -> None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()

    try:
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < deadline and process.poll() is None, "mlflow server did not start"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", stop
    finally:
        stop()


@pytest.mark.parametrize(
    ("end", "status"),
    [("exit", "FINISHED"), ("raise", "FAILED"), ("interrupt", "KILLED"), ("SIGKILL", "KILLED"), ("SIGTERM", "KILLED")],
)
def test_status_of_a_training(workspace, end, status):
    """However a training ends, its run is never left RUNNING; the curve up to there is kept."""
    train(workspace, end).communicate(timeout=60)
    (run,) = wait_for_status(workspace, status)
    assert run.data.metrics["train.loss"] == pytest.approx(1 / 3)
    assert run.data.params == {"train.seed": "1"} and run.data.tags["git.dirty"] == "false"


def test_a_killed_writer_is_settled_later(workspace):
    """Where the writer dies too, the next use of the store gives the run its status."""
    from splade_sts.tracking import store

    training = train(workspace, "exit", pause=100)
    wait_for_status(workspace, "RUNNING")
    children = subprocess.run(["pgrep", "-f", "splade_sts.tracking.writer"], capture_output=True, text=True).stdout.split()
    mine = [pid for pid in children if os.readlink(f"/proc/{pid}/cwd") == str(workspace)]
    for pid in [training.pid, *map(int, mine)]:
        os.kill(pid, signal.SIGKILL)
    training.communicate(timeout=30)
    assert runs(workspace)[0].info.status == "RUNNING"
    client, experiment_id = store.connect(workspace, "splade-sts")
    store.settle(client, experiment_id, workspace)
    wait_for_status(workspace, "KILLED")


def test_four_trainings_at_once_make_one_database(workspace):
    """Four processes that find no database."""
    trainings = [train(workspace, "exit", pause=0) for _ in range(4)]
    for training in trainings:
        _, errors = training.communicate(timeout=120)
        # on a busy machine four clients of one database at once take their time, and the training says so and ends
        others = errors.replace("warning: MLflow is slow; its writer goes on by itself", "")
        assert training.returncode == 0 and "warning" not in others, errors
    assert len(wait_for_status(workspace, "FINISHED")) == 4


def test_a_server_that_is_down(workspace):
    """One warning that says how to complete MLflow later; the training ends well within seconds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"  # bound, not listening: refuses
        training = train(workspace, "exit", pause=0, MLFLOW_TRACKING_URI=uri)
        started = time.monotonic()
        output, errors = training.communicate(timeout=60)
    assert training.returncode == 0 and output == "trained\n"
    assert errors.count("warning: MLflow") == 1 and "python -m splade_sts sync" in errors
    assert time.monotonic() - started < 25


def test_a_server_that_does_not_answer(workspace):
    """It accepts connections and says nothing: the training waits no longer than the bound."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        training = train(workspace, "exit", pause=0, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        output, errors = training.communicate(timeout=60)
    assert training.returncode == 0 and output == "trained\n" and "warning: MLflow" in errors
    assert time.monotonic() - started < 35


def test_a_real_server(workspace, tmp_path):
    """Live curves and status through HTTP."""
    with mlflow_server(tmp_path) as (uri, _):
        train(workspace, "SIGKILL", MLFLOW_TRACKING_URI=uri).communicate(timeout=60)
        (run,) = wait_for_status(workspace, "KILLED", uri)
        assert run.data.metrics["train.loss"] == pytest.approx(1 / 3)
    assert not (workspace / "mlflow.db").exists()


def test_a_server_that_dies_in_the_middle(workspace, tmp_path):
    """The training ends well; when the server is back, the run gets its true status from the note."""
    from splade_sts.tracking import store

    backend = f"sqlite:///{tmp_path / 'server.db'}"
    with mlflow_server(tmp_path, backend) as (uri, stop):
        training = train(workspace, "exit", pause=12, MLFLOW_TRACKING_URI=uri)
        wait_for_status(workspace, "RUNNING", uri)
        stop()
        output, errors = training.communicate(timeout=90)
    assert training.returncode == 0 and output == "trained\n"
    from mlflow import MlflowClient

    client = MlflowClient(backend)
    (run,) = runs(workspace, backend)
    assert run.info.status == "RUNNING"
    assert errors.count("warning: MLflow") == 1, errors
    store.settle(client, run.info.experiment_id, workspace)
    assert runs(workspace, backend)[0].info.status == "FINISHED"


def splade_sts(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "splade_sts", *arguments], cwd=project, capture_output=True, text=True, timeout=200,
        env={**os.environ, **environment},
    )


def test_the_pipeline_run_is_one_complete_run(project, record):
    """`dvc repro` of the fixture left one FINISHED run with everything in it."""
    found = [run for run in runs(project) if run.data.tags.get("splade_sts.record") == record.id]
    run = next(run for run in found if run.data.tags["splade_sts.complete"] == "true")
    assert run.info.status == "FINISHED"
    base = json.loads((project / "metrics/base.json").read_text())
    comparison = json.loads((project / "metrics/comparison.json").read_text())
    assert run.data.metrics["controls.test.bm25.spearman"] == comparison["test"]["controls"]["bm25"]["spearman"]["value"]
    assert run.data.metrics["finetuned.validation.retrieval.mrr_at_10"] > 0 and run.data.metrics["delta.test.flops"] != 0
    assert not [name for name in run.data.metrics if "slices" in name]
    assert run.data.metrics["base.test.spearman_cosine"] == base["test"]["spearman_cosine"]
    assert run.data.metrics["delta.test.spearman_cosine"] == pytest.approx(
        run.data.metrics["finetuned.test.spearman_cosine"] - run.data.metrics["base.test.spearman_cosine"], abs=1e-6
    )
    assert run.data.params["train.learning_rate"] == "0.001" and run.data.params["train.loss"] == "cosine"
    assert {"git.commit", "git.dirty", "device", "precision", "version.torch", "dvc.md5.models/finetuned"} <= set(run.data.tags)
    assert {entry.dataset.name for entry in run.inputs.dataset_inputs} == {"train", "validation", "test"}
    assert "time.finetune_seconds" in run.data.metrics


def test_a_cached_training_still_ends_in_one_complete_run(project):
    """Only compare runs again; the new run has its own parameters and the curves of the cached training."""
    done = dvc(project, "exp", "run", "--temp", "-n", "other-report", "-S", "compare.changed_pairs=3")
    assert stages_run(done.stdout) == ["compare", "track"]
    (run,) = [run for run in runs(project) if run.data.tags.get("dvc.experiment") == "other-report"]
    assert run.info.status == "FINISHED" and run.data.tags["splade_sts.complete"] == "true"
    assert run.data.params["compare.changed_pairs"] == "3" and "train.loss" in run.data.metrics
    files = {path.name for path in (project / "mlartifacts" / run.info.run_id).rglob("*") if path.is_file()}
    assert {"params.yaml", "dvc.lock", "comparison.html", "predictions.png"} <= files


def test_deleting_the_database_and_syncing_brings_runs_back(project, record, tmp_path):
    """From Git and DVC alone, curves included; a second sync writes nothing."""
    uri = f"sqlite:///{tmp_path / 'again.db'}"
    done = splade_sts(project, "sync", MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 0, done.stderr
    (run,) = [run for run in runs(project, uri) if run.data.tags["splade_sts.record"] == record.id]
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    for kind, name in (("train", "train.loss"), ("validation", "validation.spearman_cosine")):
        expected = [(step, values[name]) for step, values in record.curves if name.startswith(f"{kind}.") and name in values]
        assert [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)] == expected
    again = splade_sts(project, "sync", MLFLOW_TRACKING_URI=uri)
    assert "\n0 written" in f"\n{again.stdout.splitlines()[-1]}"


def test_unknown_experiments_are_refused(project):
    """The message names those that exist."""
    done = splade_sts(project, "sync", "no-such-thing")
    assert done.returncode == 1 and "no DVC experiment no-such-thing" in done.stderr


def test_a_logged_model_gives_the_same_vectors(workspace, tiny_splade):
    """Registered, loaded back from MLflow: term by term what the folder's model gives."""
    import mlflow

    from splade_sts.model.encoder import load_encoder
    from splade_sts.tracking import store

    client, experiment_id = store.connect(workspace, "splade-sts")
    run_id = client.create_run(experiment_id, run_name="x").info.run_id
    store.log_model(run_id, tiny_splade, "splade-sts")
    sentences = ["the dog runs in the park", "a big red car"]
    model = load_encoder(tiny_splade)
    expected = [dict(terms) for terms in model.decode(model.encode(sentences))]
    loaded = mlflow.pyfunc.load_model("models:/splade-sts/1").predict(sentences)
    assert loaded == expected and all(expected)


def test_tracking_can_be_turned_off(project, tmp_path):
    """tracking.enabled false: the stage makes no store and no run."""
    folder = tmp_path / "off"
    shutil.copytree(project, folder, symlinks=True, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts"))
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("  enabled: true", "  enabled: false"))
    done = subprocess.run([sys.executable, "-m", "stages.track"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (folder / "mlflow.db").exists() and (folder / "metrics/record.json").exists()


def test_no_secrets_and_no_paths(project):
    """Neither a token of the environment nor a folder of this machine is in the store."""
    os.environ["HF_TOKEN"] = canary = "hf_canary0123456789"
    try:
        splade_sts(project, "sync")
    finally:
        del os.environ["HF_TOKEN"]
    with sqlite3.connect(project / "mlflow.db") as database:
        tables = ("params", "tags", "inputs", "datasets", "metrics")
        content = " ".join(str(row) for table in tables for row in database.execute(f"SELECT * FROM {table}"))
    artifacts = b"".join(path.read_bytes() for path in (project / "mlartifacts").rglob("*") if path.is_file())
    assert canary not in content and canary.encode() not in artifacts
    assert str(project.parent) not in content and str(project.parent).encode() not in artifacts
    assert public_params({"model.source": "/home/me/models/x"}) == {"model.source": "…/x"}


@pytest.mark.skipif(shutil.which("pg_ctlcluster") is None and not Path("/usr/lib/postgresql").exists(), reason="no PostgreSQL server")
@pytest.mark.postgres
def test_postgresql(workspace, tmp_path):
    """A server of Debian's, started here, as the back end of four trainings at once."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    data = tmp_path / "pg"
    data.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    become = [shutil.which("runuser") or "/usr/sbin/runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if become:
        shutil.chown(data, "postgres")
        for folder in (tmp_path, *tmp_path.parents):
            if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
                folder.chmod(folder.stat().st_mode | 0o055)
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1"
    subprocess.run([*become, binaries / "initdb", "-D", data, "-U", "tester", "-A", "trust"], check=True, capture_output=True)
    subprocess.run(
        [*become, binaries / "pg_ctl", "-D", data, "-o", options, "-l", data / "log", "-w", "start"], check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        uri = f"postgresql+psycopg2://tester@127.0.0.1:{port}/postgres"
        train(workspace, "exit", pause=0, MLFLOW_TRACKING_URI=uri).communicate(timeout=120)
        for training in [train(workspace, "exit", pause=0, MLFLOW_TRACKING_URI=uri) for _ in range(4)]:
            _, errors = training.communicate(timeout=120)
            assert "warning" not in errors, errors
        assert len(wait_for_status(workspace, "FINISHED", uri)) == 5
    finally:
        subprocess.run([*become, binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"], capture_output=True)
