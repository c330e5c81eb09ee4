from pathlib import Path

import pytest

from splade_sts.runs.record import Record
from tests.support.commands import run
from tests.support.projects import commit
from tests.support.records import run_record, write_pipeline, write_run


@pytest.fixture
def record() -> Record:
    """The record of a small run."""
    return run_record()


def commit_run(folder: Path, top: Path) -> None:
    """Write a run to `folder`, in a new repository whose top folder is `top`."""
    folder.mkdir(parents=True)
    write_run(folder)
    write_pipeline(folder)
    run(["git", "init", "-q"], top)
    commit(top, "a run")


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """`repository`, as a folder in a Git repository."""
    folder = tmp_path / "top" / "some" / "project"
    commit_run(folder, tmp_path / "top")
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A DVC project in Git whose first commit holds a run; DVC's cache is empty."""
    folder = tmp_path / "project"
    commit_run(folder, folder)
    return folder
