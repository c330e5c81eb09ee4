"""Stages whose disk refuses: one message, and everything older stays as it was."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import run, stage
from tests.support.disks import small_disk
from tests.support.projects import copy_project, set_params

NOBODY = 65534
# Runs a stage once with all rights, so that all modules are imported (the interpreter itself may
# lie where only root may read), then gives everything but one folder to somebody else, becomes that
# user and runs it again (without asking for versions, which may lie there too).
AS_NOBODY = """
import importlib, os, shutil, sys
from pathlib import Path
from splade_sts import process
process.check_versions = lambda: None
main = importlib.import_module(f"stages.{sys.argv[1]}").main
main()
shutil.rmtree("checkpoints")
os.mkdir("checkpoints")
for path in (Path("."), *Path(".").rglob("*")):
    os.chown(path, int(sys.argv[3]), int(sys.argv[3]), follow_symlinks=False)
os.chown(sys.argv[2], 0, 0)
os.chmod(sys.argv[2], 0o755)
print("without rights", flush=True)
os.setgroups([])
os.setresgid(*[int(sys.argv[3])] * 3)
os.setresuid(*[int(sys.argv[3])] * 3)
process.run_stage(main)
"""


def contents(*folders: Path) -> dict[Path, bytes]:
    """The files in the folders."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in files}


def test_a_full_disk(project, tmp_path):
    """In normalize: one message, no traceback, nothing half-written."""
    with small_disk(tmp_path / "disk") as disk:
        folder = disk.folder
        for name in ("data/raw", "data/normalized", "evidence", "metrics"):
            shutil.copytree(project / name, folder / name)
        for name in ("stages", "splade_sts"):
            (folder / name).symlink_to(project / name)
        for path in (project / "params.yaml", *project.glob("requirements-*.txt")):
            shutil.copy(path, folder)
        before = contents(folder)
        disk.fill()
        done = stage(folder, "normalize")
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert "Traceback" not in done.stderr
        (folder / "filler").unlink()
        assert contents(folder) == before


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A temporary folder that every user can reach; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    ("name", "closed"),
    [
        ("normalize", "data"),
        ("normalize", ".dvc/tmp"),
        ("train", "models"),
        ("train", "metrics"),
        ("train", "evidence"),
        ("train", "checkpoints"),
    ],
)
def test_no_permission(project, open_path, name, closed):
    """A user who may not write to a folder: one message that names it; then the same result."""
    folder = copy_project(project, open_path / "project", "cache", "checkpoints", "tmp", ".git")
    set_params(folder, track__enabled=False)
    (folder / ".dvc/tmp").mkdir()
    (folder / "checkpoints").mkdir()
    kept = [folder / part for part in ("data", "models", "metrics", "evidence")]
    before = contents(*kept)
    command = ["python", "-B", "-c", AS_NOBODY, name, closed, str(NOBODY)]
    done = run(command, folder, check=False)
    assert done.returncode == 1
    assert "without rights" in done.stdout, done.stderr
    message = done.stderr.splitlines()[-1]
    assert message.startswith("error: ")
    assert "Permission denied" in message
    assert closed in message
    assert "make it accessible" in message
    assert "Traceback" not in done.stderr
    assert contents(*kept) == before
    assert not list(folder.glob("*/.*.tmp"))
    os.chown(folder / closed, NOBODY, NOBODY)
    stage(folder, name, check=True)
    assert contents(*kept) == before
