"""The model of a recorded run in MLflow's registry: train, like it, register it."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from splade_sts import layout
from splade_sts.errors import UserError
from splade_sts.git import resolve
from splade_sts.runs.experiments import experiments, read_run
from splade_sts.runs.place import commit_tags, experiment_tags, git_tags, run_name
from splade_sts.runs.record import Record, collect, not_in_cache
from splade_sts.runs.source import RunFiles
from splade_sts.tracking.start import start_mlflow
from splade_sts.tracking.sync import reachable
from splade_sts.tracking.view import EXPERIMENT_TAG

MODEL = layout.model("finetuned")


@dataclass(frozen=True)
class Registered:
    """The registered model of a run.

    Attributes:
        run: the run's name.
        run_id: its id.
        version: of the registered model.
        new: whether it was registered now.
    """

    run: str
    run_id: str
    version: str
    new: bool


def register(name: str | None, experiment: str) -> Registered:
    """Log the fine-tuned model of a recorded run with its MLflow run, and register it.

    Args:
        name: a DVC experiment, or a Git revision with committed results; None for the workspace.
        experiment: name of the MLflow experiment, and of the registered model.

    Raises:
        UserError: there is no such run, MLflow does not hold it, its model is not at hand, or
            MLflow cannot be reached.
    """
    root = layout.project_root()
    record, tags, revision = recorded_run(root, name)
    start_mlflow()
    from splade_sts.tracking.store import Store

    with reachable():
        store = Store.open(root, experiment)
        run = store.find(record, run_name(tags), by_name=EXPERIMENT_TAG in tags)
        if run is None:
            raise UserError(
                f"{name or 'the workspace'} is not in MLflow; write it there first: "
                "python -m splade_sts sync"
            )
        run_id, known = run.info.run_id, store.registered(run.info.run_id, experiment)
        if known is None:
            with _model(root, revision) as folder:
                store.log_model(run_id, folder, experiment)
        version = known or str(store.registered(run_id, experiment))
    return Registered(run.info.run_name, run_id, version, known is None)


def recorded_run(root: Path, name: str | None) -> tuple[Record, dict[str, str], str | None]:
    """The record of a run, where it stands, and the revision that holds it: None for the
    workspace.

    Raises:
        UserError: there is no such run, or the pipeline has not run to its end there.
    """
    if name is None:
        try:
            return collect(RunFiles.workspace(root), cached=()), git_tags(root), None
        except FileNotFoundError as error:
            raise UserError(
                f"the pipeline has not run to its end here ({error.filename} is missing)"
            ) from None
    record, known = read_run(root, name), experiments(root)
    if name in known:
        return record, experiment_tags(name, known[name].baseline), known[name].revision
    revision = str(resolve(root, name))
    return record, commit_tags(revision), revision


@contextmanager
def _model(root: Path, revision: str | None) -> Iterator[Path]:
    """A folder with the fine-tuned model of a revision, from DVC's cache or its default remote; for
    the workspace its own, which has to be the one that was recorded.
    """
    from dvc.exceptions import DvcException

    if revision is None:
        if f"{MODEL}/" in _uncommitted(root):
            raise UserError(f"{MODEL} is not the model of {layout.LOCK}; dvc checkout {MODEL}")
        yield root / MODEL
        return
    files = RunFiles.revision(root, revision)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / MODEL.name
        try:
            files.system.get(str(MODEL), str(target), recursive=True)
        except files.absent:
            raise UserError(not_in_cache([f"{MODEL} of {files.place}"])) from None
        except DvcException as error:
            raise UserError(f"{MODEL} at {files.place}: DVC cannot read it: {error}") from error
        yield target


def _uncommitted(root: Path) -> set[str]:
    """What differs from dvc.lock, as `dvc data status` names it: folders end in `/`."""
    command = [sys.executable, "-m", "dvc", "data", "status", "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"dvc data status: {done.stderr.strip()}")
    changes: dict[str, list[str]] = json.loads(done.stdout).get("uncommitted", {})
    return {path for paths in changes.values() for path in paths}
