"""Runs by name: DVC's experiments, other Git revisions, and where the run of a working directory stands."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from splade_sts import layout, params
from splade_sts.errors import UserError
from splade_sts.git import git, resolve
from splade_sts.runs.public import public_params
from splade_sts.runs.record import Record, collect
from splade_sts.runs.source import RunFiles


@dataclass(frozen=True)
class Experiment:
    """A DVC experiment: the commit that holds it, and the one that it started from."""

    revision: str
    baseline: str


def experiments(root: Path) -> dict[str, Experiment]:
    """DVC's experiments by name."""
    found = {}
    # private: dvc (experiments are the Git refs refs/exps/<two digits>/<other digits of the baseline>/<name>)
    for line in git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines():
        revision, ref = line.split(" ")
        parts = ref.split("/")
        if len(parts) == 5 and len(parts[2]) == 2:
            found[parts[4]] = Experiment(revision, parts[2] + parts[3])
    return found


def read_run(root: Path, name: str, cached: Sequence[Path] = ()) -> Record:
    """The record of a DVC experiment, or of another Git revision.

    Args:
        root: the project's root.
        name: the experiment or revision.
        cached: what to read of DVC's cache, see `splade_sts.runs.record.collect`.

    Raises:
        UserError: there is no such experiment or revision, the pipeline has not run to its end there, or its parameters
            do not fit the schema.
    """
    known = experiments(root)
    revision = resolve(root, known[name].revision if name in known else name)
    if revision is None:
        raise UserError(f"no DVC experiment or Git revision {name}; experiments there are: {', '.join(known) or 'none'}")
    try:
        return collect(RunFiles.revision(root, revision), cached)
    except FileNotFoundError as error:
        raise UserError(f"{name}: the pipeline has not run to its end there ({error.filename} is missing)") from None
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def read_runs(root: Path, names: Sequence[str], cached: Sequence[Path] = ()) -> dict[str, Record]:
    """`read_run` of each name.

    Raises:
        UserError: as `read_run`, or a name is there twice.
    """
    if len(set(names)) < len(names):
        raise UserError(f"a run is named twice: {', '.join(names)}")
    return {name: read_run(root, name, cached) for name in names}


def git_tags(root: Path) -> dict[str, str]:
    """Where the run of a working directory stands in Git and DVC: commit, dirty state, experiment and its baseline."""
    name, baseline = os.environ.get("DVC_EXP_NAME"), os.environ.get("DVC_EXP_BASELINE_REV")
    changed = git(root, "status", "--porcelain", "--", ".", ":!metrics", f":!{layout.LOCK}", f":!{layout.PLOTS}")
    tags = {"git.commit": baseline or git(root, "rev-parse", "HEAD"), "git.dirty": str(bool(changed)).lower()}
    if name:
        tags |= {"dvc.experiment": name, "dvc.baseline": baseline or ""}
    return tags


def experiment_tags(name: str, experiment: Experiment) -> dict[str, str]:
    """`git_tags` of a DVC experiment."""
    baseline = experiment.baseline
    return {"git.commit": baseline, "git.dirty": "false", "dvc.experiment": name, "dvc.baseline": baseline}


def run_name(tags: dict[str, str]) -> str:
    """The DVC experiment's name where there is one, else the commit."""
    return tags.get("dvc.experiment") or f"repro-{tags['git.commit'][:7]}"


def changed_params(root: Path, current: dict[str, Any], commit: str) -> dict[str, tuple[Any, Any]] | None:
    """The parameters that differ from those of a commit.

    Args:
        root: the project's root.
        current: parameters as in `Record.params`.
        commit: what they are compared with.

    Returns:
        `{name: (current, committed)}`; None where the commit has no parameters that this version can read.
    """
    try:
        content = YAML(typ="safe").load(git(root, "show", f"{commit}:./{layout.PARAMS}"))
        committed = public_params(params.parse(content))
    except UserError:
        return None
    return {name: (value, committed.get(name)) for name, value in current.items() if committed.get(name) != value}
