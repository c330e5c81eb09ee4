"""Starting commands as a user would: in an environment without surprises, and without importing
everything anew.

Where a command is `python`, PATH decides what that is: by default tests/support/bin/python, which
has the command run in a process that tests/support/forkserver.py forks; with `real=True` this
interpreter. Take the real one where the process is the point: where it is killed, limited, run by
somebody else or looked for among all processes.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = ROOT / "tests" / "support"
# Set by conftest.py: where the server listens, and the process of pytest at whose end it ends.
SOCKET, PYTEST = "TESTS_SERVER", "TESTS_PID"


def user_environment(real: bool = False, **changes: str) -> dict[str, str]:
    """As a user would have it: scripts of this interpreter first on PATH, nobody's Git settings, no
    network.

    With one thread for each computation: two processes with two threads each, on two cores, wait
    for each other.
    """
    people = [
        f"GIT_{role}_{part}" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")
    ]
    path = [Path(sys.executable).parent, os.environ["PATH"]]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join(map(str, path if real else [SUPPORT / "bin", *path])),
        "TESTS_PYTHON": sys.executable,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **dict.fromkeys(people, "tester@example.org"),
    }
    # what others may have set, PyTorch too, which does so in the process of the tests
    foreign = ["DVC_ROOT", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "PYTHONPATH"]
    foreign += ["TORCHINDUCTOR_CACHE_DIR", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"]
    # coverage is measured in what is forked: a fresh interpreter would trace all its imports
    foreign += ["COVERAGE_PROCESS_CONFIG"] * real
    for name in foreign:
        environment.pop(name, None)
    return {**environment, **changes}


def start_server() -> None:
    """Start the server of this run of pytest, if nobody has yet; it is of use once its socket is
    there.
    """
    socket = Path(os.environ[SOCKET])
    with FileLock(socket.with_suffix(".lock")):
        if (log := socket.with_suffix(".log")).exists():
            return
        with log.open("w", encoding="utf-8") as output:
            subprocess.Popen(
                [sys.executable, str(SUPPORT / "forkserver.py"), str(socket), os.environ[PYTEST]],
                env=user_environment(real=True),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )


def wait_for_server(seconds: float = 60) -> None:
    """Start the server and wait until it serves; after that time commands do without it."""
    start_server()
    deadline = time.monotonic() + seconds
    while not Path(os.environ[SOCKET]).exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def start(
    command: list[str | Path],
    cwd: Path,
    real: bool = False,
    environment: dict[str, str] | None = None,
    **options: Any,
) -> subprocess.Popen[str]:
    """Start a command in `user_environment`; its output is captured unless `options` of `Popen` say
    otherwise.
    """
    if command[0] == "python" and not real:
        wait_for_server()
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen(
        command, cwd=cwd, env=user_environment(real, **environment or {}), **options
    )


def run(
    command: list[str | Path],
    cwd: Path,
    check: bool = True,
    real: bool = False,
    timeout: float = 300,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command in `user_environment`, with `environment` on top.

    Raises:
        AssertionError: it fails and `check` is true; with the end of what it said.
    """
    process = start(command, cwd, real, environment)
    try:
        output, errors = process.communicate(timeout=timeout)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if check and process.returncode:
        said = f"{output[-3000:]}\n{errors[-3000:]}"
        raise AssertionError(
            f"{' '.join(map(str, command))} ended with {process.returncode}:\n{said}"
        )
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def dvc(
    cwd: Path, *arguments: str, check: bool = True, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run `dvc`; `options` as for `run`."""
    return run(["python", "-m", "dvc", *arguments], cwd, check, **options)


def splade_sts(
    cwd: Path, *arguments: str, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run `python -m splade_sts` in the project `cwd`; `options` as for `run`."""
    return run(["python", "-m", "splade_sts", *arguments], cwd, check, **options)


def stage(
    cwd: Path, name: str, *arguments: str, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a stage of the project in `cwd` without DVC; `options` as for `run`."""
    return run(["python", "-m", f"stages.{name}", *arguments], cwd, check, **options)


def stages_run(output: str) -> list[str]:
    """The names of the stages that `dvc repro` or `dvc exp run` ran, from what it printed."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def printed(text: str) -> str:
    """What comes out where a command prints `text` and stdout knows ASCII alone."""
    return text.encode("ascii", "backslashreplace").decode("ascii")
