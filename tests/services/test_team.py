"""A team's MLflow server, with logins and with artifacts that go through it."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import requests

from splade_sts.errors import UserError
from splade_sts.tracking.start import start_mlflow
from splade_sts.tracking.sync import sync
from splade_sts.tracking.view import COPIED_TAG, SEEN_TAG
from tests.support.commands import run
from tests.support.mlflow_runs import EXPERIMENT, mlflow_server, runs, train, wait_for_end
from tests.support.projects import commit, set_params
from tests.support.records import run_record, write_pipeline, write_run

PASSWORDS = {"admin": "a-long-password-1", "ann": "a-long-password-2", "ben": "a-long-password-3"}
pytestmark = pytest.mark.skipif(
    find_spec("flask_wtf") is None, reason="no flask-wtf, which a server with logins needs"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server that asks who calls, with the users ann and ben."""
    environment = {
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORDS["admin"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a secret",
        "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "auth.ini"),
    }
    (tmp_path / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = READ\nadmin_username = admin\n"
        f"database_uri = sqlite:///{tmp_path / 'auth.db'}\n"
        "auth_cache_ttl_seconds = 60\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    with mlflow_server(tmp_path, None, "--app-name", "basic-auth", **environment) as (uri, _):
        for name in ("ann", "ben"):
            user = {"username": name, "password": PASSWORDS[name]}
            asked(uri, "2.0/mlflow/users/create", user)
        yield uri


def asked(uri: str, what: str, content: dict[str, Any]) -> Any:
    """What the server answers to its administrator."""
    login = ("admin", PASSWORDS["admin"])
    answer = requests.post(f"{uri}/api/{what}", json=content, auth=login, timeout=30)
    answer.raise_for_status()
    return answer.json()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a project with a committed run, whose own database holds more: a
    training that was killed, and an experiment that was removed since.
    """
    folder = tmp_path / "workspace"
    folder.mkdir()
    write_run(folder)
    write_pipeline(folder)
    with (folder / ".gitignore").open("a") as ignored:
        ignored.write("/mlflow.db*\n/mlartifacts/\n")
    run(["git", "init", "-q"], folder)
    commit(folder, "a run")
    monkeypatch.chdir(folder)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    train(folder, "SIGKILL").communicate(timeout=60)
    wait_for_end(folder, 1)
    start_mlflow()
    from splade_sts.tracking.store import Store

    removed = replace(run_record(), id="removed")
    Store.open(folder, EXPERIMENT).write(removed, "removed", {"dvc.experiment": "removed"})
    sync([], None, EXPERIMENT)
    return folder


def content(one: Any, uri: str) -> dict[str, Any]:
    """What two stores hold of a run alike."""
    from mlflow import MlflowClient

    client, run_id = MlflowClient(uri), one.info.run_id
    own = {COPIED_TAG, SEEN_TAG, "splade_sts.writer", "mlflow.user"}
    curves = {
        name: sorted((point.step, point.value) for point in client.get_metric_history(run_id, name))
        for name in one.data.metrics
    }
    return {
        "info": (one.info.run_name, one.info.status, one.info.start_time, one.info.end_time),
        "params": one.data.params,
        "metrics": curves,
        "tags": {name: value for name, value in one.data.tags.items() if name not in own},
        "datasets": sorted(found.dataset.digest for found in one.inputs.dataset_inputs),
        "artifacts": sorted(found.path for found in client.list_artifacts(run_id)),
    }


def login(monkeypatch: pytest.MonkeyPatch, name: str, password: str | None = None) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password or PASSWORDS[name])


def test_moving_to_a_server_with_logins(
    workspace: Path,
    server: str,
    tmp_path: Path,
    tiny_splade: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every run of the database is there with all it held, each once. The server serves files and
    models; who may not write, or is nobody it knows, is told so.
    """
    local = f"sqlite:///{workspace / 'mlflow.db'}"
    ours = runs(workspace)
    before = sorted((content(one, local) for one in ours), key=str)
    assert {one.info.status for one in ours} == {"FINISHED", "KILLED"}
    assert len(ours) == 3
    database = workspace / "mlflow.db"
    with pytest.raises(UserError, match=r"mlflow.db is where the runs would go; name the server"):
        sync([], None, EXPERIMENT, database)
    from splade_sts.tracking.store import Store

    here = Store.open(workspace, EXPERIMENT)
    here.client.create_run(here.experiment_id, run_name="goes on")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    login(monkeypatch, "ann")
    there = Store.open(workspace, EXPERIMENT)
    there.client.create_run(  # a copy that was interrupted
        there.experiment_id, tags={COPIED_TAG: ours[0].info.run_id}, run_name="half"
    )
    for path in ("nowhere.db", "params.yaml"):
        with pytest.raises(UserError, match=rf"^{path} is no SQLite database; name MLflow's"):
            sync([], None, EXPERIMENT, Path(path))
    with pytest.raises(UserError, match=r"^mlflow.db has no MLflow experiment another"):
        sync([], None, "another", Path("mlflow.db"))
    done = sync([], None, EXPERIMENT, database)
    assert sum(one.written for one in done) == 3
    assert [one.name for one in done if one.problem == "it is still running"] == ["goes on"]
    assert sum(one.written for one in sync([], None, EXPERIMENT, database)) == 0
    found = runs(workspace, server)
    assert sorted((content(one, server) for one in found), key=str) == before
    assert {one.info.artifact_uri.split(":")[0] for one in found} == {"mlflow-artifacts"}
    assert {*map(str, tmp_path.glob("server-artifacts/*/*"))}, "they went through the server"

    import mlflow

    there.log_model(found[0].info.run_id, tiny_splade, EXPERIMENT)
    login(monkeypatch, "ben")
    loaded = mlflow.pyfunc.load_model(f"models:/{EXPERIMENT}/1").predict(["the dog runs"])
    assert loaded[0]
    write_run_again(workspace)
    with pytest.raises(UserError, match=r"^MLflow: .*Permission denied"):
        sync([], None, EXPERIMENT)
    place = {"resource_type": "experiment", "resource_id": there.experiment_id}
    grant = {"username": "ben", **place, "permission": "EDIT"}
    asked(server, "3.0/mlflow/users/permissions/grant", grant)
    assert [done.written for done in sync([], None, EXPERIMENT)].count(True) == 1
    login(monkeypatch, "ben", "no password of his")
    with pytest.raises(UserError, match=r"^MLflow: .*401"):
        sync([], None, EXPERIMENT)


def write_run_again(folder: Path) -> None:
    """Commit another run, with another seed."""
    set_params(folder, train__seed=7)
    commit(folder, "another run")
