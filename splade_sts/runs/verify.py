"""Does the committed dvc.lock come out again? The whole pipeline once more, in a clean clone of HEAD."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from splade_sts.errors import UserError


def outputs(lock: dict[str, Any]) -> dict[tuple[str, str], str]:
    """DVC's hash of every output in the content of a dvc.lock, by stage and path."""
    return {(stage, out["path"]): out["md5"] for stage, entry in lock["stages"].items() for out in entry.get("outs", [])}


def read_lock(folder: Path) -> dict[tuple[str, str], str]:
    """`outputs` of the dvc.lock in `folder`.

    Raises:
        UserError: there is none.
    """
    path = folder / "dvc.lock"
    if not path.exists():
        raise UserError(
            "no dvc.lock is committed: there is nothing to verify yet; run dvc repro, then commit dvc.lock and metrics"
        )
    return outputs(YAML(typ="safe").load(path.read_text(encoding="utf-8")))


def verify(root: Path) -> list[tuple[str, str, str]]:
    """Run the pipeline in a clone of the HEAD of `root`, which shares neither cache nor checkpoints with it.

    Returns:
        For each output its stage, its path and `reproduced`, `differs` or `missing`.

    Raises:
        UserError: HEAD holds no dvc.lock, or the pipeline fails in the clone.
    """
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(root), str(clone)], check=True)
        committed = read_lock(clone)
        environment = {name: value for name, value in os.environ.items() if name not in ("DVC_ROOT", "MLFLOW_TRACKING_URI")}
        done = subprocess.run([sys.executable, "-m", "dvc", "repro", "--force"], cwd=clone, env=environment)
        if done.returncode:
            raise UserError(
                "the pipeline fails in a clean clone (see above): it needs what Git does not hold, such as data in an "
                "untracked folder; track that in Git, or name it by its absolute path"
            )
        again = read_lock(clone)
    return [
        (stage, path, "missing" if (stage, path) not in again else "reproduced" if again[stage, path] == md5 else "differs")
        for (stage, path), md5 in committed.items()
    ]
