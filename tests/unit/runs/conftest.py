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


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A DVC project in Git whose first commit holds a run; DVC's cache is empty."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_run(folder)
    write_pipeline(folder)
    run(["git", "init", "-q"], folder)
    commit(folder, "a run")
    return folder
