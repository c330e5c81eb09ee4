"""Making MLflow complete from what DVC and Git hold.

What a run is: its results and its name, see `splade_sts.tracking.store.Store.write`. The stage
`track` runs where something of the pipeline ran. It writes a run under the name of the DVC
experiment, or of the commit in the workspace: `dvc repro`, `dvc exp run`, `--temp` and the queue
alike. `sync` writes what is missing of them: every DVC experiment under its name, also one for
which no stage had to run. A commit and the workspace are no runs but hold the results of one: after
`dvc exp apply`, or a commit of what `dvc repro` left, `sync` finds the run whose results they are
and writes nothing.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from splade_sts import layout
from splade_sts.errors import UserError
from splade_sts.git import commit_time, git
from splade_sts.report.named import name_run
from splade_sts.report.verdict import verdict
from splade_sts.runs.experiments import experiments
from splade_sts.runs.place import changed_params, commit_tags, experiment_tags, git_tags, run_name
from splade_sts.runs.record import Record, collect
from splade_sts.runs.source import RunFiles
from splade_sts.tracking.start import start_mlflow
from splade_sts.tracking.view import EXPERIMENT_TAG, REPORT, changes, mlflow_tags, note, sweep_tag


@dataclass(frozen=True)
class Place:
    """Where a record may be: a commit, or the working directory where `revision` is None; and the
    run's tags.
    """

    name: str
    tags: dict[str, str]
    revision: str | None


@dataclass(frozen=True)
class Synced:
    """What became of the record of a place.

    Attributes:
        name: the place.
        run_id: of the MLflow run; None where the record cannot be read.
        written: whether anything was written.
        missing: what the run lacks.
        problem: why the record cannot be read.
    """

    name: str
    run_id: str | None
    written: bool
    missing: tuple[str, ...] = ()
    problem: str | None = None


def shown_tags(root: Path, record: Record, tags: dict[str, str]) -> dict[str, str]:
    """`tags` and what MLflow itself shows of a run."""
    changed = changed_params(root, record.params, tags.get("git.commit"))
    said = verdict(record.comparison) if record.comparison else None
    report = str(REPORT) if str(REPORT) in record.artifacts else None
    return {
        **mlflow_tags(tags, note(said, changed, report)),
        **sweep_tag(tags, record.params),
        **tags,
    }


def with_named_report(root: Path, record: Record, tags: dict[str, str]) -> Record:
    """`record` whose report says at its top of which run it is: name, commit, what differs from the
    committed parameters.
    """
    report = record.artifacts.get(str(REPORT))
    if report is None:
        return record
    facts = {"run": run_name(tags), "commit": tags.get("git.commit", "not known")}
    changed = changed_params(root, record.params, tags.get("git.commit"))
    if changed is not None:
        facts["parameters"] = changes(changed)
    named = {str(REPORT): name_run(report, facts)}
    return replace(record, artifacts={**record.artifacts, **named})


def write(record: Record, experiment: str, model: Path | None = None) -> tuple[str, bool]:
    """Write the record of the pipeline run in the working directory, and the model in the folder
    `model`.

    Args:
        record: the record.
        experiment: name of the MLflow experiment.
        model: a folder with a model to register, see `splade_sts.tracking.store.Store.log_model`;
            None for none.

    Returns:
        The MLflow run's id, and whether anything was written.
    """
    start_mlflow()
    from splade_sts.tracking.store import Store

    root = layout.project_root()
    store = Store.open(root, experiment)
    store.settle()
    tags = git_tags(root)
    named = with_named_report(root, record, tags)
    done = store.write(named, run_name(tags), shown_tags(root, record, tags))
    if model is not None and store.registered(done.run_id, experiment) is None:
        store.log_model(done.run_id, model, experiment)
    return done.run_id, done.new


def sync(
    names: list[str], branch: str | None, experiment: str, database: Path | None = None
) -> list[Synced]:
    """Write the records of the workspace, of DVC experiments and of the commits of a branch that
    MLflow lacks, and before them the runs of a database, see `splade_sts.tracking.copied`.

    Args:
        names: DVC experiments; empty for all of them.
        branch: a branch whose every commit is looked at; None for the current one.
        experiment: name of the MLflow experiment.
        database: SQLite database of MLflow; None for none.

    Returns:
        One for every run of the database, and for every place with a record.

    Raises:
        UserError: an experiment, a branch or the database does not exist, or MLflow cannot be
            reached.
    """
    root = layout.project_root()
    wanted = places(root, names, branch)
    start_mlflow()
    from splade_sts.tracking.store import Store

    done = []
    with reachable():
        store = Store.open(root, experiment)
        store.settle()
        # first: such a run has its times, and what DVC and Git do not know
        if database is not None:
            from splade_sts.tracking.copied import copy_runs

            for run in copy_runs(database, store, experiment):
                problem = "it is still running" if run.run_id is None else None
                done.append(Synced(run.name, run.run_id, run.new, problem=problem))
        for place in wanted:
            try:
                record = collect(
                    RunFiles.revision(root, place.revision)
                    if place.revision
                    else RunFiles.workspace(root)
                )
            except FileNotFoundError:  # the pipeline had not run to its end there
                continue
            except UserError as error:  # a commit of another version of this project, say
                done.append(Synced(place.name, None, False, problem=str(error)))
                continue
            tags = shown_tags(root, record, place.tags)
            written = store.write(
                with_named_report(root, record, place.tags),
                run_name(place.tags),
                tags,
                by_name=EXPERIMENT_TAG in place.tags,
                recorded_at=_recorded_at(root, place.revision),
            )
            done.append(Synced(place.name, written.run_id, written.new, written.missing))
    return done


@contextmanager
def reachable() -> Iterator[None]:
    """Turns what MLflow raises into one message; call `start_mlflow` first.

    Raises:
        UserError: MLflow cannot be reached, or refuses what it is asked.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise UserError(
            f"MLflow: {error}. Check MLFLOW_TRACKING_URI, or unset it for the database of this "
            "project"
        ) from error


def _recorded_at(root: Path, revision: str | None) -> int:
    """When a revision was committed, in milliseconds since 1970; now for the workspace."""
    return commit_time(root, revision) if revision else int(time.time() * 1000)


def places(root: Path, names: list[str], branch: str | None) -> list[Place]:
    """Where records may be: commits of a branch, DVC's experiments, and, unless either is named,
    the workspace.

    Raises:
        UserError: there is no experiment of that name, or no such branch.
    """
    workspace = Place("workspace", git_tags(root), None)
    if "git.commit" not in workspace.tags and not names and branch is None:
        return [workspace]  # Git knows no run, and a warning has said why
    known = experiments(root)
    if unknown := [name for name in names if name not in known]:
        raise UserError(
            f"no DVC experiment {', '.join(unknown)}; there are {', '.join(known) or 'none'}"
        )
    found = []
    if not names:
        for commit in reversed(
            git(
                root, "rev-list", "--end-of-options", branch or "HEAD", "--", str(layout.LOCK)
            ).splitlines()
        ):
            found.append(Place(f"repro-{commit[:7]}", commit_tags(commit), commit))
    for name in names or known:
        found.append(Place(name, experiment_tags(name, known[name].baseline), known[name].revision))
    if not names and branch is None:
        found.append(workspace)
    return found
