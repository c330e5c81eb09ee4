"""A sweep whose experiments run at once, each in a clone of its own: on this machine, or on those
of a Ray cluster.
"""

import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

import splade_sts
from splade_sts import layout
from splade_sts.errors import UserError, without_secrets
from splade_sts.git import below_top, git
from splade_sts.runs.experiment import (
    Place,
    Task,
    cache_folder,
    check_remote,
    dvc_setting,
    fetch_commit,
    remote_url,
    run_experiment,
    workdir,
)
from splade_sts.runs.sweep import Planned, missing, share_of_cores

# How often a task is started again when the machine that runs it is lost.
RETRIES = 3
# Seconds within which somebody has to answer at the address of a cluster.
ANSWER = 10.0


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what each experiment gets of it.

    Attributes:
        address: `HOST:PORT` on a machine of the cluster, `ray://HOST:PORT` from outside, or `auto`.
        cpus: of each experiment; it computes with as many threads.
        gpus: of each experiment.
    """

    address: str
    cpus: float = 1
    gpus: float = 0


@dataclass(frozen=True)
class Remotes:
    """How work and data come to the machines and back.

    Attributes:
        git: a Git remote's name or URL.
        dvc: a DVC remote's name; None for the default one.
        workdir: see `splade_sts.runs.experiment.workdir`; a folder of each machine.
        patience: see `Place`.
    """

    git: str = "origin"
    dvc: str | None = None
    workdir: str | None = None
    patience: float = 300


def run_on_ray(
    root: Path, planned: Sequence[Planned], cluster: Cluster, remotes: Remotes, progress: TextIO
) -> list[str]:
    """Run those of the experiments that neither this repository nor the Git remote has on a Ray
    cluster, and bring all of them here.

    Returns:
        The names of the experiments that are not here afterwards.

    Raises:
        UserError: Ray is not installed, the cluster does not answer, what is here is not what the
            machines would get, a remote is missing, or an experiment of a name is another one.
    """
    ray = _ray()
    check_committed(root)
    url = remote_url(root, remotes.git)
    check_remote(
        remotes.dvc or dvc_setting(root, "core.remote", "--project"),
        (root / ".dvc" / "config").read_text(encoding="utf-8"),
    )
    tasks = _tasks(root, missing(root, planned), url, dvc_remote=remotes.dvc)
    here = Place(workdir(remotes.workdir), remotes.patience, progress)
    if tasks:
        check_commit(url, tasks[0].commit)
        there = _handed_in(root, tasks, here)
        if work := [task for task in tasks if task.ref not in there]:
            with _connected(ray, cluster, progress):
                _work_through(ray, cluster, work, remotes, here)
        if there := _handed_in(root, tasks, here):
            here.patiently(lambda: _pull(root, url, remotes.dvc, there, progress))
    return [one.name for one in missing(root, planned)]


def run_at_once(root: Path, planned: Sequence[Planned], jobs: int, progress: TextIO) -> list[str]:
    """Run those of the experiments that are not there yet on this machine, `jobs` at a time.

    Each has its share of the cores; `train.threads` stays in charge of the training. They use the
    cache of this project, and no remote.

    Returns:
        The names of the experiments that are not there afterwards.

    Raises:
        UserError: something is not committed, or an experiment of a name is another one.
    """
    check_committed(root)
    home, top = root / layout.SWEEP, git(root, "rev-parse", "--show-toplevel")
    (home / "logs").mkdir(parents=True, exist_ok=True)
    tasks = _tasks(root, missing(root, planned), top, cache=cache_folder(root))

    def work(task: Task) -> None:
        log = home / "logs" / f"{task.name}.log"
        print(f"{task.name} runs; its output goes to {log}", file=progress, flush=True)
        with log.open("w", encoding="utf-8") as output:
            place = Place(home, 10, output, tuple(share_of_cores(jobs).items()))
            try:
                run_experiment(task, place)
            except UserError as error:
                output.flush()
                end = "\n".join(log.read_text(encoding="utf-8").splitlines()[-20:])
                print(f"{end}\n{task.name}: {error}", file=progress, flush=True)
            else:
                print(f"{task.name} is done", file=progress, flush=True)

    pool = ThreadPoolExecutor(jobs)
    try:
        list(pool.map(work, tasks))
    finally:  # after Ctrl-C nothing new starts
        pool.shutdown(cancel_futures=True)
    return [one.name for one in missing(root, planned)]


def _tasks(root: Path, planned: Sequence[Planned], url: str, **how: str | None) -> list[Task]:
    head, folder = git(root, "rev-parse", "HEAD"), below_top(root)
    return [Task(head, one.name, tuple(one.overrides), url, folder, **how) for one in planned]


def check_committed(root: Path) -> None:
    """Check that the commit is what is in the workspace: clones get nothing else.

    Raises:
        UserError: names the files that differ.
    """
    if changed := git(root, "status", "--porcelain", "--untracked-files=no", "--", "."):
        raise UserError(
            f"not committed, so the experiments would run without it:\n{changed}\ncommit it, or "
            "put it away with git stash"
        )


def check_commit(url: str, commit: str) -> None:
    """Check that machines will get a commit from a Git remote, in a repository without it.

    Raises:
        UserError: they will not, or the remote does not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder)
        git(empty, "init", "--quiet", "--bare")
        try:
            fetch_commit(empty, url, commit)
        except UserError as error:
            raise UserError(
                f"{without_secrets(url)} does not answer, or does not have the commit {commit}: "
                f"{error}\ngit push it first"
            ) from None


