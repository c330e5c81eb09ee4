"""Where the project's root is."""

import pytest

from splade_sts.errors import UserError
from splade_sts.layout import project_root


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "workspace" / ".dvc").mkdir(parents=True)
    return tmp_path / "workspace"


def test_above_the_working_directory(workspace, monkeypatch):
    """The nearest folder that DVC knows."""
    (workspace / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(workspace / "a" / "b")
    assert project_root() == workspace
    (workspace / "a" / ".dvc").mkdir()
    assert project_root() == workspace / "a"


def test_in_a_temporary_experiment(workspace, monkeypatch):
    """The copy lies below the workspace and is a project of its own: DVC names the workspace."""
    copy = workspace / ".dvc" / "tmp" / "exps" / "x"
    (copy / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert project_root() == copy
    monkeypatch.setenv("DVC_ROOT", str(workspace))
    assert project_root() == workspace


def test_a_name_left_in_the_shell(workspace, tmp_path, monkeypatch):
    """It is of another project: the working directory decides."""
    (tmp_path / "other" / ".dvc").mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "other"))
    monkeypatch.chdir(workspace)
    assert project_root() == workspace


def test_outside_of_a_project(tmp_path, monkeypatch):
    """It says what to do."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is in no DVC project; run from the project's folder"):
        project_root()
