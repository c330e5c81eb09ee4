from pathlib import Path

import pytest

from splade_sts.errors import UserError
from splade_sts.runs.verify import compare, read_hashes, reproduced
from tests.support.commands import run
from tests.support.projects import commit
from tests.support.records import FILE_MD5


def test_hashes_of_a_lock(repository: Path) -> None:
    """By stage and path; each is reproduced, differs or is missing."""
    assert read_hashes(repository)["train", "evidence/train.json"] == FILE_MD5
    assert [compare("a", "a"), compare("a", "b"), compare("a", None)] == [
        "reproduced",
        "differs",
        "missing",
    ]


def test_nothing_to_verify(repository: Path) -> None:
    """A commit without dvc.lock, whatever the workspace holds."""
    run(["git", "rm", "-q", "--cached", "dvc.lock"], repository)
    run(["git", "commit", "-qm", "no results"], repository)
    assert (repository / "dvc.lock").exists()
    with pytest.raises(UserError, match=r"no dvc.lock is committed"):
        reproduced(repository)


def test_a_pipeline_that_fails(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """DVC's own words are above the message."""
    (repository / "dvc.yaml").write_text("stages:\n  x: {cmd: exit 3, outs: [y]}\n")
    commit(repository, "broken")
    with pytest.raises(UserError, match="fails in a clean clone"):
        reproduced(repository)
    assert "exit 3" in "".join(capfd.readouterr())
