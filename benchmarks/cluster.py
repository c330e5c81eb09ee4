"""A sweep on a Ray cluster while nodes, the network and the one who asked for it go away.

    python -m benchmarks.cluster [--experiments 8] [--store ssh --store s3] [--away 60]
                                 [--json FILE]

Everything is real and on this machine: a head and two nodes with a core each, whose caches and
object stores are their own; a bare Git repository behind an sshd; data behind another sshd, or
behind moto's S3 server; an MLflow server with PostgreSQL, to which the nodes write. In the middle
of the sweep, one after another, a node is killed with all its processes (another one joins), the
branch is moved to a commit that does not hold the old one, Git's sshd is away for a minute, and the
sweep itself is killed and typed again. Then every experiment is compared with that of a sequential
sweep, and MLflow is asked for its runs.

Needs requirements-cluster.txt, moto[s3,server] 5.2.5, and as root Debian's openssh-server and
postgresql.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common import machine, write
from benchmarks.tiny import environment, make_encoder, make_project

TRAIN = {"batch_size": 8, "epochs": 2.0, "eval_steps": 4, "logging_steps": 2, "threads": 1}
PATIENCE = 1500.0
# After how many experiments are handed in each thing happens.
KILL, MOVE, AWAY, INTERRUPT = 1, 3, 4, 6
SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/host_key
AuthorizedKeysFile {home}/.ssh/key.pub
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
"""
SSH = """
Host 127.0.0.1
  IdentityFile {home}/.ssh/key
  IdentitiesOnly yes
  UserKnownHostsFile {home}/.ssh/known_hosts
"""


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Wait until somebody listens at a port."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"nobody listens at port {port}")


@dataclass
class Bench:
    """What runs here, the folder it runs in, and what happened when."""

    folder: Path
    environment: dict[str, str] = field(default_factory=environment)
    running: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def happened(self, what: str) -> None:
        """Print and keep an event."""
        seconds = round(time.monotonic() - self.started, 1)
        self.events.append({"seconds": seconds, "event": what})
        print(f"{seconds:7.1f} s  {what}", flush=True)

    def start(
        self, command: list[str], log: str, more: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start a process whose output goes to a file of that name."""
        with (self.folder / log).open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**self.environment, **(more or {})},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def run(self, command: list[str], folder: Path, check: bool = True) -> str:
        """What a command prints."""
        done = subprocess.run(
            command, cwd=folder, env=self.environment, capture_output=True, text=True
        )
        if check and done.returncode:
            raise RuntimeError(
                f"{' '.join(command)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            )
        return done.stdout

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        """Kill a process and all that it has started, at once, as a power cut does."""
        with contextlib.suppress(psutil.NoSuchProcess):
            above = psutil.Process(process.pid)
            for one in [above, *above.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        process.wait()


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """A bench whose processes are gone after the block."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: paths of sockets lie below it
    made = Bench(folder)
    try:
        yield made
    finally:
        for process in reversed(made.running):
            made.kill(process)
        shutil.rmtree(folder, ignore_errors=True)


def make_keys(made: Bench) -> Path:
    """A home with a throw-away key, a host key, and settings for both of Git's SSH clients."""
    home = made.folder / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    for name in ("host_key", ".ssh/key"):
        made.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)], home)
    config = home / ".ssh" / "config"
    config.write_text(SSH.format(home=home))
    made.environment |= {"HOME": str(home), "GIT_SSH_COMMAND": f"ssh -F {config}"}
    return home


def start_sshd(made: Bench, home: Path, port: int) -> "subprocess.Popen[bytes]":
    """An sshd at a port of this machine."""
    config = home / f"sshd-{port}"
    config.write_text(SSHD.format(port=port, home=home))
    Path("/run/sshd").mkdir(exist_ok=True)
    process = made.start(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], f"sshd-{port}.log")
    wait_for(port)
    key = (home / "host_key.pub").read_text()
    known = home / ".ssh" / "known_hosts"
    line = f"[127.0.0.1]:{port} {key}"
    if not known.exists() or line not in known.read_text():
        with known.open("a") as file:
            file.write(line)
    return process