def _handed_in(root: Path, tasks: Sequence[Task], here: Place) -> list[str]:
    """The refs of those tasks that the Git remote has."""
    url, refs = tasks[0].git_remote, [task.ref for task in tasks]
    lines = here.patiently(lambda: git(root, "ls-remote", url, *refs)).splitlines()
    return [line.split("\t")[1] for line in lines]


def _pull(root: Path, url: str, remote: str | None, refs: Sequence[str], progress: TextIO) -> None:
    """Fetch experiments and their data: the refs with Git's own client, as machines push them. What
    DVC then pulls from this repository itself are the data.

    Raises:
        UserError: a remote does not answer or lacks something.
    """
    git(root, "fetch", "--quiet", url, *(f"{ref}:{ref}" for ref in refs))
    top, options = git(root, "rev-parse", "--show-toplevel"), ["-r", remote] if remote else []
    command = [sys.executable, "-m", "dvc", "exp", "pull", *options, top, *refs]
    if subprocess.run(command, cwd=root, stdout=progress, stderr=progress).returncode:
        raise UserError("dvc exp pull failed; the output is above")


def _ray() -> Any:
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # it would leave out what two machines both say
    try:
        import ray
    except ImportError:
        raise UserError(
            "--ray needs the package ray, here and on the machines of the cluster: "
            "python -m pip install -r requirements-cluster.txt"
        ) from None
    return ray


@contextmanager
def _connected(ray: Any, cluster: Cluster, progress: TextIO) -> Iterator[None]:
    """Within the block Ray works with a cluster, and what its tasks print goes to `progress`.

    Raises:
        UserError: the cluster does not answer.
    """
    check_answers(cluster.address)
    # the machines need the packages, but not this project
    own = {"py_modules": [str(Path(splade_sts.__file__).parent)]}
    with redirect_stdout(progress):
        try:
            ray.init(cluster.address, runtime_env=own, logging_level=logging.WARNING)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"no Ray cluster at {cluster.address}: {error}") from None
        try:
            yield
        finally:
            ray.shutdown()


def check_answers(address: str) -> None:
    """Check that somebody listens at the address of a cluster; Ray itself would try for minutes.

    Raises:
        UserError: nobody does.
    """
    if address == "auto":
        return
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    try:
        if not parts.hostname or not parts.port:
            raise OSError("expected HOST:PORT, ray://HOST:PORT or auto")
        with socket.create_connection((parts.hostname, parts.port), ANSWER):
            return
    except (OSError, ValueError) as error:
        raise UserError(f"no Ray cluster at {address}: {error}") from None


def _work_through(
    ray: Any, cluster: Cluster, tasks: Sequence[Task], remotes: Remotes, here: Place
) -> None:
    """Have the cluster run the tasks; say what became of each."""
    wants = {"CPU": cluster.cpus, "GPU": cluster.gpus}
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(one.get(what, 0) >= wants[what] for what in wants) for one in machines):
        here.say(
            f"no machine of the cluster has {cluster.cpus:g} CPUs and {cluster.gpus:g} GPUs now; "
            "waiting for one"
        )
    remote: Any = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=RETRIES)(
        on_machine
    )
    names = {remote.remote(task, remotes.workdir, remotes.patience): task.name for task in tasks}
    waiting = list(names)
    while waiting:
        (done,), waiting = ray.wait(waiting)
        try:
            problem = ray.get(done)
        except ray.exceptions.RayError as error:
            problem = str(error)
        here.say(
            f"{names[done]}: {problem or 'done'} ({len(names) - len(waiting)} of {len(names)})"
        )


def on_machine(task: Task, named: str | None, patience: float) -> str | None:
    """`run_experiment` as a task of Ray: what went wrong comes back as text."""
    try:
        run_experiment(task, Place(workdir(named), patience, sys.stdout))
    except UserError as error:
        return without_secrets(str(error))
    return None
