"""Nothing that a model or data set brings is run, nothing listens beyond loopback, and no secret is written down.

The payloads are our own and harmless: they would make a file.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT

CANARY = "hf_" + "Canary" * 6  # in two parts, so that this file does not hold it


def holders(folder: Path, secret: str) -> list[Path]:
    """Files below `folder` that hold `secret`."""
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_the_ui_listens_on_loopback_only(project, tmp_path):
    """Every socket that `python -m splade_sts ui` and its children open for listening is on 127.0.0.1."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "splade_sts", "ui", "--port", str(port)], cwd=project, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )
    try:
        listening, deadline = [], time.monotonic() + 90
        while not any(address.port == port for address in listening):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.5)
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            listening = [c.laddr for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert {address.ip for address in listening} == {"127.0.0.1"}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("command", ["sync", "track", "live"])
def test_mlflow_credentials_stay_in_the_environment(project, tmp_path, command):
    """A server that cannot be reached, with a password in its address: neither messages nor files name it."""
    copy = tmp_path / "project"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts", "cache"))
    uri, token = f"http://somebody:{CANARY}@127.0.0.1:9", f"token{CANARY}"
    live = "from splade_sts.tracking.live import LiveRun\nwith LiveRun('x', {'a': 1}, {}) as run: run.log(1, {'train.loss': 1.0})"
    arguments = {"sync": ["-m", "splade_sts", "sync"], "track": ["-m", "stages.track"], "live": ["-c", live]}[command]
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, capture_output=True, text=True, timeout=120,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_TRACKING_TOKEN": token, "HF_TOKEN": CANARY},
    )
    assert done.returncode == (command == "sync") and "MLflow" in done.stderr
    assert "Traceback" not in done.stderr and CANARY not in done.stdout + done.stderr, done.stderr
    assert holders(copy, CANARY) == []


def test_a_traceback_names_no_secret(tmp_path):
    """Where a bug of ours ends a stage, too."""
    script = (
        "from splade_sts.errors import run_stage\n"
        f"def main(): raise RuntimeError('GET http://me:{CANARY}@host/ with {CANARY}')\nrun_stage(main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env={**os.environ, "HF_TOKEN": CANARY}
    )
    assert done.returncode == 1 and "Traceback" in done.stderr and "RuntimeError" in done.stderr and CANARY not in done.stderr


def test_plots_hold_no_text_of_the_data(project):
    """A cell of a CSV file of ours is a number, or a word that is no formula."""
    for path in [*(project / "plots").glob("*.csv"), *(project / "metrics").glob("*.csv")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            for cell in line.split(","):
                try:
                    float(cell)
                except ValueError:
                    assert not cell.startswith(("=", "+", "-", "@", "\t")), (path, cell)
