import shutil
from pathlib import Path

import pytest

from splade_sts.runs.place import changed_params, experiment_tags, git_tags, run_name
from splade_sts.runs.record import Record
from tests.support.commands import run
from tests.support.projects import commit


def test_git_tags(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results do not make a workspace dirty, everything else does; DVC names its experiments."""
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    head = run(["git", "rev-parse", "HEAD"], repository).stdout.strip()
    (repository / "metrics/base.json").write_text("{}")
    (repository / "dvc.lock").write_text("")
    assert git_tags(repository) == {"git.commit": head, "git.dirty": "false"}
    assert run_name(git_tags(repository)) == f"repro-{head[:7]}"
    (repository / "params.yaml").write_text("")
    assert git_tags(repository)["git.dirty"] == "true"
    monkeypatch.setenv("DVC_EXP_NAME", "bold-name")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "b" * 40)
    tags = git_tags(repository)
    assert tags == {**experiment_tags("bold-name", "b" * 40), "git.dirty": "true"}
    assert run_name(tags) == "bold-name"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("no commit", "there is no commit yet"),
        ("no .git", "not a git repository"),
        ("another owner", "detected dubious ownership"),
        ("no git", "git is not installed"),
    ],
)
def test_git_cannot_say(
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken: str,
    said: str,
) -> None:
    """Its tags are missing, and one line warns; what DVC says stays."""
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repository.parent))
    match broken:
        case "no commit":
            run(["git", "checkout", "-q", "--orphan", "new"], repository)
        case "no .git":
            shutil.rmtree(repository / ".git")
        case "another owner":
            monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        case "no git":
            monkeypatch.setenv("PATH", str(repository))
    assert git_tags(repository) == {}
    warning = capsys.readouterr().err
    assert warning.startswith("warning: Git cannot say which commit")
    assert said in warning
    assert warning.count("\n") == 1
    assert run_name({}) == "repro"
    assert changed_params(repository, {}, None) is None
    monkeypatch.setenv("DVC_EXP_NAME", "bold-name")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "b" * 40)
    tags = git_tags(repository)
    assert run_name(tags) == "bold-name"
    assert tags["git.commit"] == tags["dvc.baseline"] == "b" * 40


def test_changed_params(repository: Path, record: Record) -> None:
    """Both values; nothing is known of a commit whose parameters cannot be read."""
    current = {**record.params, "train.epochs": 2.0, "base_model.source": "…/other"}
    changed = {"train.epochs": (2.0, 1.0), "base_model.source": ("…/other", "…/bert")}
    assert changed_params(repository, current, "HEAD") == changed
    assert changed_params(repository, record.params, "HEAD") == {}
    (repository / "params.yaml").write_text("model: {}\n")
    commit(repository, "another version")
    assert changed_params(repository, record.params, "HEAD") is None
    assert changed_params(repository, record.params, "HEAD~2") is None
