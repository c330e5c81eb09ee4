from pathlib import Path

import pytest

from splade_sts import layout
from splade_sts.errors import UserError
from splade_sts.runs.source import RunFiles
from tests.support.commands import run
from tests.support.projects import commit
from tests.support.records import FILE_MD5, write_run


def test_workspace(tmp_path: Path) -> None:
    """Files by their paths in the project; a folder's own files alone."""
    write_run(tmp_path)
    (tmp_path / "reports" / "deeper").mkdir()
    files = RunFiles.workspace(tmp_path)
    assert files.read(layout.PARAMS) == (tmp_path / layout.PARAMS).read_bytes()
    assert files.names(layout.REPORTS) == [
        Path("reports/comparison.html"),
        Path("reports/comparison.md"),
    ]
    with pytest.raises(FileNotFoundError) as missing:
        files.read(Path("metrics/nothing.json"))
    assert missing.value.filename == "metrics/nothing.json"


def test_a_revision_without_its_cache(repository: Path) -> None:
    """What Git holds is read; a file and a folder's list that DVC's cache lacks are missing,
    whatever DVC raises.
    """
    (repository / layout.PARAMS).write_text("changed since")
    files = RunFiles.revision(repository, "HEAD")
    assert b"base_model" in files.read(layout.PARAMS)
    for path in (Path("reports/comparison.md"), layout.evidence("comparison"), Path("nothing")):
        with pytest.raises(FileNotFoundError) as missing:
            files.read(path)
        assert missing.value.filename == str(path)
    with pytest.raises(FileNotFoundError):
        files.names(layout.REPORTS)


def test_a_revision_with_its_cache(repository: Path) -> None:
    """The cache is read, not the workspace."""
    cached = repository / ".dvc/cache/files/md5" / FILE_MD5[:2] / FILE_MD5[2:]
    cached.parent.mkdir(parents=True)
    cached.write_text("cached")
    assert RunFiles.revision(repository, "HEAD").read(layout.evidence("comparison")) == b"cached"


def test_a_revision_of_a_folder_in_a_repository(nested: Path, tmp_path: Path) -> None:
    """Of the folder, of its worktree and of a shallow clone: the same files of Git; the folder's
    own cache is read.
    """
    cached = nested / ".dvc/cache/files/md5" / FILE_MD5[:2] / FILE_MD5[2:]
    cached.parent.mkdir(parents=True)
    cached.write_text("cached")
    run(["git", "worktree", "add", "-q", str(tmp_path / "worktree")], nested)
    top = f"file://{tmp_path / 'top'}"
    run(["git", "clone", "-q", "--depth=1", top, str(tmp_path / "clone")], tmp_path)
    inner = nested.relative_to(tmp_path / "top")
    for root in (nested, tmp_path / "worktree" / inner, tmp_path / "clone" / inner):
        files = RunFiles.revision(root, "HEAD")
        assert files.read(layout.PARAMS) == (nested / layout.PARAMS).read_bytes()
        assert layout.metrics("base") in files.names(Path("metrics"))
        with pytest.raises(FileNotFoundError):
            files.names(layout.REPORTS)
    assert RunFiles.revision(nested, "HEAD").read(layout.evidence("comparison")) == b"cached"


def test_a_revision_that_dvc_cannot_read(repository: Path) -> None:
    """It is said, and where."""
    (repository / layout.PIPELINE).write_text("stages: 3\n")
    commit(repository, "broken")
    revision = run(["git", "rev-parse", "HEAD"], repository).stdout.strip()
    with pytest.raises(UserError, match=f"at {revision[:7]}: DVC cannot read it"):
        RunFiles.revision(repository, revision).read(Path("reports/comparison.md"))
