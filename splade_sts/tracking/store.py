"""Writing records to MLflow: SQLite at the project's root, or the server that MLFLOW_TRACKING_URI
names.

This module imports MLflow: call `splade_sts.tracking.start.start_mlflow` before it is imported.
"""

import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from splade_sts import layout
from splade_sts.errors import UserError
from splade_sts.locks import locked
from splade_sts.runs.record import Dataset, Record
from splade_sts.tracking import view
from splade_sts.tracking.owner import alive
from splade_sts.tracking.view import (
    COMPLETE_TAG,
    EXPERIMENT_TAG,
    MISSING_TAG,
    RECORD_TAG,
    SEEN_TAG,
    TRAINING_TAG,
    WRITER_TAG,
)
from splade_sts.training.curves import Point

BATCH = 1000  # most metrics that MLflow takes in one request
TAG_LENGTH = 5000
BUSY = "another process makes the MLflow database (process {pid}); waiting for it"
PATIENCE = 120.0  # seconds: making the database takes three
# Every database of MLflow has one of these tables, a half-made one too.
OF_MLFLOW = {"alembic_version", "experiments"}
CHAMPION = "champion"
# What MLflow answers where a registered model has no such alias, or is not there.
NO_ALIAS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
LOADER = Path(__file__).with_name("logged_model.py")


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or the SQLite database at the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or database_uri(root / layout.MLFLOW_DATABASE)


def database_uri(path: Path) -> str:
    """An SQLite database as MLflow wants it named."""
    # SQLAlchemy reads these two as its own
    escaped = str(path.absolute()).replace("%", "%25").replace("?", "%3F")
    # without the driver's name MLflow would make an empty folder named as it stands here
    return f"sqlite+pysqlite:///{escaped}"


def param_entities(params: dict[str, Any]) -> list[Param]:
    """Parameters as MLflow takes them."""
    return [Param(name, "null" if value is None else str(value)) for name, value in params.items()]


def tag_entities(tags: dict[str, str]) -> list[RunTag]:
    """Tags as MLflow takes them."""
    return [RunTag(name, str(value)[:TAG_LENGTH]) for name, value in tags.items()]


