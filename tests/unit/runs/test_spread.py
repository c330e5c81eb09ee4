"""What a sweep on several machines makes sure of before it starts."""

import socket
import sys
from pathlib import Path

import pytest

from splade_sts.errors import UserError
from splade_sts.runs.spread import (
    Cluster,
    Remotes,
    check_answers,
    check_commit,
    check_committed,
    run_on_ray,
)
from splade_sts.runs.sweep import plan
from tests.support.commands import run


def test_ray_is_missing(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what to install, before anything else."""
    monkeypatch.setitem(sys.modules, "ray", None)
    planned = plan(repository, ["train.seed=1,2"])
    with pytest.raises(UserError, match=r"pip install -r requirements-cluster\.txt"):
        run_on_ray(repository, planned, Cluster("auto"), Remotes(), sys.stdout)


@pytest.mark.parametrize(
    ("address", "message"),
    [("head", "expected HOST:PORT"), ("head:port", "could not be cast"), ("", "expected HOST")],
)
def test_addresses_that_are_none(address: str, message: str) -> None:
    with pytest.raises(UserError, match=f"no Ray cluster at {address}: .*{message}"):
        check_answers(address)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_that_does_not_answer(scheme: str) -> None:
    """It is said at once: Ray itself tries for minutes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(UserError, match="Connection refused"):
            check_answers(address)
        listener.listen()
        check_answers(address)


def test_what_is_not_committed(repository: Path) -> None:
    """Is named; files that Git does not know are no matter."""
    (repository / "notes").write_text("")
    check_committed(repository)
    (repository / "params.yaml").open("a").write("# changed\n")
    with pytest.raises(UserError, match=r"M params.yaml\ncommit it"):
        check_committed(repository)


def test_a_commit_that_a_git_remote_lacks(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Branches give it, below their tips too; once they have left it, an experiment that started
    from it, on a server that gives nothing else.
    """
    remote = tmp_path / "git"
    run(["git", "init", "-q", "--bare", str(remote)], tmp_path)
    # version 0 of the protocol, which sshd speaks unless told to pass GIT_PROTOCOL
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.version")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "0")
    head = run(["git", "rev-parse", "HEAD"], repository).stdout.strip()
    with pytest.raises(UserError, match=f"(?s)does not have the commit {head}.*git push it first"):
        check_commit(str(remote), head)
    run(["git", "commit", "-q", "--allow-empty", "-m", "the next one"], repository)
    run(["git", "push", "-q", str(remote), "HEAD:main"], repository)
    check_commit(str(remote), head)
    run(
        ["git", "push", "-qf", str(remote), f"{head}:refs/exps/{head[:2]}/{head[2:]}/a"], repository
    )
    run(["git", "update-ref", "-d", "refs/heads/main"], remote)
    check_commit(str(remote), head)
    with pytest.raises(UserError, match="does not answer"):
        check_commit(str(tmp_path / "nowhere"), head)
