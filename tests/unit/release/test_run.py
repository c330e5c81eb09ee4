"""What a release says of the commit that it was made of."""

from pathlib import Path

from splade_sts.release.run import _changed
from tests.support.commands import run
from tests.support.projects import commit


def test_files_that_the_commit_does_not_hold(tmp_path: Path) -> None:
    """By their names as they are; not what Git ignores, nor the release itself."""
    run(["git", "init", "-q"], tmp_path)
    for name in ("same", "gone", "changed"):
        (tmp_path / name).write_text(f"{name}\n" * 9)
    (tmp_path / ".gitignore").write_text("ignored\n")
    commit(tmp_path, "first")
    assert _changed(tmp_path, tmp_path / "release") == ()
    (tmp_path / "release").mkdir()
    for name in ("release/new", "ignored", "ä b.txt", "changed"):
        (tmp_path / name).write_text("more")
    run(["git", "mv", "gone", "here"], tmp_path)
    found = _changed(tmp_path, tmp_path / "release")
    assert sorted(found) == ["changed", "gone", "here", "ä b.txt"]
