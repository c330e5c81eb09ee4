"""Starting commands as a user would: a clean environment, and stages that need not import everything anew."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def user_environment(**changes: str) -> dict[str, str]:
    """As a user would have it: this interpreter's scripts first on PATH, nobody's Git settings, no network."""
    people = [f"GIT_{role}_{part}" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **dict.fromkeys(people, "tester@example.org"),
    }
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "PYTHONPATH"):
        environment.pop(name, None)
    return {**environment, **changes}


def run(
    command: list[str], cwd: Path, check: bool = True, timeout: float = 300, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in `user_environment`, with `environment` on top.

    Raises:
        AssertionError: it fails and `check` is true; with the end of what it said.
    """
    done = subprocess.run(
        command, cwd=cwd, env=user_environment(**environment), capture_output=True, text=True, timeout=timeout
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def dvc(cwd: Path, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `dvc`."""
    return run([sys.executable, "-m", "dvc", *arguments], cwd, check, **environment)


def splade_sts(cwd: Path, *arguments: str, check: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m splade_sts`."""
    return run([sys.executable, "-m", "splade_sts", *arguments], cwd, check, **environment)


def stage(cwd: Path, *arguments: str, check: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a stage of the project in `cwd` without DVC: its name, and what it is given."""
    name, *rest = arguments
    return run([sys.executable, "-m", f"stages.{name}", *rest], cwd, check, **environment)


def stages_run(output: str) -> list[str]:
    """The names of the stages that `dvc repro` or `dvc exp run` ran, from what it printed."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]
