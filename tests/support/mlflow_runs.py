"""MLflow in tests: a training that is shown there, a server, and what a store holds."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from splade_sts.locks import locked
from splade_sts.tracking.start import start_mlflow
from tests.support.commands import ROOT, start

EXPERIMENT = "splade-sts"
TRAINING = """
import os, signal, sys, time
from splade_sts.tracking.live import LiveRun
from splade_sts.training.curves import TrainingPoint
end, until = sys.argv[1:]
with LiveRun("splade-sts", {"train.seed": 1}, {"device": end}) as live:
    for step in range(1, 4):
        live.point(TrainingPoint(step, step / 3, 1.0 / step, 0.5, 0.5, 1e-3, 1e-4, None))
    while not os.path.exists(until): time.sleep(0.05)
    live.finish("training", 1.5)
    print("trained", flush=True)
    match end:
        case "raise": raise RuntimeError("boom")
        case "interrupt": raise KeyboardInterrupt
        case "exit": pass
        case name: os.kill(os.getpid(), getattr(signal, name)); time.sleep(60)
"""


def train(
    workspace: Path, end: str, until: str = ".", real: bool = False, **environment: str
) -> "subprocess.Popen[str]":
    """Start a training that shows three points, waits until there is a file `until`, and ends as
    `end` says; with `real` it and its writer are what `tests.support.commands` calls real.
    """
    command: list[str | Path] = ["python", "-c", TRAINING, end, until]
    return start(command, workspace, real, {"PYTHONPATH": str(ROOT), **environment})


def runs(workspace: Path, uri: str | None = None) -> list[Any]:
    """The runs in a store, that of `workspace` where no other one is named."""
    start_mlflow()
    from mlflow import MlflowClient

    # two processes that create one new database at once are in each other's way: the lock of
    # splade_sts.tracking.store
    with locked(workspace / "mlflow.db.lock", "waiting for {pid}"):
        client = MlflowClient(uri or f"sqlite:///{workspace / 'mlflow.db'}")
        experiment = client.get_experiment_by_name(EXPERIMENT)
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def wait_for_end(workspace: Path, count: int, uri: str | None = None) -> list[Any]:
    """The runs, once there are `count` and none of them is RUNNING."""
    return _wait(workspace, uri, count, lambda run: run.info.status != "RUNNING")


def wait_for_metric(
    workspace: Path, name: str, uri: str | None = None, count: int = 1
) -> list[Any]:
    """The runs, once there are `count` and each of them holds that metric."""
    return _wait(workspace, uri, count, lambda run: name in run.data.metrics)


def _wait(workspace: Path, uri: str | None, count: int, ready: Callable[[Any], bool]) -> list[Any]:
    deadline = time.monotonic() + 90
    while len(found := runs(workspace, uri)) < count or not all(map(ready, found)):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: "subprocess.Popen[Any]") -> None:
    """Wait until `process` listens on a port of 127.0.0.1."""
    deadline = time.monotonic() + 90
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, "the server did not start"
        assert process.poll() is None, "the server has ended"
        time.sleep(0.1)


@contextmanager
def mlflow_server(
    folder: Path, backend: str | None = None, *options: str, **environment: str
) -> Iterator[tuple[str, Callable[[], None]]]:
    """A real `mlflow server` on a free port of 127.0.0.1, with further `options` and variables of
    its `environment`; yields its address and a function that kills it.
    """
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
            "--backend-store-uri",
            backend or f"sqlite:///{folder / 'server.db'}",
            "--artifacts-destination",
            str(folder / "server-artifacts"),
            *options,
        ],
        env={
            **os.environ,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            **environment,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def stop() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}", stop
    finally:
        stop()
