"""Runs of a SQLite database, copied to another store: those that neither Git nor DVC holds, such as
trainings that failed and experiments that were removed.

This module imports MLflow: call `splade_sts.tracking.start.start_mlflow` before it is imported.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from splade_sts.errors import UserError
from splade_sts.tracking.store import (
    BATCH,
    Store,
    database_uri,
    is_database,
    param_entities,
    tag_entities,
    tracking_uri,
)
from splade_sts.tracking.view import COMPLETE_TAG, COPIED_TAG, RECORD_TAG, SEEN_TAG, WRITER_TAG

RUNNING = "RUNNING"
# Tags that a copy lacks at first: that it is complete, and always: who writes the run, which is a
# process that writes to the database.
LEFT_OUT = (WRITER_TAG, SEEN_TAG, COMPLETE_TAG)


@dataclass(frozen=True)
class Copied:
    """A run of the database.

    Attributes:
        name: its name.
        run_id: of the run in the other store; None where it is still running.
        new: whether it was copied now; else the other store held it.
    """

    name: str
    run_id: str | None
    new: bool


def copy_runs(database: Path, store: Store, experiment: str) -> list[Copied]:
    """Copy the runs of an experiment of `database` that `store` lacks, the oldest first.

    A copy has parameters, metrics with their history, tags, data sets, artifacts, status and times.

    A run is there already if it was copied before, or a run of its name holds the same results. A
    copy that was interrupted is made anew. Registered models are not copied.

    Args:
        database: the file.
        store: where the runs go.
        experiment: its name, in both.

    Raises:
        MlflowException: a store cannot be used.
        UserError: `database` is no database, is that of `store`, or has no such experiment.
    """
    if not database.is_file() or not is_database(database):
        raise UserError(f"{database} is no SQLite database; name MLflow's, such as mlflow.db")
    uri = database_uri(database.resolve())
    if uri == tracking_uri(store.root.resolve()):
        raise UserError(
            f"{database} is where the runs would go; name the server: "
            "export MLFLOW_TRACKING_URI=http://…"
        )
    source = MlflowClient(uri)
    found = source.get_experiment_by_name(experiment)
    if found is None:
        raise UserError(f"{database} has no MLflow experiment {experiment} (track.experiment)")
    copies, held = dict[str, Run](), dict[tuple[str, str], str]()
    for run in _runs(store.client, store.experiment_id):
        if origin := run.data.tags.get(COPIED_TAG):
            copies[origin] = run
        if run.data.tags.get(COMPLETE_TAG) == "true" and (record := run.data.tags.get(RECORD_TAG)):
            held[record, run.info.run_name] = run.info.run_id
    done = []
    for run in reversed([*_runs(source, found.experiment_id)]):
        name, run_id = run.info.run_name, run.info.run_id
        same = held.get((run.data.tags.get(RECORD_TAG, ""), name))
        copy = copies.get(run_id)
        if copy is not None and copy.info.status == RUNNING:
            store.client.delete_run(copy.info.run_id)  # it was interrupted
            copy = same = None
        known = copy.info.run_id if copy else same
        if known is None and run.info.status != RUNNING:
            done.append(Copied(name, _copy(source, run, store), True))
        else:
            done.append(Copied(name, known, False))
    return done


def _runs(client: MlflowClient, experiment_id: str) -> Iterator[Run]:
    """The runs of an experiment, newest first."""
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], order_by=["attributes.start_time DESC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _copy(source: MlflowClient, run: Run, store: Store) -> str:
    """Copy a run. That it is complete, and how it ended, is written last: a copy that is RUNNING is
    not whole.
    """
    client, origin = store.client, run.info.run_id
    tags = {tag: value for tag, value in run.data.tags.items() if tag not in LEFT_OUT}
    made = client.create_run(
        store.experiment_id,
        run.info.start_time,
        tags={COPIED_TAG: origin},
        run_name=run.info.run_name,
    ).info.run_id
    client.log_batch(made, params=param_entities(run.data.params), tags=tag_entities(tags))
    points = [
        point for name in run.data.metrics for point in source.get_metric_history(origin, name)
    ]
    for start in range(0, len(points), BATCH):
        client.log_batch(made, metrics=points[start : start + BATCH])
    if run.inputs:
        client.log_inputs(made, datasets=run.inputs.dataset_inputs)
    with tempfile.TemporaryDirectory() as folder:
        if source.list_artifacts(origin):
            source.download_artifacts(origin, "", folder)
            client.log_artifacts(made, folder)
    if COMPLETE_TAG in run.data.tags:
        client.set_tag(made, COMPLETE_TAG, run.data.tags[COMPLETE_TAG])
    client.set_terminated(made, run.info.status, run.info.end_time)
    return str(made)