@dataclass(frozen=True)
class Written:
    """What became of a record.

    Attributes:
        run_id: of its run.
        new: whether anything was written.
        missing: what the run lacks, see `splade_sts.runs.record.Record`.
    """

    run_id: str
    new: bool
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Store:
    """An experiment in the MLflow store of the project at `root`."""

    client: MlflowClient
    experiment_id: str
    root: Path

    @classmethod
    def open(cls, root: Path, experiment: str) -> "Store":
        """Connect to the store, and make the experiment where it is missing.

        Raises:
            MlflowException: the store cannot be reached or is no MLflow store.
            UserError: the database is broken or not MLflow's, or is being made by another process
                for too long.
        """
        uri = tracking_uri(root)
        mlflow.set_tracking_uri(uri)
        if not uri.startswith("sqlite"):
            client = MlflowClient(uri)
            return cls(client, _experiment(client, experiment, None), root)
        # processes that make one new database at the same time would break each other
        with locked(root / f"{layout.MLFLOW_DATABASE}.lock", BUSY, PATIENCE), _database(uri, root):
            client = MlflowClient(uri)
            return cls(
                client,
                _experiment(client, experiment, (root / layout.MLFLOW_ARTIFACTS).as_uri()),
                root,
            )

    def find(self, record: Record, name: str, by_name: bool) -> Run | None:
        """The newest complete run that holds `record`, of that name where there is one.

        Args:
            record: the record.
            name: of the run.
            by_name: only a run of that name will do.
        """
        runs = self._complete(record)
        named = next((run for run in runs if run.info.run_name == name), None)
        return named or (None if by_name or not runs else runs[0])

    def write(
        self,
        record: Record,
        name: str,
        tags: dict[str, str],
        by_name: bool = True,
        recorded_at: int | None = None,
    ) -> Written:
        """Make MLflow hold `record` as one complete run.

        The results, `Record.id`, and the name identify a run. A pipeline run is written unless a
        run of its name holds its results already; where another name does, its note says so. What
        only holds results, a commit or the workspace, needs no run beside the one whose results
        they are: pass `by_name=False`.

        The run that the training opened is completed, if it was of the same DVC experiment or, as
        the record, of none; where there is no such run (the training came from DVC's cache, or
        MLflow was away), one is made from the record alone. A run that is complete is left as it
        is, unless files were missing then that are there now.

        Args:
            record: the record.
            name: of the run.
            tags: of the run, besides those of the record.
            by_name: a complete run of another name is not enough.
            recorded_at: when the record was, in milliseconds since the epoch, and its pipeline had
                ended before; None where it ends now.

        A run lasts from the start of its training to the end of the pipeline. Where that is not
        known it ends with its training, and one that is made from the record alone starts and ends
        at `recorded_at`.
        """
        at = recorded_at or int(time.time() * 1000)
        known = self.find(record, name, by_name)
        live = self._live(record, tags) if by_name or known is None else None
        if known is not None and live is None:
            lacking = MISSING_TAG in known.data.tags
            if record.missing or not lacking:
                return Written(known.info.run_id, False, record.missing if lacking else ())
        run = live or known or self.client.create_run(self.experiment_id, at, run_name=name)
        run_id, now = run.info.run_id, run.info.start_time
        shown = tags
        if run is live:
            self.client.update_run(run_id, name=name)
        elif run is known:  # it stays the run that it was, but there may be more to say of it
            name = run.info.run_name
            shown = {tag: value for tag, value in tags.items() if tag == view.NOTE_TAG}
        self.log_points(run_id, self._not_held(run_id, record.points), now)
        self.client.log_batch(
            run_id,
            metrics=[
                Metric(view.metric_name(key), value, now, 0)
                for key, value in record.numbers.items()
            ],
            params=param_entities(
                {key: value for key, value in record.params.items() if key not in run.data.params}
            ),
            tags=tag_entities(
                {
                    **shown,
                    **self._same_results(record, name, tags),
                    **record.tags,
                    TRAINING_TAG: record.training_id,
                    RECORD_TAG: record.id,
                    **_missing_tag(record),
                }
            ),
        )
        self.client.log_inputs(
            run_id, datasets=[_dataset_input(dataset) for dataset in record.datasets]
        )
        self._log_artifacts(run_id, record.artifacts)
        if not record.missing and MISSING_TAG in run.data.tags:
            self.client.delete_tag(run_id, MISSING_TAG)
        self.client.set_tag(run_id, COMPLETE_TAG, "true")
        ended = at if run is live and recorded_at is None else run.info.end_time or at
        self.client.set_terminated(run_id, "FINISHED", ended)
        return Written(run_id, True, record.missing)

    def _runs(self, tag: str, value: str) -> list[Run]:
        """The runs with that tag, newest first."""
        return list(
            self.client.search_runs(
                [self.experiment_id],
                filter_string=f"tags.`{tag}` = '{value}'",
                order_by=["attributes.start_time DESC"],
            )
        )

    def _complete(self, record: Record) -> list[Run]:
        """The complete runs that hold `record`, newest first."""
        return [run for run in self._runs(RECORD_TAG, record.id) if _is_complete(run)]

    def _live(self, record: Record, tags: dict[str, str]) -> Run | None:
        """The run that the training of `record` opened and nothing has completed yet."""
        experiment = tags.get(EXPERIMENT_TAG)
        for run in self._runs(TRAINING_TAG, record.training_id):
            if not _is_complete(run) and run.data.tags.get(EXPERIMENT_TAG) == experiment:
                return run
        return None

    def _same_results(self, record: Record, name: str, tags: dict[str, str]) -> dict[str, str]:
        """The note of `tags`, and which run of another name had these results first."""
        others = [run.info.run_name for run in self._complete(record) if run.info.run_name != name]
        if not others:
            return {}
        return {view.NOTE_TAG: view.same_results(tags.get(view.NOTE_TAG, ""), others[-1])}

    def log_points(
        self, run_id: str, points: Sequence[tuple[int, dict[str, float]]], timestamp: int
    ) -> None:
        """Log points `(step, {name: value})` in as few requests as MLflow allows."""
        metrics = [
            Metric(name, value, timestamp, step)
            for step, values in points
            for name, value in values.items()
        ]
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics=metrics[start : start + BATCH])

    def _not_held(self, run_id: str, points: Sequence[Point]) -> list[tuple[int, dict[str, float]]]:
        """The values of `points` that the run does not hold for their step: all, none, or what a
        dead server missed.
        """
        named = [(point.step, view.point_values(point)) for point in points]
        names = sorted({name for _, values in named for name in values})
        held = {
            name: {metric.step for metric in self.client.get_metric_history(run_id, name)}
            for name in names
        }
        missing = [
            (step, {name: value for name, value in values.items() if step not in held[name]})
            for step, values in named
        ]
        return [(step, values) for step, values in missing if values]

    def _log_artifacts(self, run_id: str, artifacts: dict[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for path, content in artifacts.items():
                target = Path(folder) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            self.client.log_artifacts(run_id, folder)

    def registered(self, run_id: str, name: str) -> str | None:
        """The version under which the model of a run is registered as `name`."""
        versions = self.client.search_model_versions(f"run_id = '{run_id}'")
        return next((str(one.version) for one in versions if one.name == name), None)

    def champion(self, name: str) -> ModelVersion | None:
        """The version of the registered model `name` that has the alias `CHAMPION`, if one has."""
        try:
            return self.client.get_model_version_by_alias(name, CHAMPION)
        except MlflowException as error:
            if error.error_code in NO_ALIAS:
                return None
            raise

    def log_model(self, run_id: str, folder: Path, name: str) -> None:
        """Log the model in `folder` with the run and register it as `name`; the run's end stays
        what it was.

        `mlflow.pyfunc.load_model("models:/NAME/VERSION").predict(sentences)` then gives the vectors
        of `SparseEncoder(folder)`.
        """
        packages = ("mlflow", "sentence-transformers", "torch")
        before = self.client.get_run(run_id).info
        try:
            with mlflow.start_run(run_id=run_id, log_system_metrics=False):
                mlflow.pyfunc.log_model(
                    name="model",
                    python_model=str(LOADER),
                    artifacts={"model": str(folder)},
                    registered_model_name=name,
                    pip_requirements=[f"{package}=={version(package)}" for package in packages],
                )
        finally:
            if before.end_time is not None:
                self.client.set_terminated(run_id, before.status, before.end_time)

    def end_note(self, run_id: str) -> Path:
        """Where a writer leaves how a training ended while MLflow could not be told."""
        return self.root / layout.MLFLOW_NOTES / f"{run_id}.json"

    def settle(self) -> None:
        """Give every run that MLflow believes to be running, but whose writer is gone, the status
        it ended with.

        That is the one its writer left in `end_note`, or KILLED where it left none. A run that was
        taken for dead and goes on after all ends as it should: its record completes it.
        """
        for run in self.client.search_runs(
            [self.experiment_id], filter_string="attributes.status = 'RUNNING'"
        ):
            writer, seen = run.data.tags.get(WRITER_TAG), run.data.tags.get(SEEN_TAG)
            if writer is None or alive(writer, float(seen) if seen else None, time.time()):
                continue
            run_id, left = run.info.run_id, self.end_note(run.info.run_id)
            end: dict[str, Any] = {"status": "KILLED", "tags": {}}
            if left.is_file():
                end = json.loads(left.read_text(encoding="utf-8"))
            self.client.log_batch(run_id, tags=tag_entities(end["tags"]))
            self.client.set_terminated(run_id, status=end["status"])
            left.unlink(missing_ok=True)


def _missing_tag(record: Record) -> dict[str, str]:
    return {MISSING_TAG: ", ".join(record.missing)} if record.missing else {}


@contextmanager
def _database(uri: str, root: Path) -> Iterator[None]:
    """Say what to do about a database that MLflow cannot use.

    MLflow itself tries for 100 seconds to open what is none, and writes its tables beside others.

    Raises:
        UserError: it is no database, or not MLflow's, or of another version.
    """
    try:
        path = Path(make_url(uri).database or ":memory:")
    except ArgumentError as error:
        raise UserError("MLFLOW_TRACKING_URI is no address; expected sqlite:///FILE") from error

    def unusable(what: str, better: str = "") -> UserError:
        if path == root / layout.MLFLOW_DATABASE:
            way = "move it away, then run python -m splade_sts sync, which writes it anew"
            return UserError(f"{path} {what}; {better}{way} from DVC and Git")
        return UserError(
            f"{path} {what}; {better}let MLFLOW_TRACKING_URI name another one, or unset it"
        )

    if path.is_dir():
        raise unusable("is a folder")
    if path.is_file():
        try:
            tables = _tables(path)
        except sqlite3.OperationalError as error:  # no permission, say
            raise UserError(
                f"{path} cannot be read: {error}; make it accessible, or wait for the process "
                "that holds it, and run again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise unusable("is no database any more") from error
        if tables and not tables & OF_MLFLOW:
            raise unusable(
                f"is a database of something else (with {', '.join(sorted(tables)[:3])})"
            )
    try:
        yield
    except (SQLAlchemyError, MlflowException) as error:
        if not path.is_file() or "database is locked" in str(error):
            raise
        if not is_database(path):
            raise unusable("is no database any more") from error
        if "database schema" in str(error):
            upgrade = f"upgrade it (python -m mlflow db upgrade {uri}), or "
            raise unusable("was made by another version of MLflow", upgrade) from error
        if isinstance(error, SQLAlchemyError) or isinstance(error.__cause__, SQLAlchemyError):
            said = str(error).splitlines()[0]
            raise unusable(f"has not the tables of this version of MLflow ({said})") from error
        raise


def _tables(path: Path) -> set[str]:
    """The names of a database's tables."""
    with closing(_read_only(path)) as database:
        found = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {str(name) for (name,) in found}


def is_database(path: Path) -> bool:
    """Whether SQLite can read a file in full."""
    try:
        with closing(_read_only(path)) as database:
            return bool(database.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _is_complete(run: Run) -> bool:
    return bool(run.data.tags.get(COMPLETE_TAG) == "true")


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    """The id of the experiment `name`, made where it is missing, with the views of its table of
    runs.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(
                client.create_experiment(
                    name, artifact_location=artifacts, tags=view.experiment_tags()
                )
            )
        except MlflowException:  # somebody else made it since
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    for tag, value in view.experiment_tags().items():
        if tag not in found.tags:
            client.set_experiment_tag(found.experiment_id, tag, value)
    return str(found.experiment_id)


def _dataset_input(dataset: Dataset) -> DatasetInput:
    source = CodeDatasetSource(tags={"source": dataset.source, "rows": str(dataset.rows)})
    entity = DatasetEntity(
        name=dataset.name,
        digest=dataset.digest,
        source_type="code",
        source=source.to_json(),
        profile=json.dumps({"num_rows": dataset.rows}),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", dataset.name)])
