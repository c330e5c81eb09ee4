"""MLflow: live runs and how they end, records, servers that are away, what its user interface
listens on.
"""

import os
import queue
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests

from splade_sts.errors import UserError
from splade_sts.runs.place import commit_tags
from splade_sts.tracking.register import register
from splade_sts.tracking.start import start_mlflow
from splade_sts.tracking.sync import shown_tags, sync
from tests.support.commands import ROOT, run, user_environment
from tests.support.mlflow_runs import (
    EXPERIMENT,
    free_port,
    mlflow_server,
    runs,
    train,
    wait_for_end,
    wait_for_metric,
    wait_for_port,
)
from tests.support.projects import commit
from tests.support.records import run_record, write_pipeline, write_run

if TYPE_CHECKING:
    from splade_sts.tracking.store import Store

SLOW = "warning: MLflow is slow; its writer goes on by itself"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty DVC project in Git, and no MLflow settings of the caller."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "workspace"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".gitignore").write_text("/mlflow.db*\n/mlartifacts/\n")
    run(["git", "init", "-q"], folder)
    commit(folder, "start")
    return folder


def open_store(workspace: Path) -> "Store":
    start_mlflow()
    from splade_sts.tracking.store import Store

    return Store.open(workspace, EXPERIMENT)


ENDS = {
    "exit": "FINISHED",
    "raise": "FAILED",
    "interrupt": "KILLED",
    "SIGKILL": "KILLED",
    "SIGTERM": "KILLED",
}


def test_status_of_a_training(workspace: Path) -> None:
    """However a training ends, its run is never left RUNNING; the curve up to there is kept."""
    open_store(workspace)
    for training in [train(workspace, end) for end in ENDS]:
        training.communicate(timeout=120)
    found = {one.data.tags["device"]: one for one in wait_for_end(workspace, len(ENDS))}
    assert {end: one.info.status for end, one in found.items()} == ENDS
    for one in found.values():
        assert one.data.metrics["train/loss"] == pytest.approx(1 / 3)
        assert one.data.metrics["train/seconds"] == 1.5
        assert one.data.params == {"train.seed": "1"}
        tags = one.data.tags
        assert tags["git.dirty"] == "false"
        assert tags["splade_sts.training"] == "training"
        assert tags["mlflow.source.name"] == "dvc repro"
        assert tags["mlflow.source.git.commit"] == tags["git.commit"]
        assert {"mlflow.source.type", "mlflow.user", "mlflow.note.content"} <= set(tags)


def test_a_killed_writer_is_settled_later(workspace: Path) -> None:
    """Where the writer dies too, the next use of the store gives the run its status."""
    training = train(workspace, "exit", until="never", real=True)
    wait_for_metric(workspace, "train/loss")
    writers = psutil.Process(training.pid).children()
    assert len(writers) == 1
    assert "splade_sts.tracking.writer" in writers[0].cmdline()
    for process in (training, writers[0]):
        process.kill()
    training.communicate(timeout=30)
    psutil.wait_procs(writers, timeout=30)
    assert runs(workspace)[0].info.status == "RUNNING"
    open_store(workspace).settle()
    assert [found.info.status for found in runs(workspace)] == ["KILLED"]