def add_store(made: Bench, home: Path, project: Path, kind: str) -> None:
    """A server for data, and a default DVC remote that names it."""

    def dvc(*arguments: str) -> None:
        made.run([sys.executable, "-m", "dvc", *arguments], project)

    port = free_port()
    if kind == "ssh":
        start_sshd(made, home, port)
        (made.folder / "store").mkdir()
        dvc("remote", "add", "-d", "store", f"ssh://root@127.0.0.1:{port}{made.folder}/store")
        dvc("remote", "modify", "store", "keyfile", str(home / ".ssh" / "key"))
        dvc("remote", "modify", "store", "allow_agent", "false")
    else:
        made.environment |= {
            "AWS_ACCESS_KEY_ID": "throw-away",
            "AWS_SECRET_ACCESS_KEY": "throw-away",
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
        }
        made.start([sys.executable, "-m", "moto.server", "-p", str(port)], "moto.log")
        wait_for(port)
        address = f"http://127.0.0.1:{port}"
        create = f"import boto3; boto3.client('s3', endpoint_url='{address}')"
        made.run([sys.executable, "-c", f"{create}.create_bucket(Bucket='bench')"], project)
        dvc("remote", "add", "-d", "store", "s3://bench/store")
        dvc("remote", "modify", "store", "endpointurl", address)


def start_mlflow(made: Bench) -> str:
    """An MLflow server whose runs PostgreSQL holds; its address."""
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"))
    data, port, address = made.folder / "postgres", free_port(), free_port()
    data.mkdir()
    shutil.chown(data, "postgres")  # it refuses to run as root
    made.folder.chmod(0o755)
    become = ["runuser", "-u", "postgres", "--"]
    made.run([*become, f"{binaries}/initdb", "-D", str(data), "-U", "bench", "-A", "trust"], data)
    made.start(
        [*become, f"{binaries}/postgres", "-D", str(data), "-p", str(port), "-k", str(data)],
        "postgres.log",
    )
    wait_for(port)
    server = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    server += ["--port", str(address), "--artifacts-destination", str(made.folder / "artifacts")]
    server += ["--backend-store-uri", f"postgresql+psycopg2://bench@127.0.0.1:{port}/postgres"]
    made.start(server, "mlflow.log", {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})
    wait_for(address)
    return f"http://127.0.0.1:{address}"


