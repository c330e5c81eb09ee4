"""Where a run stands in Git and DVC, and what sets its parameters apart from the committed ones."""

import os
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from splade_sts import layout, params
from splade_sts.errors import UserError
from splade_sts.git import git, resolve
from splade_sts.runs.public import public_params


def git_tags(root: Path) -> dict[str, str]:
    """Where the run of a working directory stands in Git and DVC: commit, dirty state, experiment
    and its baseline.

    What Git cannot say is missing, and one warning says why: a run does not need it.
    """
    name, baseline = os.environ.get("DVC_EXP_NAME"), os.environ.get("DVC_EXP_BASELINE_REV")
    tags = {"dvc.experiment": name, "dvc.baseline": baseline or ""} if name else {}
    if baseline:
        tags["git.commit"] = baseline
    try:
        results = ("metrics", layout.LOCK, layout.PLOTS)
        changed = git(root, "status", "--porcelain", "--", ".", *(f":!{path}" for path in results))
        commit = baseline or resolve(root, "HEAD")
        if commit is None:
            raise UserError("there is no commit yet")
    except UserError as error:
        said = " ".join(str(error).split())
        print(
            f"warning: Git cannot say which commit this run is of ({said}); it goes on without",
            file=sys.stderr,
            flush=True,
        )
        return tags
    return {**tags, "git.commit": commit, "git.dirty": str(bool(changed)).lower()}


def commit_tags(commit: str) -> dict[str, str]:
    """`git_tags` of a commit with results."""
    return {"git.commit": commit, "git.dirty": "false"}


def experiment_tags(name: str, baseline: str) -> dict[str, str]:
    """`git_tags` of a DVC experiment that started from the commit `baseline`."""
    return {**commit_tags(baseline), "dvc.experiment": name, "dvc.baseline": baseline}


def run_name(tags: dict[str, str]) -> str:
    """The DVC experiment's name where there is one, else the commit where it is known."""
    commit = tags.get("git.commit")
    return tags.get("dvc.experiment") or (f"repro-{commit[:7]}" if commit else "repro")


def changed_params(
    root: Path, current: dict[str, Any], commit: str | None
) -> dict[str, tuple[Any, Any]] | None:
    """The parameters that differ from those of a commit.

    Args:
        root: the project's root.
        current: parameters as in `Record.params`.
        commit: what they are compared with; None where it is not known.

    Returns:
        `{name: (current, committed)}`; None where no commit is known, or the one has no parameters
        that this version can read.
    """
    if commit is None:
        return None
    try:
        content = YAML(typ="safe").load(git(root, "show", f"{commit}:./{layout.PARAMS}"))
        committed = public_params(params.parse(params.completed(content)))
    except UserError:
        return None
    return {
        name: (value, committed.get(name))
        for name, value in current.items()
        if committed.get(name) != value
    }
