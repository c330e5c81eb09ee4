import shutil
from pathlib import Path

import pytest

from splade_sts.errors import UserError
from splade_sts.runs.verify import compare, read_hashes, reproduced
from tests.support.commands import dvc, run
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


def test_a_folder_in_a_repository(nested: Path) -> None:
    """The clone is one of the whole repository, and its folder is verified."""
    run(["git", "rm", "-q", "--cached", "dvc.lock"], nested)
    run(["git", "commit", "-qm", "no results"], nested)
    with pytest.raises(UserError, match=r"no dvc.lock is committed"):
        reproduced(nested)
    (nested / "dvc.yaml").write_text("stages:\n  x: {cmd: echo 1 > y, outs: [y]}\n")
    (nested / "dvc.lock").unlink()
    dvc(nested, "repro", "-q")
    commit(nested, "results")
    assert [(one.path, one.result) for one in reproduced(nested)] == [("y", "reproduced")]


def test_data_that_dvc_tracks(tmp_path: Path) -> None:
    """They come from the cache of the project, or one message says that they are not there."""
    (tmp_path / "my-data").mkdir()
    (tmp_path / "my-data" / "rows").write_text("1")
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  x: {cmd: cp my-data/rows out, deps: [my-data], outs: [out]}\n"
    )
    run(["git", "init", "-q"], tmp_path)
    for arguments in (["init", "-q"], ["add", "-q", "my-data"], ["repro", "-q"]):
        dvc(tmp_path, *arguments)
    commit(tmp_path, "results")
    assert [(one.stage, one.result) for one in reproduced(tmp_path)] == [("x", "reproduced")]
    shutil.rmtree(tmp_path / ".dvc" / "cache" / "files")
    with pytest.raises(UserError, match=r"not in the cache: what my-data.dvc track \(dvc pull\)"):
        reproduced(tmp_path)
