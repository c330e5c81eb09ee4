"""Writing records to MLflow: SQLite at the project's root, or the server that MLFLOW_TRACKING_URI names."""

import hashlib
import json
import logging
import os
import tempfile
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Set before MLflow is imported: no telemetry, and a server that does not answer costs seconds, not minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
os.environ.pop("MLFLOW_RUN_ID", None)

import mlflow  # noqa: E402
import psutil  # noqa: E402
from filelock import FileLock  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.data.meta_dataset import MetaDataset  # noqa: E402
from mlflow.data.code_dataset_source import CodeDatasetSource  # noqa: E402
from mlflow.entities import DatasetInput, InputTag, Metric, Param, Run, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

from splade_sts.runs.record import COMPLETE_TAG, RECORD_TAG, TRAINING_TAG, Record  # noqa: E402

WRITER_TAG = "splade_sts.writer"
BATCH = 1000  # most metrics that MLflow takes in one request
TAG_LENGTH = 5000
# A shared view of the UI: the runs table opens with these columns instead of without any metric.
VIEW = "results"
VIEW_STATE = {
    "selectedColumns": [
        *(f"metrics.`{name}`" for name in (
            "base.test.spearman_cosine", "finetuned.test.spearman_cosine", "delta.test.spearman_cosine",
            "base.test.active_dims", "finetuned.test.active_dims",
        )),
        *(f"params.`{name}`" for name in ("data.source", "train.epochs", "train.learning_rate", "train.regularizer_weight")),
    ]
}

# Its news of tables created and monitors started would stand in the middle of the training's output.
logging.getLogger("mlflow").setLevel(logging.WARNING)


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or the SQLite database at the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


def connect(root: Path, experiment: str) -> tuple[MlflowClient, str]:
    """A client of the store of the project at `root`, and the id of `experiment`, made where it is missing.

    Raises:
        MlflowException: the store cannot be reached or is no MLflow store.
    """
    uri = tracking_uri(root)
    mlflow.set_tracking_uri(uri)
    if not uri.startswith("sqlite"):
        return _experiment(MlflowClient(uri), experiment, None)
    # processes that make one new database at the same time would break each other
    with FileLock(root / "mlflow.db.lock"):
        return _experiment(MlflowClient(uri), experiment, (root / "mlartifacts").as_uri())


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> tuple[MlflowClient, str]:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return client, found.experiment_id
    tags = {"mlflow.experimentKind": "custom_model_development", f"mlflow.sharedViewState.{VIEW}": json.dumps(VIEW_STATE)}
    try:
        return client, client.create_experiment(name, artifact_location=artifacts, tags=tags)
    except MlflowException:  # somebody else made it since
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return client, found.experiment_id


def runs_page(experiment_id: str) -> str:
    """Path of the UI's runs table with the columns of `VIEW_STATE`."""
    return f"/#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW}"


def log_curves(client: MlflowClient, run_id: str, points: list[tuple[int, dict[str, float]]], timestamp: int) -> None:
    """Log points `(step, {name: value})` in as few requests as MLflow allows."""
    metrics = [Metric(name, value, timestamp, step) for step, values in points for name, value in values.items()]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])


def param_entities(params: dict[str, Any]) -> list[Param]:
    """Parameters as MLflow takes them."""
    return [Param(name, "null" if value is None else str(value)) for name, value in params.items()]


def find_run(client: MlflowClient, experiment_id: str, tag: str, value: str, complete: bool) -> Run | None:
    """The newest run with that tag that is complete, or not."""
    runs = client.search_runs(
        [experiment_id], filter_string=f"tags.`{tag}` = '{value}'", order_by=["attributes.start_time DESC"]
    )
    return next((run for run in runs if (run.data.tags.get(COMPLETE_TAG) == "true") == complete), None)


