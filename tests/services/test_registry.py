"""MLflow's registry: which model is the champion, and a registered model that answers over HTTP."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from splade_sts import layout
from splade_sts.comparison.statistics import Array, Bootstrap
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions
from splade_sts.tracking.promote import promote
from splade_sts.tracking.start import start_mlflow
from splade_sts.tracking.sync import sync
from tests.support.commands import run
from tests.support.mlflow_runs import EXPERIMENT, free_port, wait_for_port
from tests.support.projects import commit
from tests.support.records import write_run

COUNT = 200
BOOTSTRAP = Bootstrap(resamples=500, confidence=0.95, seed=0)
GENERATOR = np.random.default_rng(0)
GOLD = np.round(GENERATOR.uniform(size=COUNT), 2)
NOISE = GENERATOR.normal(size=COUNT)
GOOD, BAD, NEAR = (
    GOLD + 0.4 * NOISE + error * GENERATOR.normal(size=COUNT) for error in (0, 0.3, 0.02)
)
# What each run predicts for validation and for test.
RUNS = {"bad": (BAD, GOOD), "good": (GOOD, BAD), "near": (NEAR, GOOD)}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a project with a commit for each of `RUNS`, by tag, that MLflow knows;
    Git holds their predictions.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    run(["git", "init", "-q"], tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (tmp_path / ".gitignore").write_text("/mlflow.db*\n/mlartifacts/\n")
    for seed, (name, predicted) in enumerate(RUNS.items()):
        if (tmp_path / layout.REPORTS).exists():
            for path in (tmp_path / layout.REPORTS).iterdir():
                path.unlink()
            (tmp_path / layout.REPORTS).rmdir()
        write_run(tmp_path, train__seed=seed)
        with (tmp_path / layout.LOCK).open("a") as lock:
            lock.write(f"# {name}\n")
        for split, cosine in zip(layout.HELD_OUT, predicted, strict=True):
            write_predictions(tmp_path, split, cosine)
        commit(tmp_path, name)
        run(["git", "tag", name], tmp_path)
    sync([], None, EXPERIMENT)
    return tmp_path


def write_predictions(folder: Path, split: layout.Split, cosine: Array) -> None:
    path, dims = folder / layout.prediction("finetuned", split), np.ones(COUNT, dtype=np.int64)
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = Pairs([split] * COUNT, ["c"] * COUNT, GOLD)
    Predictions(pairs, cosine, dims, dims, [[]] * COUNT).write(path)


def registered(workspace: Path, name: str) -> str:
    """Give the run of a commit a version of the registered model, which nobody loads."""
    from splade_sts.tracking.register import recorded_run
    from splade_sts.tracking.store import Store

    store = Store.open(workspace, EXPERIMENT)
    record, _, _ = recorded_run(workspace, name)
    found = store.find(record, "", by_name=False)
    assert found is not None
    if not store.client.search_registered_models(f"name = '{EXPERIMENT}'"):
        store.client.create_registered_model(EXPERIMENT)
    version = store.client.create_model_version(
        EXPERIMENT, (workspace / "models").as_uri(), found.info.run_id
    )
    return str(version.version)


def test_the_champion(workspace: Path) -> None:
    """The first one needs no comparison; a better one takes over by its validation, whatever test
    says; one that may be a loss does not; one whose results are gone is said.
    """
    start_mlflow()
    from splade_sts.tracking.store import CHAMPION, Store

    store = Store.open(workspace, EXPERIMENT)

    def champion() -> str:
        return str(store.client.get_model_version_by_alias(EXPERIMENT, CHAMPION).version)

    with pytest.raises(
        UserError, match=r"^bad has no registered model; .* splade_sts register bad$"
    ):
        promote("bad", EXPERIMENT, BOOTSTRAP)
    versions = {name: registered(workspace, name) for name in RUNS}
    first = promote("bad", EXPERIMENT, BOOTSTRAP)
    assert (first.promoted, first.champion, first.compared) == (True, None, ())
    assert champion() == versions["bad"]
    again = promote("bad", EXPERIMENT, BOOTSTRAP)
    assert (again.promoted, again.champion, again.compared) == (True, versions["bad"], ())

    better = promote("good", EXPERIMENT, BOOTSTRAP)
    validation, test = better.compared
    assert (validation.split, test.split) == ("validation", "test")
    assert validation.change.low > 0
    assert test.change.high < 0
    assert validation.run.startswith(f"version {versions['good']} (repro-")
    assert better.promoted
    assert champion() == versions["good"]

    for name in ("near", "bad"):
        refused = promote(name, EXPERIMENT, BOOTSTRAP)
        assert refused.compared[0].change.low < 0
        assert not refused.promoted
        assert champion() == versions["good"]
    assert promote(None, EXPERIMENT, BOOTSTRAP).version == versions["near"], "the workspace"

    run(["git", "reset", "-q", "--soft", "bad"], workspace)
    run(["git", "commit", "-qam", "near, on another branch"], workspace)
    with pytest.raises(
        UserError, match=r"^the champion is version .* whose results are neither in"
    ):
        promote(None, EXPERIMENT, BOOTSTRAP)


SENTENCES = ["the dog runs in the park", "a big red car"]


@pytest.fixture
def served(tmp_path: Path, tiny_splade: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of `mlflow models serve`, for a registered model."""
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    start_mlflow()
    from splade_sts.tracking.store import Store, tracking_uri

    store = Store.open(tmp_path, EXPERIMENT)
    store.log_model(
        store.client.create_run(store.experiment_id).info.run_id, tiny_splade, EXPERIMENT
    )
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["--model-uri", f"models:/{EXPERIMENT}/1", "--port", str(port)]
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": tracking_uri(tmp_path),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_for_port(port, server)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def test_a_registered_model_over_http(served: str, tiny_splade: Path) -> None:
    """Each sentence is answered with its terms, heaviest first: term by term the vector of
    SparseEncoder. What is no list of texts is refused.
    """
    from splade_sts.model.encoder import load_encoder

    def asked(content: object) -> requests.Response:
        return requests.post(f"{served}/invocations", json=content, timeout=60)

    answer = asked({"inputs": SENTENCES})
    assert answer.status_code == 200, answer.text
    found = answer.json()["predictions"]
    model = load_encoder(tiny_splade)
    vectors = model.encode(SENTENCES).to_dense().numpy()
    for terms, vector in zip(found, vectors, strict=True):
        answered = np.zeros_like(vector)
        answered[model.tokenizer.convert_tokens_to_ids(list(terms))] = [*terms.values()]
        np.testing.assert_array_equal(answered, vector)
        assert [*terms.values()] == sorted(terms.values(), reverse=True)
    assert asked({"inputs": [1]}).status_code == 400
    assert asked({"inputs": []}).json() == {"predictions": []}
