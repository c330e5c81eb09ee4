"""Locks between processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from splade_sts.errors import UserError
from splade_sts.locks import locked
from tests.support.commands import ROOT

HOLD = (
    "import sys, time; from splade_sts.locks import locked\n"
    "with locked(sys.argv[1], 'busy {pid}'):\n"
    "    print('in', flush=True); time.sleep(float(sys.argv[2]))"
)


def start(lock: Path, seconds: float) -> "subprocess.Popen[str]":
    """A process that holds the lock for some seconds."""
    command = [sys.executable, "-c", HOLD, str(lock), str(seconds)]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("deleted", [False, True])
def test_a_lock_is_waited_for(tmp_path, deleted):
    """The second process says who holds it, and goes on when that one is killed; also where the
    file was deleted meanwhile.
    """
    lock = tmp_path / "deep" / "lock"
    first = start(lock, 60)
    assert first.stdout.readline() == "in\n"
    with pytest.raises(BlockingIOError), locked(lock, None):
        pass
    second = start(lock, 0)
    assert second.stderr.readline() == f"busy {first.pid}\n"
    if deleted:
        lock.unlink()
    os.kill(first.pid, signal.SIGKILL)
    assert second.communicate(timeout=30)[0] == "in\n"
    assert second.returncode == 0
    first.communicate()


def test_it_is_free_afterwards(tmp_path):
    """After the block, an error in it, and where the holder deleted the file."""
    lock = tmp_path / "lock"
    with pytest.raises(KeyError), locked(lock, None):
        raise KeyError
    with locked(lock, None):
        assert lock.read_text() == str(os.getpid())
        lock.unlink()
    with locked(lock, None):
        pass


def test_patience_ends(tmp_path):
    """The message names who holds the lock, and what to do."""
    first = start(tmp_path / "lock", 60)
    assert first.stdout.readline() == "in\n"
    said = f"has been held by process {first.pid} for 0.1 s; end that process"
    try:
        with pytest.raises(UserError, match=said), locked(tmp_path / "lock", "busy", 0.1):
            pass
    finally:
        first.kill()
        first.wait()