def test_a_writer_of_another_machine(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives signs of life while its training says nothing; without them its run is ended."""
    from splade_sts.tracking import writer as writing
    from splade_sts.tracking.view import SEEN_TAG, WRITER_TAG

    monkeypatch.setattr(writing, "SIGN_SECONDS", 0.2)
    monkeypatch.setattr(writing, "owner", lambda: "another:1:1.00")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    start = {"root": workspace, "experiment": "splade-sts", "name": "a", "params": {}, "tags": {}}
    writer = writing.Writer(start)
    store = writer.open()
    store.client.set_tag(writer.run_id, SEEN_TAG, "1")

    def tags() -> dict[str, str]:
        return dict(store.client.get_run(writer.run_id).data.tags)

    messages: queue.Queue[Any] = queue.Queue()
    following = threading.Thread(target=writer.follow, args=(store, messages))
    following.start()
    deadline = time.monotonic() + 30
    while tags()[SEEN_TAG] == "1" and time.monotonic() < deadline:
        time.sleep(0.1)
    messages.put(None)
    following.join(30)
    assert tags()[WRITER_TAG] == "another:1:1.00"
    assert time.time() - float(tags()[SEEN_TAG]) < 60
    store.settle()
    assert store.client.get_run(writer.run_id).info.status == "RUNNING"
    store.client.set_tag(writer.run_id, SEEN_TAG, "1")
    store.settle()
    assert store.client.get_run(writer.run_id).info.status == "KILLED"


def test_four_trainings_at_once_make_one_database(workspace: Path) -> None:
    """Four processes that find no database."""
    trainings = [train(workspace, "exit") for _ in range(4)]
    for training in trainings:
        _, errors = training.communicate(timeout=120)
        # on a busy machine four clients of one database at once take their time, and the training
        # says so and ends
        assert training.returncode == 0, errors
        assert "warning" not in errors.replace(SLOW, ""), errors
    assert [run.info.status for run in wait_for_end(workspace, 4)] == ["FINISHED"] * 4


def test_a_server_that_is_down(workspace: Path) -> None:
    """One warning that says how to complete MLflow later; the training ends well within seconds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"  # bound, not listening: refuses
        training = train(workspace, "exit", MLFLOW_TRACKING_URI=uri)
        started = time.monotonic()
        output, errors = training.communicate(timeout=60)
    assert training.returncode == 0
    assert output == "trained\n"
    assert errors.count("warning: MLflow") == 1
    assert "python -m splade_sts sync" in errors
    assert time.monotonic() - started < 25


def test_a_server_that_does_not_answer(workspace: Path) -> None:
    """It accepts connections and says nothing: the training waits no longer than the bound."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        training = train(
            workspace, "exit", MLFLOW_TRACKING_URI=f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        started = time.monotonic()
        output, errors = training.communicate(timeout=60)
    assert training.returncode == 0
    assert output == "trained\n"
    assert "warning: MLflow" in errors
    assert time.monotonic() - started < 35


def test_a_server_that_dies_in_the_middle(workspace: Path, tmp_path: Path) -> None:
    """Live curves and statuses arrive through HTTP; without it, trainings end well and their runs
    are settled from notes.
    """
    backend = f"sqlite:///{tmp_path / 'server.db'}"
    with mlflow_server(tmp_path, backend) as (uri, stop):
        train(workspace, "SIGKILL", MLFLOW_TRACKING_URI=uri).communicate(timeout=60)
        (killed,) = wait_for_end(workspace, 1, uri)
        assert killed.info.status == "KILLED"
        assert killed.data.metrics["train/loss"] == pytest.approx(1 / 3)
        training = train(workspace, "exit", until="server-is-dead", MLFLOW_TRACKING_URI=uri)
        wait_for_metric(workspace, "train/loss", uri, count=2)
        stop()
        (workspace / "server-is-dead").touch()
        output, errors = training.communicate(timeout=90)
    assert training.returncode == 0
    assert output == "trained\n"
    assert not (workspace / "mlflow.db").exists()
    assert errors.count("warning: MLflow") == 1, errors
    assert {run.info.status for run in runs(workspace, backend)} == {"KILLED", "RUNNING"}
    from mlflow import MlflowClient

    from splade_sts.tracking.store import Store

    Store(MlflowClient(backend), killed.info.experiment_id, workspace).settle()
    found = {run.info.status: run for run in runs(workspace, backend)}
    assert set(found) == {"KILLED", "FINISHED"}
    assert found["FINISHED"].data.tags["splade_sts.training"] == "training"


def test_a_record_becomes_one_complete_run(workspace: Path) -> None:
    """Written once; what was missing is added later; the same training with another report is
    another run.
    """
    write_run(workspace)
    run(["git", "add", "params.yaml"], workspace)
    run(["git", "commit", "-qm", "parameters"], workspace)
    head = run(["git", "rev-parse", "HEAD"], workspace).stdout.strip()
    record, store = run_record(), open_store(workspace)
    tags = {"git.commit": head, "git.dirty": "false"}
    bare = replace(
        record, artifacts={}, missing=("reports", "evidence/comparison.json"), comparison=None
    )
    first = store.write(bare, "name", shown_tags(workspace, bare, tags))
    assert first.new
    run_id = first.run_id
    assert store.write(bare, "name", tags) == replace(first, new=False)
    note = store.client.get_run(run_id).data.tags["mlflow.note.content"]
    assert note == "The parameters are the committed ones."
    complete = store.write(record, "name", shown_tags(workspace, record, tags))
    assert complete == replace(first, missing=())
    for again in (record, bare):
        assert store.write(again, "name", tags) == replace(complete, new=False)
    (found,) = runs(workspace)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "name"
    assert found.data.params["train.learning_rate"] == "0.001"
    assert found.data.params["data.revision"] == "null"
    assert found.data.metrics["test/spearman"] == 0.6
    assert found.data.metrics["test/p"] == 0.04
    assert found.data.tags["splade_sts.complete"] == "true"
    assert found.data.tags["dvc.md5.models/base"]
    note = found.data.tags["mlflow.note.content"]
    assert note.startswith("Fine-tuning made no")
    assert note.endswith("The report is the artifact `reports/comparison.html`.")
    history = store.client.get_metric_history(run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [
        (point.step, point.loss) for point in record.training
    ]
    inputs = {entry.dataset.name: entry.dataset for entry in found.inputs.dataset_inputs}
    assert set(inputs) == {"train", "validation", "test"}
    assert inputs["test"].digest == record.datasets[2].digest
    kept = workspace / "mlartifacts" / run_id / "artifacts"
    assert {str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()} == set(
        record.artifacts
    )
    other = store.write(replace(record, id="other"), "other", tags)
    assert other.new
    assert other.run_id != run_id


def experiment(name: str) -> dict[str, str]:
    """Tags of a DVC experiment."""
    return {"dvc.experiment": name, "dvc.baseline": "c0ffee" * 6, "git.commit": "c0ffee" * 6}


def test_equal_results_under_another_name(workspace: Path) -> None:
    """A DVC experiment has a run of its own, which says whose results it repeats; a commit is
    content with the run that is there, which stays what it was.
    """
    record, store = run_record(), open_store(workspace)
    bare = replace(record, missing=("reports",), artifacts={})
    first = store.write(bare, "first", {**experiment("first"), "mlflow.note.content": "bare"})
    by_commit = store.write(
        record,
        "repro-1234567",
        {"git.commit": "1234567", "mlflow.note.content": "complete"},
        by_name=False,
    )
    assert by_commit == replace(first, missing=())
    second = store.write(record, "second", experiment("second"))
    third = store.write(record, "third", {**experiment("third"), "mlflow.note.content": "note"})
    assert second.new
    assert third.new
    found = {one.info.run_name: one for one in runs(workspace)}
    assert set(found) == {"first", "second", "third"}
    assert {one.data.tags["splade_sts.record"] for one in found.values()} == {record.id}
    tags = {name: one.data.tags for name, one in found.items()}
    assert tags["first"]["mlflow.note.content"] == "complete"
    assert tags["first"]["git.commit"] == "c0ffee" * 6
    assert tags["second"]["mlflow.note.content"] == "Its results equal those of the run `first`."
    assert tags["third"]["mlflow.note.content"].startswith("note\n\nIts results equal")
    for name, written in (("first", first), ("second", second), ("third", third)):
        again = store.write(record, name, experiment(name))
        assert (again.run_id, again.new) == (written.run_id, False)
    assert not store.write(record, "repro-7654321", {"git.commit": "7654321"}, by_name=False).new
    assert store.write(record, "repro-7654321", {"git.commit": "7654321"}).new


def test_how_long_a_run_lasts(workspace: Path) -> None:
    """From the start of its training to the end of the pipeline. A record that is written later
    says neither: its run has no length, and a training's own run ends with the training.
    """
    record, store = run_record(), open_store(workspace)

    def times(run_id: str) -> tuple[int, int]:
        info = store.client.get_run(run_id).info
        return info.start_time, info.end_time

    bare = replace(record, missing=("reports",), artifacts={})
    for later, one in ((1000, bare), (5000, record)):
        alone = store.write(one, "alone", {}, recorded_at=later)
        assert alone.new
        assert times(alone.run_id) == (1000, 1000), "what is added later takes no time"
    at_once = times(store.write(replace(record, id="other"), "at once", {}).run_id)
    assert at_once[0] == at_once[1]
    for number, recorded_at in enumerate((None, 10**14)):
        train(workspace, "exit").communicate(timeout=60)
        ended = wait_for_end(workspace, 3 + number)
        (live,) = [one for one in ended if "splade_sts.complete" not in one.data.tags]
        before = (live.info.start_time, live.info.end_time)
        time.sleep(0.01)
        trained = replace(record, id=f"trained {number}", training_id="training")
        done = store.write(trained, f"trained {number}", {}, recorded_at=recorded_at)
        assert done.run_id == live.info.run_id
        start, end = times(done.run_id)
        assert start == before[0]
        assert end == before[1] if recorded_at else before[1] < end < before[1] + 60_000


def test_sync_of_the_workspace_leaves_a_training_its_end(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It completes the run that the training opened, which ended when the training did, not now."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_run(workspace)
    store = open_store(workspace)
    training = {"splade_sts.training": run_record().training_id}
    opened = store.client.create_run(store.experiment_id, 1000, tags=training).info.run_id
    store.client.set_terminated(opened, "FINISHED", 2000)
    monkeypatch.chdir(workspace)
    (done,) = sync([], None, EXPERIMENT)
    assert (done.name, done.run_id, done.written) == ("workspace", opened, True)
    (found,) = runs(workspace)
    assert (found.info.start_time, found.info.end_time) == (1000, 2000)


def test_a_live_run_belongs_to_its_experiment(workspace: Path) -> None:
    """Another experiment with the same training leaves it alone, and so does a commit whose
    results are there; `dvc repro` completes it and gives it its name.
    """
    for name in ("mine", ""):
        train(workspace, "exit", DVC_EXP_NAME=name).communicate(timeout=60)
    wait_for_end(workspace, 2)
    record, store = replace(run_record(), training_id="training"), open_store(workspace)
    live = {one.data.tags.get("dvc.experiment"): one.info.run_id for one in runs(workspace)}
    other = store.write(record, "other", experiment("other"))
    assert other.run_id not in live.values()
    assert store.write(record, "mine", experiment("mine")).run_id == live["mine"]
    commit = {"git.commit": "1234567"}
    assert not store.write(record, "repro-1234567", commit, by_name=False).new
    assert store.write(record, "repro-1234567", commit).run_id == live[None]
    assert not store.write(record, "repro-1234567", commit).new
    names = {one.info.run_id: one.info.run_name for one in runs(workspace)}
    assert names == {other.run_id: "other", live["mine"]: "mine", live[None]: "repro-1234567"}


def test_an_experiment_of_before_gets_the_views(workspace: Path) -> None:
    """One that somebody made in MLflow; what it says of its kind stays."""
    store = open_store(workspace)
    kind = "mlflow.experimentKind"
    artifacts = (workspace / "mlartifacts").as_uri()
    theirs = store.client.create_experiment("theirs", artifacts, tags={kind: "somebody's"})
    assert type(store).open(workspace, "theirs").experiment_id == theirs
    tags = store.client.get_experiment(theirs).tags
    assert tags[kind] == "somebody's"
    assert {"mlflow.sharedViewState.results", "mlflow.sharedViewState.sweeps"} <= set(tags)


def test_the_run_of_a_training_is_completed(workspace: Path) -> None:
    """The record of a training that was shown live goes into its run, with the points that a dead
    server missed.
    """
    train(workspace, "exit").communicate(timeout=60)
    (live,) = wait_for_end(workspace, 1)
    record, store = replace(run_record(), training_id="training"), open_store(workspace)
    written = store.write(record, "name", {})
    assert written.new
    assert written.run_id == live.info.run_id
    (found,) = runs(workspace)
    assert found.data.metrics["train/seconds"] == 1.5
    assert found.data.metrics["train/validation_spearman"] == 0.4
    history = store.client.get_metric_history(live.info.run_id, "train/loss")
    assert sorted(point.step for point in history) == [1, 2, 3, 4]
    assert found.data.params["train.seed"] == "1"


def test_a_logged_model_gives_the_same_vectors(workspace: Path, tiny_splade: Path) -> None:
    """Registered, loaded back from MLflow: term by term what the folder's model gives."""
    store = open_store(workspace)
    import mlflow

    from splade_sts.model.encoder import load_encoder

    run_id = store.client.create_run(store.experiment_id, run_name="x").info.run_id
    store.client.set_terminated(run_id, "FINISHED", 1000)
    assert store.registered(run_id, EXPERIMENT) is None
    store.log_model(run_id, tiny_splade, EXPERIMENT)
    assert store.registered(run_id, EXPERIMENT) == "1"
    assert store.registered(run_id, "another") is None
    info = store.client.get_run(run_id).info
    assert (info.status, info.end_time) == ("FINISHED", 1000), "registered later, no longer run"
    sentences = ["the dog runs in the park", "a big red car"]
    model = load_encoder(tiny_splade)
    expected = [dict(terms) for terms in model.decode(model.encode(sentences))]
    loaded = mlflow.pyfunc.load_model(f"models:/{EXPERIMENT}/1").predict(sentences)
    assert loaded == expected
    assert all(expected)


def test_models_that_are_not_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run that MLflow does not hold, of one that is not in the cache, of a workspace whose
    model is not the recorded one, of a revision without results: one line each.
    """
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    run(["git", "init", "-q"], tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    commit(tmp_path, "nothing yet")
    with pytest.raises(UserError, match=r"^the pipeline has not run to its end here \(params.yaml"):
        register(None, EXPERIMENT)
    shutil.rmtree(tmp_path / ".dvc")
    write_run(tmp_path)
    write_pipeline(tmp_path)
    commit(tmp_path, "a run")
    with pytest.raises(UserError, match=r"^HEAD is not in MLflow; .* python -m splade_sts sync$"):
        register("HEAD", EXPERIMENT)
    assert all(done.written for done in sync([], None, EXPERIMENT))
    with pytest.raises(UserError, match=r"^not in the cache: models/finetuned of .* \(dvc pull\)$"):
        register("HEAD", EXPERIMENT)
    with pytest.raises(UserError, match=r"^models/finetuned is not the model of dvc.lock; dvc"):
        register(None, EXPERIMENT)
    (tmp_path / "models/finetuned").mkdir(parents=True)
    (tmp_path / "models/finetuned/another").touch()
    with pytest.raises(UserError, match=r"^models/finetuned is not the model of dvc.lock; dvc"):
        register(None, EXPERIMENT)
    for name in ("HEAD~1", "nowhere"):
        with pytest.raises(UserError, match=name):
            register(name, EXPERIMENT)


def test_sync_in_a_folder_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commits of the branch are found there, in its worktree and in a shallow clone of it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    top, inner = tmp_path / "top", Path("some/project")
    (top / inner).mkdir(parents=True)
    write_run(top / inner)
    write_pipeline(top / inner)
    run(["git", "init", "-q"], top)
    commit(top, "a run")
    run(["git", "worktree", "add", "-q", str(tmp_path / "worktree")], top)
    run(["git", "clone", "-q", "--depth=1", f"file://{top}", str(tmp_path / "clone")], top)
    head = run(["git", "rev-parse", "HEAD"], top).stdout[:7]
    for repository in ("top", "worktree", "clone"):
        monkeypatch.chdir(tmp_path / repository / inner)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow leaves the last one there
        done = [found for found in sync([], None, EXPERIMENT) if found.name != "workspace"]
        (written,) = runs(Path.cwd())
        committed = 1000 * int(run(["git", "show", "-s", "--format=%ct"], top).stdout)
        assert (written.info.start_time, written.info.end_time) == (committed, committed)
        assert [(found.name, found.written) for found in done] == [(f"repro-{head}", True)]


def test_a_training_without_git(workspace: Path, tmp_path: Path) -> None:
    """One warning, and the run ends well, without a commit; `sync` writes the workspace's run."""
    shutil.rmtree(workspace / ".git")
    _, errors = train(workspace, "exit", GIT_CEILING_DIRECTORIES=str(tmp_path)).communicate(
        timeout=60
    )
    assert errors.count("warning") == errors.count("Git cannot say which commit") == 1
    (found,) = wait_for_end(workspace, 1)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "repro")
    assert not {"git.commit", "mlflow.source.git.commit"} & set(found.data.tags)
    write_run(workspace)
    done = run(
        [sys.executable, "-m", "splade_sts", "sync"],
        workspace,
        PYTHONPATH=str(ROOT),
        GIT_CEILING_DIRECTORIES=str(tmp_path),
    )
    assert "workspace: run " in done.stdout
    assert "1 written" in done.stdout


