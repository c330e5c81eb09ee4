"""Making MLflow complete from what DVC and Git hold."""

import subprocess
from pathlib import Path

from splade_sts.errors import UserError
from splade_sts.runs.record import Record, collect, git_tags, project_root, revision_reader, run_name, workspace_reader


def write(record: Record, tags: dict[str, str], experiment: str, model: Path | None = None) -> tuple[str, bool]:
    """Write one record, and the model in the folder `model`; see `splade_sts.tracking.store.write_record`."""
    from splade_sts.tracking import store

    root = project_root()
    client, experiment_id = store.connect(root, experiment)
    store.settle(client, experiment_id, root)
    run_id, written = store.write_record(client, experiment_id, record, run_name(tags), tags)
    if model is not None and written:
        store.log_model(run_id, model, experiment)
    return run_id, written


def _git(root: Path, *arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.split("\n")[:-1]


def experiments(root: Path) -> dict[str, tuple[str, str]]:
    """DVC's experiments: name to (revision, baseline). They are Git refs `refs/exps/<baseline>/<name>`."""
    found = {}
    for line in _git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps"):
        revision, ref = line.split(" ")
        parts = ref.split("/")
        if len(parts) == 5 and len(parts[2]) == 2:
            found[parts[4]] = (revision, parts[2] + parts[3])
    return found


def sync(names: list[str], branch: str | None, experiment: str) -> list[tuple[str, str, bool]]:
    """Write the records of the workspace, of DVC experiments and of the commits of a branch that MLflow lacks.

    Args:
        names: DVC experiments; empty for all of them.
        branch: a branch whose every commit is looked at; None for the current one.
        experiment: name of the MLflow experiment.

    Returns:
        For every place with a record: its name, the MLflow run's id, and whether anything was written.

    Raises:
        UserError: an experiment or a branch does not exist.
    """
    from splade_sts.tracking import store

    root = project_root()
    known = experiments(root)
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"no DVC experiment {', '.join(unknown)}; there are {', '.join(known) or 'none'}")
    client, experiment_id = store.connect(root, experiment)
    store.settle(client, experiment_id, root)
    places: list[tuple[str, dict[str, str], str | None]] = []
    if not names:
        for commit in reversed(_git(root, "rev-list", branch or "HEAD", "--", "dvc.lock")):
            places.append((f"repro-{commit[:7]}", {"git.commit": commit, "git.dirty": "false"}, commit))
    for name in names or known:
        revision, baseline = known[name]
        tags = {"git.commit": baseline, "git.dirty": "false", "dvc.experiment": name, "dvc.baseline": baseline}
        places.append((name, tags, revision))
    if not names and branch is None:
        places.append(("workspace", git_tags(root), None))
    done = []
    for name, tags, revision in places:
        try:
            record = collect(revision_reader(root, revision) if revision else workspace_reader)
        except FileNotFoundError:  # the pipeline had not run to its end there
            continue
        run_id, written = store.write_record(client, experiment_id, record, run_name(tags), tags)
        done.append((name, run_id, written))
    return done