def write_record(client: MlflowClient, experiment_id: str, record: Record, name: str, tags: dict[str, str]) -> tuple[str, bool]:
    """Make MLflow hold `record` as one complete run.

    The run that the training opened is completed; where there is none (the training came from DVC's cache, or MLflow
    was away), one is made from the record alone; a record that MLflow holds already is left as it is.

    Returns:
        The run's id, and whether anything was written.
    """
    run = find_run(client, experiment_id, TRAINING_TAG, record.training_id, complete=False)
    if run is None:
        known = find_run(client, experiment_id, RECORD_TAG, record.id, complete=True)
        if known is not None:
            return known.info.run_id, False
        run = client.create_run(experiment_id, run_name=name)
    run_id, now = run.info.run_id, run.info.start_time
    logged = set(run.data.params)
    missing = {key: value for key, value in record.params.items() if key not in logged}
    log_curves(client, run_id, missing_points(client, run_id, record.curves), now)
    all_tags = {**tags, **record.tags, TRAINING_TAG: record.training_id, RECORD_TAG: record.id}
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, now, 0) for key, value in record.metrics.items()],
        params=param_entities(missing),
        tags=[RunTag(key, str(value)[:TAG_LENGTH]) for key, value in all_tags.items()],
    )
    client.log_inputs(run_id, datasets=[_dataset_input(entry) for entry in record.datasets])
    with tempfile.TemporaryDirectory() as folder:
        for path, content in record.artifacts.items():
            target = Path(folder) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        client.log_artifacts(run_id, folder)
    client.set_tag(run_id, COMPLETE_TAG, "true")
    client.set_terminated(run_id, status="FINISHED")
    return run_id, True


def log_model(run_id: str, folder: Path, name: str) -> None:
    """Log the model in `folder` with the run and register it as `name`.

    `mlflow.pyfunc.load_model("models:/NAME/VERSION").predict(sentences)` then gives the vectors of
    `SparseEncoder(folder)`.
    """
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        mlflow.pyfunc.log_model(
            name="model", python_model=str(Path(__file__).with_name("logged_model.py")), artifacts={"model": str(folder)},
            registered_model_name=name,
            pip_requirements=[f"{package}=={version(package)}" for package in ("mlflow", "sentence-transformers", "torch")],
        )


def missing_points(
    client: MlflowClient, run_id: str, points: list[tuple[int, dict[str, float]]]
) -> list[tuple[int, dict[str, float]]]:
    """The values of `points` that the run does not hold for their step: all, none, or what a dead server missed."""
    names = sorted({name for _, values in points for name in values})
    held = {name: {metric.step for metric in client.get_metric_history(run_id, name)} for name in names}
    missing = [(step, {name: value for name, value in values.items() if step not in held[name]}) for step, values in points]
    return [(step, values) for step, values in missing if values]


def writer_identity() -> str:
    """This machine (hashed) and process, so that others can tell later whether it still lives."""
    process = psutil.Process()
    return f"{_machine()}:{process.pid}:{process.create_time():.2f}"


def _machine() -> str:
    return hashlib.sha256(str(uuid.getnode()).encode()).hexdigest()[:12]


def _alive(identity: str) -> bool:
    machine, pid, created = identity.split(":")
    if machine != _machine():
        return True  # of another machine: not ours to judge
    try:
        process = psutil.Process(int(pid))
        return f"{process.create_time():.2f}" == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pending_folder(root: Path) -> Path:
    """Where a writer leaves how a training ended while MLflow could not be told."""
    return root / ".dvc" / "tmp" / "mlflow"


def settle(client: MlflowClient, experiment_id: str, root: Path) -> None:
    """Give every run that MLflow believes to be running, but whose writer is gone, the status it ended with.

    That is the one its writer left in `pending_folder`, or KILLED where it left none.
    """
    running = client.search_runs([experiment_id], filter_string="attributes.status = 'RUNNING'")
    for run in running:
        identity = run.data.tags.get(WRITER_TAG)
        if identity is None or _alive(identity):
            continue
        run_id, note = run.info.run_id, pending_folder(root) / f"{run.info.run_id}.json"
        end = json.loads(note.read_text()) if note.is_file() else {"status": "KILLED", "tags": {}}
        client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in end["tags"].items()])
        client.set_terminated(run_id, status=end["status"])
        note.unlink(missing_ok=True)


def _dataset_input(entry: dict[str, Any]) -> DatasetInput:
    source = CodeDatasetSource(tags={"source": entry["source"], "rows": str(entry["rows"])})
    dataset = MetaDataset(source, name=entry["name"], digest=entry["digest"])
    return DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", entry["name"])])
