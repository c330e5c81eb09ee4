"""Asking Git."""

import pytest

from splade_sts.errors import UserError
from splade_sts.git import below_top, git, resolve
from tests.support.commands import run
from tests.support.projects import commit


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "file").write_text("text\n")
    run(["git", "init", "-q", "-b", "trunk"], tmp_path)
    commit(tmp_path, "start")
    return tmp_path


def test_what_it_prints(repository):
    """Without the end of the last line; inner ones stay."""
    (repository / "file").write_text("text\n\nmore\n\n")
    commit(repository, "more")
    assert git(repository, "show", "HEAD:file") == "text\n\nmore"
    assert git(repository, "log", "--format=%s") == "more\nstart"


def test_revisions(repository):
    """A branch, HEAD and a short hash are the same commit; what is none is None."""
    full = git(repository, "rev-parse", "HEAD")
    assert {resolve(repository, name) for name in ("trunk", "HEAD", full[:8])} == {full}
    for name in ("nowhere", "HEAD~1", "HEAD:file", "--help", ""):
        assert resolve(repository, name) is None


def test_a_folder_in_a_repository(repository):
    """Its path from the top; the top folder's is empty."""
    inner = repository / "some folder" / "inner"
    inner.mkdir(parents=True)
    assert below_top(repository) == ""
    assert below_top(inner) == "some folder/inner"


def test_text_that_is_not_utf8(repository):
    """It is shown with marks in the places of the bytes that are none."""
    (repository / "file").write_bytes(b"caf\xe9\n")
    commit(repository, "latin 1")
    assert git(repository, "show", "HEAD:file") == "caf\N{REPLACEMENT CHARACTER}"


def test_refusals(repository, tmp_path, monkeypatch):
    """Git's own words; and where there is no Git."""
    with pytest.raises(UserError, match=r"git show nowhere: .*unknown revision"):
        git(repository, "show", "nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="git is not installed"):
        git(repository, "status")
