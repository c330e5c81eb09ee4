"""Asking Git."""

import subprocess
from pathlib import Path

from splade_sts.errors import UserError


def git(root: Path, *arguments: str) -> str:
    """What `git ARGUMENTS` prints in the repository at `root`, without the last line's end.

    Raises:
        UserError: Git fails, with what it says, or is not there.
    """
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, encoding="utf-8", errors="replace"
        )
    except FileNotFoundError:
        raise UserError(
            "git is not installed; this command asks it what belongs to the project"
        ) from None
    if done.returncode:
        raise UserError(
            f"git {' '.join(arguments)}: {done.stderr.strip() or f'exit status {done.returncode}'}"
        )
    return done.stdout.rstrip("\n")


def resolve(root: Path, revision: str) -> str | None:
    """The commit that `revision` names: 40 hexadecimal digits; None where there is none."""
    try:
        return git(
            root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        )
    except UserError:
        return None


def below_top(root: Path) -> str:
    """The path of `root` in its Git repository: empty where it is the top folder.

    Raises:
        UserError: as `git`.
    """
    return git(root, "rev-parse", "--show-prefix").rstrip("/")


def commit_time(root: Path, revision: str) -> int:
    """When a commit was made, in milliseconds since 1970.

    Raises:
        UserError: as `git`.
    """
    return 1000 * int(git(root, "show", "-s", "--format=%ct", revision))
