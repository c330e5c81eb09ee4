"""Stages, `dvc` and experiments that are killed: the next run goes on where they stood.

In process, and step by step: tests/unit/training/test_resume.py. At random moments of the whole
pipeline: benchmarks/kill.py.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen
from typing import Any

import psutil
import pytest

from splade_sts import layout
from splade_sts.files import read_json
from splade_sts.training import checkpoints
from tests.support.commands import SUPPORT, dvc, run, stage, start
from tests.support.projects import commit, copy_project, set_params

pytestmark = pytest.mark.xdist_group("kill")
TRAINED = (layout.evidence("train"), layout.VALIDATION_CURVE, layout.TRAINING_CURVE)


@pytest.fixture(scope="module")
def long_training(project, tmp_path_factory) -> Path:
    """A copy of the project whose training has 80 steps, and has not run."""
    folder = copy_project(project, tmp_path_factory.mktemp("long") / "project")
    changes = {"epochs": 10.0, "batch_size": 4, "eval_steps": 10, "checkpoint_steps": 7}
    names = {f"train__{name}": value for name, value in changes.items()}
    set_params(folder, **names, track__enabled=False)
    commit(folder, "longer training")
    return folder


@pytest.fixture(scope="module")
def calm(long_training, tmp_path_factory) -> dict[str, bytes]:
    """What the undisturbed training writes."""
    folder = copy_project(long_training, tmp_path_factory.mktemp("calm") / "project")
    stage(folder, "train", check=True)
    return outputs(folder)


@pytest.fixture
def copy(long_training, tmp_path) -> Path:
    return copy_project(long_training, tmp_path / "project")


def outputs(project: Path) -> dict[str, bytes]:
    """What the training writes, by path."""
    model = [path for path in (project / layout.model("finetuned")).rglob("*") if path.is_file()]
    files = [*model, *(project / path for path in (*TRAINED, layout.VALIDATION_CURVE))]
    return {str(path.relative_to(project)): path.read_bytes() for path in files}


def begun(project: Path) -> set[Path]:
    """The checkpoints that are there, whole or not."""
    return set((project / layout.CHECKPOINTS).glob("*/checkpoint-*"))


def whole(project: Path) -> set[Path]:
    """The checkpoints that were written to their end."""
    return {path for path in begun(project) if (path / checkpoints.CONTENTS).exists()}


def trainer(project: Path) -> int:
    """The process that trains: it holds the lock on its checkpoints."""
    (lock,) = (project / layout.CHECKPOINTS).glob(f"*/{checkpoints.LOCK}")
    return int(lock.read_text())


def wait_for(
    found: Callable[[], Any], process: Popen[str] | None = None, pause: float = 0.002
) -> Any:
    """What `found` gives once it gives something, while `process` runs; asked every `pause`."""
    deadline = time.monotonic() + 120
    while not (value := found()):
        assert time.monotonic() < deadline, "waited for too long"
        if process is not None and process.poll() is not None:
            pytest.fail(f"ended with {process.returncode}: {process.communicate()[0]}")
        time.sleep(pause)
    return value


def test_killed_stage_and_killed_dvc(copy, calm):
    """SIGKILL as a checkpoint is written, SIGTERM, Ctrl-C, and dvc killed above its stage."""
    seen: set[Path] = set()
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        resumes = bool(whole(copy))
        process = start(["python", "-m", "stages.train"], copy, stderr=STDOUT)
        seen |= wait_for(lambda: begun(copy) - seen, process)  # noqa: B023  # at once
        os.kill(trainer(copy), number)
        output = process.communicate(timeout=60)[0]
        assert process.returncode == {signal.SIGINT: 130}.get(number, -number), output
        assert ("resuming from" in output) == resumes
    above = start([sys.executable, "-m", "dvc", "repro", "train"], copy, stderr=STDOUT)
    wait_for(lambda: begun(copy) - seen, above)
    above.kill()
    # as docs/reliability.md says, in case the kill came while it was written
    (copy / ".dvc/tmp/rwlock").write_text("{}")
    done = dvc(copy, "repro", "train")  # waits for the orphan, or takes up what it left
    assert "resuming from" in done.stdout
    assert outputs(copy) == calm
    above.communicate()
    assert " M dvc.lock" in run(["git", "status", "--short"], copy).stdout
    assert "??" not in run(["git", "status", "--short"], copy).stdout


TOGETHER = "torchrun --standalone --nproc-per-node 2"


def test_several_processes(copy, tmp_path):
    """Where the first of two is killed, both end, and the next run goes on; where torchrun is, they
    go on without it, and the next run waits. What comes out is what the two give undisturbed.

    Another launcher runs the training again. Either of the two, at random moments:
    benchmarks/kill.py.
    """
    python = {"PYTHON_EXEC": str(SUPPORT / "bin" / "python")}  # torchrun's name for its Python
    repro = [sys.executable, "-m", "dvc", "repro", "train"]
    undisturbed = copy_project(copy, tmp_path / "undisturbed")
    dvc(undisturbed, "exp", "run", "-S", f"train.launcher={TOGETHER}", "train", **python)
    expected = outputs(undisturbed)
    assert read_json(undisturbed / layout.evidence("train"))["processes"] == 2
    assert "up to date" in dvc(undisturbed, "status", "train").stdout
    set_params(undisturbed, train__launcher="python")
    assert "train.launcher" in dvc(undisturbed, "status", "train").stdout

    set_params(copy, train__launcher=TOGETHER)
    seen: set[Path] = set()
    process = start(repro, copy, environment=python, stderr=STDOUT)
    seen |= wait_for(lambda: whole(copy) - seen, process)
    os.kill(trainer(copy), signal.SIGKILL)
    output = process.communicate(timeout=60)[0]
    assert process.returncode, output
    assert working_in(copy) == []
    process = start(repro, copy, environment=python, stderr=STDOUT)
    wait_for(lambda: whole(copy) - seen, process)
    # not a shell above it, whose third argument is the whole command
    (above,) = [one for one in working_in(copy) if "torchrun" in " ".join(one.cmdline()[:2])]
    above.kill()
    assert process.wait(60)
    dvc(copy, "repro", "train", **python)
    output = process.communicate(timeout=60)[0]
    assert "resuming from" in output
    assert "best step" in output
    assert outputs(copy) == expected


def test_no_checkpoints_are_left(project):
    """Once DVC has a training's outputs, its checkpoints are gone."""
    assert list((project / layout.CHECKPOINTS).iterdir()) == []