def mlflow_runs(uri: str) -> dict[str, Any]:
    """How many runs an MLflow server has by status, and how often each name is complete."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = client.search_runs(experiments)
    whole = Counter(
        run.info.run_name for run in runs if run.data.tags.get("splade_sts.complete") == "true"
    )
    return {
        "status": dict(Counter(run.info.status for run in runs)),
        "complete": dict(sorted(whole.items())),
    }


def start_node(
    made: Bench, name: str, options: list[str], more: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """A node of the cluster with a cache and an object store of its own."""
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block"]
    command += ["--node-ip-address", "127.0.0.1", "--object-store-memory", "80000000"]
    own = {
        **more,
        "XDG_CACHE_HOME": str(made.folder / "caches" / name),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    return made.start(
        [*command, "--temp-dir", str(made.folder / name), *options], f"{name}.log", own
    )


def refs(made: Bench, folder: Path) -> dict[str, str]:
    """The experiments in a repository: the trees that they are, by name."""
    form = "--format=%(tree) %(refname:lstrip=4)"
    lines = made.run(["git", "for-each-ref", form, "refs/exps/*/*/*"], folder).splitlines()
    return {name: tree for tree, name in (line.split(" ") for line in lines)}


def sweep(
    made: Bench, folder: Path, count: int, more: Mapping[str, str], *options: str
) -> "subprocess.Popen[bytes]":
    """Start a sweep over seeds."""
    seeds = ",".join(map(str, range(1, count + 1)))
    command = ["env", "-C", str(folder), sys.executable, "-m", "splade_sts", "sweep"]
    return made.start([*command, f"train.seed={seeds}", *options], f"{folder.name}.log", more)


def measure(kind: str, count: int, away: float) -> dict[str, Any]:
    """One sweep with data behind an sshd or an S3 server; what happened and what came out."""
    with bench() as made:
        project, origin = made.folder / "project", made.folder / "origin"
        home, port = make_keys(made), free_port()
        make_project(project, make_encoder(made.folder / "encoder"), TRAIN)
        server = start_sshd(made, home, port)
        made.run(["git", "init", "-q", "--bare", "-b", "main", str(origin)], made.folder)
        made.run(["git", "branch", "-M", "main"], project)
        url = f"ssh://root@127.0.0.1:{port}{origin}"
        made.run(["git", "remote", "add", "origin", url], project)
        made.run(["dvc", "repro", "-q"], project)
        add_store(made, home, project, kind)
        made.run(["git", "add", "-A"], project)
        made.run(["git", "commit", "-qm", "a run"], project)
        made.run(["git", "push", "-q", "origin", "main"], project)
        made.run(["dvc", "push", "-q"], project)
        alone = shutil.copytree(project, made.folder / "alone", symlinks=True)

        made.started = time.monotonic()
        if sweep(made, alone, count, {}).wait():
            raise RuntimeError((made.folder / "alone.log").read_text()[-4000:])
        sequential = time.monotonic() - made.started
        expected = refs(made, alone)

        ray_port = free_port()
        head = ["--head", "--port", str(ray_port), "--num-cpus", "0", "--include-dashboard=false"]
        tracking = start_mlflow(made)
        shown = {"MLFLOW_TRACKING_URI": tracking}
        start_node(made, "head", [*head, "--ray-client-server-port", str(free_port())], shown)
        wait_for(ray_port)
        join = ["--address", f"127.0.0.1:{ray_port}", "--num-cpus", "1"]
        nodes = [start_node(made, name, join, shown) for name in ("one", "two")]
        time.sleep(10)
        options = ("--ray", f"127.0.0.1:{ray_port}")
        made.started = time.monotonic()
        made.happened(f"a sweep of {count} experiments starts on two nodes")
        asked, seen, back = sweep(made, project, count, shown, *options), 0, 0.0
        while asked.poll() is None or seen < count:
            if time.monotonic() - made.started > PATIENCE:
                raise RuntimeError((made.folder / "project.log").read_text()[-6000:])
            time.sleep(0.3)
            if back and time.monotonic() > back:
                server, back = start_sshd(made, home, port), 0.0
                made.happened("Git's sshd is back")
            found = len(refs(made, origin))
            if asked.poll() is not None and found < count:
                raise RuntimeError((made.folder / "project.log").read_text()[-6000:])
            while seen < found:
                seen += 1
                made.happened(f"{seen} of {count} handed in")
                if seen == KILL:
                    made.kill(nodes[0])
                    start_node(made, "three", join, shown)
                    made.happened("a node is killed; another one joins")
                elif seen == MOVE:
                    for command in (
                        ["commit", "-q", "--amend", "--allow-empty", "-m", "another one"],
                        ["push", "-qf", "origin", "main"],
                        ["reset", "-q", "--hard", "HEAD@{1}"],
                    ):
                        made.run(["git", *command], project)
                    made.happened("the branch is moved away from the commit")
                elif seen == AWAY:
                    made.kill(server)
                    back = time.monotonic() + away
                    made.happened("Git's sshd goes away")
                elif seen == INTERRUPT:
                    made.kill(asked)
                    asked = sweep(made, project, count, shown, *options)
                    made.happened("the sweep is killed and typed again")
        made.happened("the sweep has ended")
        if asked.returncode:
            raise RuntimeError((made.folder / "project.log").read_text()[-6000:])
        return {
            "store": kind,
            **compared(made, expected, refs(made, project), refs(made, origin)),
            "sequential_seconds": round(sequential, 1),
            "mlflow": mlflow_runs(tracking),
            "said": said((made.folder / "project.log").read_text()),
            "events": made.events,
        }


def compared(
    made: Bench, expected: Mapping[str, str], here: Mapping[str, str], there: Mapping[str, str]
) -> dict[str, Any]:
    """Whether all experiments are there, and what of their files differs from the sequential
    sweep's.
    """
    both = made.folder / "project"
    made.run(["git", "fetch", "-q", str(made.folder / "alone"), "+refs/exps/*:refs/alone/*"], both)
    differ: set[str] = set()
    for name in expected.keys() & here.keys():
        changed = made.run(["git", "diff", "--name-only", expected[name], here[name]], both)
        differ |= set(changed.splitlines())
    return {
        "expected": len(expected),
        "here": len(here),
        "on_git_remote": len(there),
        "equal": sum(expected[name] == here.get(name) for name in expected),
        "files_that_differ": sorted(differ),
    }


def said(log: str) -> dict[str, int]:
    """How often the sweep's output says what."""
    return {
        "runs started": len(re.findall(r"\$ dvc exp run", log)),
        "tries again": len(re.findall("trying again in", log)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=8)
    parser.add_argument("--store", action="append", choices=["ssh", "s3"])
    parser.add_argument("--away", type=float, default=60, help="seconds without Git's sshd")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = []
    for kind in arguments.store or ["ssh", "s3"]:
        print(f"data over {kind}", flush=True)
        rows.append(measure(kind, arguments.experiments, arguments.away))
        print({key: value for key, value in rows[-1].items() if key != "events"}, flush=True)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        versions = {name: version(name) for name in ("ray", "dvc-ssh", "dvc-s3")}
        write(arguments.json, {"machine": {**machine(), **versions}, "sweeps": rows})


if __name__ == "__main__":
    main()
