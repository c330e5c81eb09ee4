"""Does the committed dvc.lock come out again? The whole pipeline once more, in a clean clone of
HEAD.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML

from splade_sts import layout
from splade_sts.errors import UserError
from splade_sts.git import below_top, git
from splade_sts.runs.experiment import cache_folder

Result = Literal["reproduced", "differs", "missing"]
# What a clone of its own must not take over from the calling shell.
LEFT_OUT = ("DVC_ROOT", "MLFLOW_TRACKING_URI")


@dataclass(frozen=True)
class Output:
    """An output of the committed dvc.lock, and what became of it."""

    stage: str
    path: str
    result: Result


def hashes(lock: dict[str, Any]) -> dict[tuple[str, str], str]:
    """DVC's hash of every output in the content of a dvc.lock, by stage and path."""
    return {
        (stage, out["path"]): out["md5"]
        for stage, entry in lock["stages"].items()
        for out in entry.get("outs", [])
    }


def read_hashes(folder: Path) -> dict[tuple[str, str], str]:
    """`hashes` of the dvc.lock in `folder`.

    Raises:
        UserError: there is none.
    """
    path = folder / layout.LOCK
    if not path.exists():
        raise UserError(
            "no dvc.lock is committed: there is nothing to verify yet; run dvc repro, then commit "
            "dvc.lock and metrics"
        )
    return hashes(YAML(typ="safe").load(path.read_text(encoding="utf-8")))


def reproduced(root: Path) -> list[Output]:
    """Run the pipeline in a clone of the HEAD of `root`, which shares neither cache nor checkpoints
    with it. Data tracked with `dvc add` are taken from the cache of `root`.

    Raises:
        UserError: HEAD holds no dvc.lock, data of `dvc add` are not in the cache, or the pipeline
            fails in the clone.
    """
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        top, clone = git(root, "rev-parse", "--show-toplevel"), Path(folder) / "clone"
        git(root, "clone", "--quiet", top, str(clone))
        clone /= below_top(root)
        committed = read_hashes(clone)
        environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}

        def dvc(*arguments: str) -> bool:
            command = [sys.executable, "-m", "dvc", *arguments]
            return subprocess.run(command, cwd=clone, env=environment).returncode == 0

        if tracked := git(clone, "ls-files", "*.dvc").splitlines():
            take_data(dvc, root, tracked)
        done = dvc("repro", "--force")
        if not done:
            raise UserError(
                "the pipeline fails in a clean clone (see above): it needs what Git does not hold, "
                "such as data in an "
                "untracked folder; track that in Git, or name it by its absolute path"
            )
        again = read_hashes(clone)
    return [Output(*output, compare(md5, again.get(output))) for output, md5 in committed.items()]


def take_data(dvc: Callable[..., bool], root: Path, tracked: Sequence[str]) -> None:
    """Bring the data that `dvc add` tracks into the clone in which `dvc` runs.

    The cache of `root` is the clone's while they are checked out, and not when the pipeline runs.

    Raises:
        UserError: they are not in that cache.
    """
    lent = dvc("config", "--local", "cache.dir", cache_folder(root))
    found = lent and dvc("checkout", *tracked)
    dvc("config", "--local", "--unset", "cache.dir")
    if not found:
        raise UserError(
            f"not in the cache: what {', '.join(tracked)} track (dvc pull); DVC's own words are "
            "above"
        )


def compare(committed: str, again: str | None) -> Result:
    """What became of an output whose hash was `committed`."""
    if again is None:
        return "missing"
    return "reproduced" if again == committed else "differs"
