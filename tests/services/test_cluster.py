"""A sweep on a real Ray cluster, each node a process of `ray start` with a cache of its own."""

import importlib.util
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.commands import dvc, run, splade_sts, start
from tests.support.processes import free_port
from tests.support.projects import commit, copy_project

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="no ray (requirements-cluster.txt)"
    ),
]
RAY = [str(Path(sys.executable).with_name("ray")), "start", "--node-ip-address", "127.0.0.1"]
RAY += ["--object-store-memory", "80000000", "--block"]


def end(node: "subprocess.Popen[str]") -> None:
    """End a node with everything that runs on it, as a machine that is switched off."""
    try:
        tree = [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]
    except psutil.NoSuchProcess:
        return
    for process in tree:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    node.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster whose head runs nothing, with one other node of two cores."""
    port, nodes = free_port(), []
    head = ["--head", "--port", str(port), "--num-cpus", "0", "--include-dashboard", "false"]
    short = Path(tempfile.mkdtemp(prefix="ray-"))  # paths of sockets are short
    other = ["--address", f"127.0.0.1:{port}", "--num-cpus", "2"]
    try:
        for name, options in (
            ("head", [*head, "--ray-client-server-port", str(free_port())]),
            ("node", other),
        ):
            log = (tmp_path / f"{name}.log").open("w+")
            environment = {"XDG_CACHE_HOME": str(tmp_path / name), "RAY_USAGE_STATS_ENABLED": "0"}
            command = [*RAY, *options, "--temp-dir", str(short / name)]
            nodes.append(
                start(command, tmp_path, True, environment, stdout=log, stderr=subprocess.STDOUT)
            )
            deadline = time.monotonic() + 60
            while "now block forever" not in (tmp_path / f"{name}.log").read_text():
                assert nodes[-1].poll() is None, (tmp_path / f"{name}.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        for node in reversed(nodes):
            end(node)
        shutil.rmtree(short)


def test_a_sweep_on_a_cluster(project: Path, tmp_path: Path, cluster: str) -> None:
    """What is neither here nor on the Git remote runs on the cluster, and all of it comes here;
    typed again, nothing runs; a failure is named, with its output.
    """
    folder = copy_project(project, tmp_path / "project")
    run(["git", "init", "-q", "--bare", str(tmp_path / "git")], tmp_path)
    run(["git", "remote", "add", "origin", str(tmp_path / "git")], folder)
    sweep = ("sweep", "compare.changed_pairs=3,4", "--ray", cluster, "--json", "--patience", "20")
    for message in ("no default DVC remote", "not committed", "does not have the commit"):
        refused = splade_sts(folder, *sweep)
        assert refused.returncode == 1
        assert message in refused.stderr
        if message == "no default DVC remote":
            dvc(folder, "remote", "add", "-d", "store", str(tmp_path / "store"))
        elif message == "not committed":
            commit(folder, "a remote")
    run(["git", "push", "-q", "origin", "HEAD"], folder)
    dvc(folder, "push")

    done = splade_sts(folder, *sweep)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)
    assert re.search(r"changed_pairs-\d: done \(2 of 2\)", done.stderr)
    assert (tmp_path / "node/splade-sts/experiments/cache/files").is_dir()
    refs = ["git", "for-each-ref", "--format=%(objectname) %(refname:lstrip=4)", "refs/exps"]
    here, there = (run(refs, place).stdout.split("\n") for place in (folder, tmp_path / "git"))
    assert set(there) <= set(here)
    assert {line.split()[1] for line in there if line} == {"changed_pairs-3", "changed_pairs-4"}

    again = splade_sts(folder, *sweep, check=True)
    assert "changed_pairs-3 is there already" in again.stderr
    assert "dvc exp run" not in again.stderr

    failed = splade_sts(folder, "sweep", "data.path=data/nowhere", *sweep[2:])
    assert failed.returncode == 1
    assert "experiment path-data_nowhere failed; the output is above (1 of 1)" in failed.stderr
    assert "1 of 1 experiments failed: path-data_nowhere" in failed.stderr
