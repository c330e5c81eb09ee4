"""How commands and stages end, and what they make sure of before."""

import errno
import os
import re
import subprocess
import sys
import threading

import pytest

from splade_sts import layout
from splade_sts.errors import UserError
from splade_sts.locks import locked
from splade_sts.process import check_versions, in_threads, run_command, run_stage, threads
from tests.support.commands import ROOT, run

SECRET = "hf_" + "Secret" * 6  # in two parts, so that this file does not hold it


def raising(error: BaseException):
    def main() -> None:
        raise error

    return main


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("x is 1; expected 2"), "error: x is 1; expected 2"),
        (UserError(f"http://me:{SECRET}@h"), "error: http://…@h"),
        (UserError("\x1b[2Jno\n  a\x9bb"), "error: \\x1b[2Jno\n  a\\x9bb"),
        (OSError(errno.ENOSPC, "\x1b[2J"), "error: [Errno 28] \\x1b[2J"),
        (caused(UserError("it failed"), MemoryError()), "error: it failed: not enough memory ("),
        (OSError(errno.ENOSPC, "No space left on device"), "error: [Errno 28] No space left"),
        (MemoryError("7 GiB"), "error: not enough memory (7 GiB)"),
    ],
)
def test_what_the_user_can_mend(error, said):
    """One message, no traceback."""
    with pytest.raises(SystemExit) as ended:
        run_command(raising(error))
    assert str(ended.value.code).startswith(said)
    assert "Traceback" not in str(ended.value.code)


def test_a_bug(monkeypatch):
    """It ends with its traceback, which names no secret and commands no terminal."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
    with pytest.raises(SystemExit) as ended:
        run_command(raising(RuntimeError(f"GET http://me:{SECRET}@host/ with {SECRET}\x1b[2J")))
    said = str(ended.value.code)
    assert "\x1b" not in said
    assert said.startswith("Traceback")
    assert "RuntimeError: GET http://…@host/ with …" in said
    assert SECRET not in said


def test_ctrl_c(capsys):
    """It says how to go on."""
    with pytest.raises(SystemExit) as ended:
        run_command(raising(KeyboardInterrupt()))
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted; run again to go on\n"


def test_a_process():
    """The same as a process: status 1, and the message alone on the error stream."""
    script = (
        "from splade_sts.process import run_command\nfrom splade_sts.errors import UserError\n"
        "def main(): raise UserError('x')\nrun_command(main)"
    )
    done = run([sys.executable, "-c", script], ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: x\n")


@pytest.fixture
def pins(tmp_path, monkeypatch):
    """A working directory with files of pinned versions, of packages that are there; and a function
    that pins another one.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "splade_sts.process.version", lambda name: {"a-b": "1.2+cpu", "c": "3"}[name]
    )
    layout.MODEL_VERSIONS.write_text("# why\na-b==1.2\n")
    layout.DATA_VERSIONS.write_text("c==3\n")
    return lambda text: layout.DATA_VERSIONS.write_text(text)


def test_pinned_versions(pins):
    """A build's own part of a version does not count; another version is told, with what to do."""
    check_versions()
    pins("c==3.1\n")
    with pytest.raises(UserError) as error:
        check_versions()
    assert "c 3.1 is pinned in requirements-data.txt; installed: 3" in str(error.value)
    assert "pip install -r requirements.txt" in str(error.value)


def test_a_package_that_is_missing(tmp_path, monkeypatch):
    """It is told, too."""
    monkeypatch.chdir(tmp_path)
    layout.MODEL_VERSIONS.write_text("no-such-package==1\n")
    layout.DATA_VERSIONS.write_text("")
    with pytest.raises(UserError, match=r"no-such-package 1 is pinned in .*; installed: missing"):
        check_versions()


def test_the_pins_are_those_installed():
    """Of the workspace: a stage would refuse otherwise."""
    done = subprocess.run(
        [sys.executable, "-c", "from splade_sts.process import check_versions; check_versions()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_one_stage_at_a_time(pins, capsys):
    """A second stage in the same folder says whom it waits for, and goes on after it."""
    layout.STAGE_LOCK.parent.parent.mkdir()
    order: list[str] = []
    waiting = threading.Thread(target=run_stage, args=[lambda: order.append("second")])
    with locked(layout.STAGE_LOCK, None):
        waiting.start()
        waiting.join(0.3)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
    said = capsys.readouterr().err
    assert re.fullmatch(r"a stage of an earlier run still works .*`kill \d+`.*\n", said)


def test_a_stage_outside_of_a_project(pins):
    """No lock is made where DVC keeps nothing."""
    run_stage(lambda: None)
    assert not layout.STAGE_LOCK.parent.exists()


@pytest.mark.parametrize(
    "settings",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
)
def test_a_terminal_without_unicode(settings):
    """What it cannot show stands as an escape, in results and in messages."""
    code = (
        "from splade_sts.errors import UserError; from splade_sts.process import run_command\n"
        "def main():\n"
        "    print('caf\\xe9 \\u2026'); raise UserError('na\\xefve')\n"
        "run_command(main)"
    )
    done = run([sys.executable, "-c", code], ROOT, check=False, **settings)
    assert done.stdout == "caf\\xe9 \\u2026\n"
    assert done.stderr == "error: na\\xefve\n"
    assert done.returncode == 1


def test_in_threads(monkeypatch):
    """In order, few are taken ahead, and a problem comes out where it is looked at."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    taken, most = [], []

    def given():
        for number in range(20):
            taken.append(number)
            yield number

    def work(number):
        if number == 15:
            raise KeyError(number)
        return number * number

    found = in_threads(work, given())
    for number in range(15):
        assert next(found) == number * number
        most.append(len(taken) - number)
    assert max(most) <= 6
    with pytest.raises(KeyError, match="15"):
        next(found)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("given", "spins"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
    ],
)
def test_threads_of_a_stage_do_not_spin_for_long(given: dict[str, str], spins: str | None) -> None:
    """Unless somebody says how they wait."""
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    code = "import os, stages; print(os.environ.get('GOMP_SPINCOUNT'))"
    said = subprocess.check_output([sys.executable, "-c", code], env=kept | given, cwd=ROOT)
    assert said.decode().strip() == str(spins)