# Names that a page elsewhere may give to this machine (DNS rebinding).
STRANGERS = (
    "192.168.evil.example",
    "10.evil.example:5000",
    "localhost.evil.example",
    "evil.example",
)


def test_the_ui_listens_on_loopback_only(workspace: Path) -> None:
    """Every socket that `python -m splade_sts ui` and its children open is on 127.0.0.1; a second
    one says that the port is taken. It answers to these names alone.
    """
    write_run(workspace)
    port = free_port()
    command = [sys.executable, "-m", "splade_sts", "ui", "--port", str(port)]
    environment = user_environment(PYTHONPATH=str(ROOT))
    process = subprocess.Popen(
        command,
        cwd=workspace,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        page = process.stdout.readline()
        assert f"http://127.0.0.1:{port}/#/experiments/1/runs?workflowType=machine_learning" in page
        wait_for_port(port, process)
        family = [
            psutil.Process(process.pid),
            *psutil.Process(process.pid).children(recursive=True),
        ]
        listening = [
            c.laddr
            for p in family
            for c in p.net_connections("inet")
            if c.status == psutil.CONN_LISTEN
        ]
        assert port in {address.port for address in listening}
        assert {address.ip for address in listening} == {"127.0.0.1"}
        answers = {
            host: requests.get(
                f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/experiments/search?max_results=1",
                headers={"Host": host},
                timeout=30,
            ).status_code
            for host in (f"localhost:{port}", f"127.0.0.1:{port}", *STRANGERS)
        }
        assert answers == {
            f"localhost:{port}": 200,
            f"127.0.0.1:{port}": 200,
            **dict.fromkeys(STRANGERS, 403),
        }
        second = run(command, workspace, check=False, PYTHONPATH=str(ROOT))
        assert second.returncode == 1
        assert f"port {port} of 127.0.0.1 cannot be used" in second.stderr
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.skipif(
    shutil.which("pg_ctlcluster") is None and not Path("/usr/lib/postgresql").exists(),
    reason="no PostgreSQL server",
)
@pytest.mark.postgres
def test_postgresql(workspace: Path, tmp_path: Path) -> None:
    """A server of Debian's, started here, as the back end of four trainings at once."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    data, port = tmp_path / "pg", free_port()
    data.mkdir()
    become = (
        [shutil.which("runuser") or "/usr/sbin/runuser", "-u", "postgres", "--"]
        if os.geteuid() == 0
        else []
    )
    if become:
        shutil.chown(data, "postgres")
        for folder in (tmp_path, *tmp_path.parents):
            if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
                folder.chmod(folder.stat().st_mode | 0o055)
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1"
    subprocess.run(
        [*become, binaries / "initdb", "-D", data, "-U", "tester", "-A", "trust"],
        check=True,
        capture_output=True,
    )
    subprocess.run(
        [
            *become,
            binaries / "pg_ctl",
            "-D",
            data,
            "-o",
            options,
            "-l",
            data / "log",
            "-w",
            "start",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        uri = f"postgresql+psycopg2://tester@127.0.0.1:{port}/postgres"
        train(workspace, "exit", MLFLOW_TRACKING_URI=uri).communicate(timeout=120)
        for training in [train(workspace, "exit", MLFLOW_TRACKING_URI=uri) for _ in range(4)]:
            _, errors = training.communicate(timeout=120)
            assert "warning" not in errors, errors
        assert [run.info.status for run in wait_for_end(workspace, 5, uri)] == ["FINISHED"] * 5
    finally:
        subprocess.run(
            [*become, binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"],
            capture_output=True,
        )


@pytest.mark.parametrize("name", ["50% off", "a#b c", "%20", "what?x=1", "ünïcode"])
def test_a_folder_with_any_name(tmp_path: Path, monkeypatch, name: str) -> None:
    """The database and the artifacts lie in it, and come back."""
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_run(folder)
    store = open_store(folder)
    done = store.write(run_record(), "first", commit_tags("c" * 40))
    assert (folder / "mlflow.db").is_file()
    kept = list((folder / "mlartifacts").rglob("comparison.html"))
    assert len(kept) == 1
    assert store.client.list_artifacts(done.run_id)
    assert not [
        path for path in tmp_path.rglob("*") if path != folder and folder not in path.parents
    ]


@pytest.mark.parametrize("damage", [b"no database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_broken_database(tmp_path: Path, monkeypatch, damage: bytes) -> None:
    """One message that says what to do; the file stays."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "mlflow.db"
    path.write_bytes(damage)
    with pytest.raises(UserError, match="is no database any more; move it away, then run"):
        open_store(tmp_path)
    assert path.read_bytes() == damage


def database(path: Path, *commands: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for command in commands:
            connection.execute(command)


UNUSABLE = {
    "a folder": "is a folder; move it away, then run",
    "of something else": r"is a database of something else \(with notes\); move it away, then run",
    "of something like it": r"has not the tables of this version of MLflow \(.*\); move it away",
    "of another version": r"was made by another version of MLflow; upgrade it \(.*\), or move it",
    "without a column": r"has not the tables of this version of MLflow \(.*ts.name\); move",
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_database_that_is_not_mlflows(tmp_path: Path, monkeypatch, what: str) -> None:
    """One message at once, and nothing is written into it; MLflow would try for 100 seconds."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "mlflow.db"
    if what == "a folder":
        path.mkdir()
    elif what == "of something else":
        database(path, "CREATE TABLE notes (text)", "INSERT INTO notes VALUES ('kept')")
    elif what == "of something like it":
        database(path, "CREATE TABLE experiments (a)")
    else:
        open_store(tmp_path)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # which MLflow sets
        other = tmp_path / "other"  # MLflow knows the first one by its path
        other.mkdir()
        path = path.rename(other / path.name)
        if what == "of another version":
            database(path, "UPDATE alembic_version SET version_num = 'other'")
        else:
            database(path, "ALTER TABLE experiments RENAME COLUMN name TO title")
    before = path.read_bytes() if path.is_file() else None
    started = time.monotonic()
    with pytest.raises(UserError, match=f"^{path} {UNUSABLE[what]}"):
        open_store(path.parent)
    assert time.monotonic() - started < 20
    if what == "of something else":
        assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["a folder", "of something else"])
def test_a_database_elsewhere_that_is_not_mlflows(tmp_path: Path, monkeypatch, what: str) -> None:
    """The one that MLFLOW_TRACKING_URI names is somebody's: nobody is told to move it."""
    path = tmp_path / "own.db"
    if what == "a folder":
        path.mkdir()
    else:
        database(path, "CREATE TABLE notes (text)")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    with pytest.raises(UserError, match=f"{path} is a .*; let MLFLOW_TRACKING_URI name another"):
        open_store(tmp_path)


def test_an_address_that_is_none(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:x")
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI is no address; expected "):
        open_store(tmp_path)


@pytest.mark.parametrize("made", ["nothing", "the first tables"])
def test_a_database_that_is_half_made(tmp_path: Path, monkeypatch, made: str) -> None:
    """After a kill, MLflow makes the rest."""
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "mlflow.db"
    path.touch()
    if made != "nothing":
        Base.metadata.create_all(create_engine(f"sqlite:///{path}"))
    assert open_store(tmp_path).experiment_id
