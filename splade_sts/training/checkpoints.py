"""Checkpoints of an unfinished training: where they lie, which of them are whole, and when they go.

They lie under the user's project root, in `checkpoints/<fingerprint>/`, where `dvc repro`, `dvc exp
run`, `--temp` experiments and the queue all find them again. The fingerprint says what is trained:
a checkpoint is never used for another run.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from splade_sts import layout
from splade_sts.files import read_json, sha256, write_json
from splade_sts.locks import locked

LOCK, CONTENTS, DONE = "lock", "contents.json", "done.json"
# Trainings that were given up: their checkpoints go after this time.
KEEP_DAYS = 14
BUSY = (
    "another process trains this very run (ending it with `kill {pid}` loses no checkpoint); "
    "waiting for it"
)


def fingerprint(stage: str, facts: dict[str, Any]) -> str:
    """Identity of a run of `stage`, as 16 hexadecimal digits: `facts` and the bytes of all its
    `deps` in dvc.yaml.

    Args:
        stage: a stage of the dvc.yaml in the working directory.
        facts: whatever else decides the result (parameters, library versions, threads, device), as
            JSON takes it.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    pipeline = YAML(typ="safe").load(layout.PIPELINE.read_text(encoding="utf-8"))
    for dep in pipeline["stages"][stage]["deps"]:
        for path in _files(Path(dep)):
            digest.update(f"{path.as_posix()} {sha256(path)}\n".encode())
    return digest.hexdigest()[:16]


def _files(path: Path) -> list[Path]:
    """`path`, or the files in that folder, without what Python compiled."""
    if not path.is_dir():
        return [path]
    found = (file for file in path.rglob("*") if "__pycache__" not in file.relative_to(path).parts)
    return sorted(file for file in found if file.is_file())


@contextmanager
def reserved(root: Path, identity: str) -> Iterator[Path]:
    """Yield the folder of the run `identity` under `root`, which no other process uses within the
    block.

    An orphan of a `dvc` that was killed may still train the same run: this waits for it, and then
    finds all its steps.
    """
    folder = root / layout.CHECKPOINTS / identity
    with locked(folder / LOCK, BUSY):
        yield folder


def complete(folder: Path) -> list[Path]:
    """The whole checkpoints in `folder`, by rising step; what a kill left half-written or
    half-deleted is removed.
    """
    found = {}
    for path in folder.glob("checkpoint-*"):
        if is_whole(path):
            found[int(path.name.rsplit("-", 1)[-1])] = path
        else:
            remove(path)
    return [found[step] for step in sorted(found)]


def seal(checkpoint: Path) -> None:
    """Declare by hashes of its files that `checkpoint` is whole; until then it does not count."""
    write_json(
        checkpoint / CONTENTS,
        {str(path.relative_to(checkpoint)): sha256(path) for path in _files(checkpoint)},
    )


def is_whole(checkpoint: Path) -> bool:
    """Whether `checkpoint` was sealed and every file is still what it was."""
    try:
        contents = read_json(checkpoint / CONTENTS)
        return all(sha256(checkpoint / name) == digest for name, digest in contents.items())
    except (FileNotFoundError, ValueError):  # ValueError: not JSON
        return False


def remove(checkpoint: Path) -> None:
    """Remove a checkpoint; from the first moment on it does not count as whole."""
    (checkpoint / CONTENTS).unlink(missing_ok=True)
    shutil.rmtree(checkpoint)


def mark_done(folder: Path, training_id: str) -> None:
    """Note that the outputs of this training are written. Its checkpoints stay until DVC has taken
    them over.

    A kill between the stage's end and DVC's entry in dvc.lock makes DVC run the stage again: it
    then takes seconds.
    """
    write_json(folder / DONE, {"training": training_id})


def clear_given_up(root: Path) -> list[Path]:
    """Remove the checkpoints under `root` of trainings that are done, or that nobody touched for
    KEEP_DAYS days.

    Returns:
        The folders removed. One that another process uses is left alone.
    """
    oldest = time.time() - KEEP_DAYS * 24 * 3600
    return _clear(root, lambda folder: (folder / DONE).exists() or folder.stat().st_mtime < oldest)


def clear_done(root: Path, training_id: str) -> list[Path]:
    """Remove the checkpoints under `root` of a training that is done, and whose outputs DVC has
    taken over.

    Returns:
        The folders removed. One that another process uses is left alone.
    """

    def is_this(folder: Path) -> bool:
        return (folder / DONE).exists() and read_json(folder / DONE)["training"] == training_id

    return _clear(root, is_this)


def _clear(root: Path, superfluous: Callable[[Path], bool]) -> list[Path]:
    removed = []
    for folder in sorted((root / layout.CHECKPOINTS).glob("*")):
        try:
            with locked(folder / LOCK, busy=None):
                if superfluous(folder):
                    shutil.rmtree(folder)
                    removed.append(folder)
        except BlockingIOError:
            continue
    return removed
