"""Where a run stands in Git and DVC, and what sets its parameters apart from the committed ones."""

import os
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from splade_sts import layout, params
from splade_sts.errors import UserError
from splade_sts.git import git
from splade_sts.runs.public import public_params


def git_tags(root: Path) -> dict[str, str]:
    """Where the run of a working directory stands in Git and DVC: commit, dirty state, experiment
    and its baseline.
    """
    name, baseline = os.environ.get("DVC_EXP_NAME"), os.environ.get("DVC_EXP_BASELINE_REV")
    changed = git(
        root,
        "status",
        "--porcelain",
        "--",
        ".",
        ":!metrics",
        f":!{layout.LOCK}",
        f":!{layout.PLOTS}",
    )
    tags = {
        "git.commit": baseline or git(root, "rev-parse", "HEAD"),
        "git.dirty": str(bool(changed)).lower(),
    }
    if name:
        tags |= {"dvc.experiment": name, "dvc.baseline": baseline or ""}
    return tags


def commit_tags(commit: str) -> dict[str, str]:
    """`git_tags` of a commit with results."""
    return {"git.commit": commit, "git.dirty": "false"}


def experiment_tags(name: str, baseline: str) -> dict[str, str]:
    """`git_tags` of a DVC experiment that started from the commit `baseline`."""
    return {**commit_tags(baseline), "dvc.experiment": name, "dvc.baseline": baseline}


def run_name(tags: dict[str, str]) -> str:
    """The DVC experiment's name where there is one, else the commit."""
    return tags.get("dvc.experiment") or f"repro-{tags['git.commit'][:7]}"


def changed_params(
    root: Path, current: dict[str, Any], commit: str
) -> dict[str, tuple[Any, Any]] | None:
    """The parameters that differ from those of a commit.

    Args:
        root: the project's root.
        current: parameters as in `Record.params`.
        commit: what they are compared with.

    Returns:
        `{name: (current, committed)}`; None where the commit has no parameters that this version
        can read.
    """
    try:
        content = YAML(typ="safe").load(git(root, "show", f"{commit}:./{layout.PARAMS}"))
        committed = public_params(params.parse(content))
    except UserError:
        return None
    return {
        name: (value, committed.get(name))
        for name, value in current.items()
        if committed.get(name) != value
    }