@pytest.fixture
def queue(copy) -> Iterator[Path]:
    """A project; afterwards no worker of DVC's queue is left in it."""
    try:
        yield copy
    finally:
        dvc(copy, "queue", "stop", "--kill", check=False)
        _, left = psutil.wait_procs(working_in(copy), timeout=60)
        for process in left:
            process.kill()
        assert not left, "workers outlived `dvc queue stop --kill`"


def working_in(folder: Path) -> list[psutil.Process]:
    """All processes whose working directory lies in `folder`."""
    found = psutil.process_iter(["cwd"])
    return [one for one in found if Path(one.info["cwd"] or "/").is_relative_to(folder)]


def enqueue(project: Path, name: str) -> None:
    """Queue the training as an experiment, and start a worker without a pipe that it would keep."""
    dvc(project, "exp", "run", "--queue", "-n", name, "train")
    streams = {"stdin": DEVNULL, "stdout": DEVNULL, "stderr": DEVNULL}
    assert start(["python", "-m", "dvc", "queue", "start"], project, **streams).wait(60) == 0


def test_killed_experiments(queue, calm):
    """A `--temp` experiment is killed whole; a queued one goes on, and its stage is killed.

    The queue then says Failed. Queued again, the training gives what it gives undisturbed. All
    three find the same checkpoints, through the project's root.
    """
    before = outputs(queue)
    command = ["python", "-m", "dvc", "exp", "run", "--temp", "-n", "killed", "train"]
    temporary = start(command, queue, stderr=STDOUT)
    first = wait_for(lambda: whole(queue), temporary)
    for process in [*working_in(queue), temporary]:
        process.kill()
    temporary.communicate()

    enqueue(queue, "resumed")
    wait_for(lambda: whole(queue) - first)
    os.kill(trainer(queue), signal.SIGKILL)
    wait_for(lambda: "Failed" in dvc(queue, "queue", "status").stdout, pause=0.5)
    assert "resuming from" in dvc(queue, "queue", "logs", "resumed").stdout

    enqueue(queue, "again")
    wait_for(lambda: "Success" in dvc(queue, "queue", "status").stdout, pause=0.5)
    assert "resuming from" in dvc(queue, "queue", "logs", "again").stdout
    assert outputs(queue) == before
    dvc(queue, "exp", "apply", "again")
    assert outputs(queue) == calm
