"""A training that is killed and resumed ends with the bytes of one that was not; checkpoints that are not whole do not count."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
from ruamel.yaml import YAML

from splade_sts.training import checkpoints
from splade_sts.training import trainer as training
from splade_sts.model.encoder import load_encoder
from splade_sts.errors import UserError
from splade_sts.files import locked, replacing, write_json
from splade_sts.training.trainer import finetune
from tests import conftest
from tests.conftest import ROOT, dvc, run, set_params, user_environment

NOBODY = 65534
# A background job of a shell ignores Ctrl-C, and what it starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
train_params = partial(conftest.train_params, epochs=2.5, learning_rate=1e-3, logging_steps=3, checkpoint_steps=2)


class Killed(BaseException):
    """Stands for a kill at the point where it is raised; nothing catches it."""


def killed_in_step(step: int):
    """A `training_step` that dies in step `step` (from 1)."""
    original = training.RecordingTrainer.training_step

    def training_step(self, *args, **kwargs):
        if self.state.global_step + 1 == step:
            raise Killed
        return original(self, *args, **kwargs)

    return training_step


def result(tiny_splade, pairs, settings, folder=None) -> tuple:
    points = []
    model, trainer, summary = finetune(
        load_encoder(tiny_splade), pairs, pairs, settings, lambda kind, point: points.append((kind, point)), folder
    )
    weights = {name: value.clone() for name, value in model[0].model.state_dict().items()}
    return weights, trainer.training_curve, trainer.validation_curve, summary, points


def assert_same(first: tuple, second: tuple) -> None:
    assert first[1:4] == second[1:4]
    assert sorted(map(str, first[4])) == sorted(map(str, second[4]))
    assert all(torch.equal(first[0][name], second[0][name]) for name in first[0])


@pytest.mark.parametrize("changes", [{}, {"group_by_length": False}, {"precision": "bf16"}, {"checkpoint_steps": 1000}])
def test_resumed_after_every_step(tiny_splade, pairs, tmp_path, monkeypatch, changes):
    """Killed in every third step, over epoch borders, the training ends with the same weights and curves."""
    settings = train_params(**changes)
    whole = result(tiny_splade, pairs, settings)
    assert whole[3]["steps"] == 15
    for step in range(1, 16, 3):
        monkeypatch.setattr(training.RecordingTrainer, "training_step", killed_in_step(step))
        with pytest.raises(Killed):
            finetune(load_encoder(tiny_splade), pairs, pairs, settings, folder_of_checkpoints=tmp_path)
        monkeypatch.undo()
        kept = [int(path.name.rsplit("-", 1)[-1]) for path in checkpoints.complete(tmp_path)]
        assert step - 1 - max(kept, default=0) < settings.checkpoint_steps and len(kept) <= 2
    assert_same(whole, result(tiny_splade, pairs, settings, tmp_path))
    assert_same(whole, result(tiny_splade, pairs, settings, tmp_path))  # all steps done: only the best is loaded


def test_checkpoints_that_are_not_whole(tmp_path):
    """Without a seal, with a file less, or with other bytes: none of them counts, and all are removed."""
    def make(step):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model").write_bytes(b"weights" * step)
        return folder

    whole, unsealed, short, changed = map(make, (9, 10, 20, 100))
    for folder in (whole, short, changed):
        checkpoints.seal(folder)
    (short / "model").unlink()
    (changed / "model").write_bytes(b"weighty" * 100)
    assert checkpoints.complete(tmp_path) == [whole]
    assert not unsealed.exists() and not short.exists() and not changed.exists()
    checkpoints.remove(whole)
    assert checkpoints.complete(tmp_path) == []


def test_a_corrupted_checkpoint_costs_steps_not_the_result(tiny_splade, pairs, tmp_path, monkeypatch):
    """The last checkpoint is damaged: training goes on from an older one, or from the start."""
    settings = train_params()
    whole = result(tiny_splade, pairs, settings)
    monkeypatch.setattr(training.RecordingTrainer, "training_step", killed_in_step(12))
    with pytest.raises(Killed):
        finetune(load_encoder(tiny_splade), pairs, pairs, settings, folder_of_checkpoints=tmp_path)
    monkeypatch.undo()
    last = checkpoints.complete(tmp_path)[-1]
    with open(last / "optimizer.pt", "r+b") as file:
        file.seek(500)
        file.write(b"\0" * 100)
    assert_same(whole, result(tiny_splade, pairs, settings, tmp_path))


def test_the_fingerprint(tmp_path, monkeypatch):
    """Parameters, data, code and threads each give another one; a second look gives the same."""
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {finetune: {cmd: x, deps: [code.py, data]}}")
    Path("code.py").write_text("1")
    Path("data").mkdir()
    Path("data/train").write_text("a")
    facts = {"params": {"seed": 1}, "threads": 2}
    found = [checkpoints.fingerprint("finetune", facts)]
    assert found == [checkpoints.fingerprint("finetune", dict(reversed(facts.items())))]
    found.append(checkpoints.fingerprint("finetune", facts | {"threads": 1}))
    found.append(checkpoints.fingerprint("finetune", facts | {"params": {"seed": 2}}))
    Path("code.py").write_text("2")
    found.append(checkpoints.fingerprint("finetune", facts))
    Path("data/train").write_text("b")
    found.append(checkpoints.fingerprint("finetune", facts))
    assert len(set(found)) == 5


def test_which_checkpoints_are_cleared(tmp_path):
    """Those of trainings that are done and those long given up; never what another process holds."""
    for name in ("done", "recent", "old", "held"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    checkpoints.mark_done(tmp_path / "checkpoints/done", "id")
    for name in ("old", "held"):
        (tmp_path / "checkpoints" / name / "lock").touch()
        os.utime(tmp_path / "checkpoints" / name, (0, 0))
    with checkpoints.reserved(tmp_path, "held"):
        assert checkpoints.clear(tmp_path, "other") == []
        assert [path.name for path in checkpoints.clear(tmp_path)] == ["done", "old"]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["held", "recent"]


def test_a_lock_is_waited_for(tmp_path):
    """The second process says who holds it and goes on when that one is killed; also where the file was deleted."""
    script = (
        "import sys, time; from splade_sts.files import locked\n"
        "with locked(sys.argv[1], 'busy {pid}'): print('in', flush=True); time.sleep(float(sys.argv[2]))"
    )
    def start(seconds):
        return subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "lock"), str(seconds)], cwd=ROOT, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    first = start(60)
    assert first.stdout.readline() == "in\n"
    with pytest.raises(BlockingIOError), locked(tmp_path / "lock", None):
        pass
    second = start(0)
    assert second.stderr.readline() == f"busy {first.pid}\n"
    (tmp_path / "lock").unlink()
    first.kill()
    assert second.communicate(timeout=30)[0] == "in\n"
    first.communicate()


def test_what_a_killed_writer_left(tmp_path):
    """The next writer removes it, be it a file or a folder; the target never holds half of anything."""
    (tmp_path / ".target.tmp").mkdir()
    (tmp_path / ".target.tmp" / "half").touch()
    write_json(tmp_path / "target", {"whole": True})
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    (tmp_path / ".target.tmp").touch()
    with pytest.raises(OSError), replacing(tmp_path / "target") as folder:
        folder.mkdir()
        (folder / "new").touch()
        raise OSError
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MiB, and a function that mounts it again with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder]).returncode:
        pytest.skip("mounting needs root")
    try:
        yield folder, lambda options: subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)  # lazily: weights may still be mapped


@pytest.mark.parametrize("left", [0, 150_000, 300_000])
def test_a_full_disk_in_training(tiny_splade, pairs, small_disk, monkeypatch, left):
    """At a checkpoint, in whichever of its files: one message, the one before stays; with space again, the calm result."""
    disk, _ = small_disk
    settings = train_params(eval_steps=1000, epochs=1.0)
    monkeypatch.setattr(training.RecordingTrainer, "training_step", killed_in_step(4))
    with pytest.raises(Killed):
        finetune(load_encoder(tiny_splade), pairs, pairs, settings, folder_of_checkpoints=disk / "a")
    monkeypatch.undo()
    before = checkpoints.complete(disk / "a")
    assert [path.name for path in before] == ["checkpoint-2"]
    size = sum(path.stat().st_size for path in before[0].rglob("*"))
    assert left < size, "the next checkpoint would fit"
    (disk / "filler").write_bytes(b"x" * (shutil.disk_usage(disk).free - left))
    with pytest.raises(UserError, match="checkpoint of step 4 cannot be written.*free some space"):
        finetune(load_encoder(tiny_splade), pairs, pairs, settings, folder_of_checkpoints=disk / "a")
    assert checkpoints.complete(disk / "a") == before
    (disk / "filler").unlink()
    assert_same(result(tiny_splade, pairs, settings), result(tiny_splade, pairs, settings, disk / "a"))


def test_a_read_only_folder(tiny_splade, pairs, small_disk):
    """The message says what to do."""
    disk, remount = small_disk
    (disk / "c").mkdir()
    remount("ro")
    with pytest.raises(UserError, match="cannot be written.*make the folder writable"):
        finetune(load_encoder(tiny_splade), pairs, pairs, train_params(), folder_of_checkpoints=disk / "c")


def test_a_full_disk_in_a_stage(project, small_disk):
    """normalize without space: one message, no traceback, the old output untouched, nothing half-written."""
    disk, _ = small_disk
    for name in ("stages", "splade_sts", "data/raw", "data/normalized", "params.yaml"):
        source, target = project / name, disk / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    before = {path.name: path.read_bytes() for path in (disk / "data/normalized").iterdir()}
    (disk / "filler").write_bytes(b"x" * shutil.disk_usage(disk).free)
    done = run([sys.executable, "-B", "-m", "stages.normalize"], disk, check=False)
    assert done.returncode == 1 and "No space left" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert {path.name: path.read_bytes() for path in (disk / "data/normalized").iterdir()} == before
    assert [path.name for path in (disk / "data").iterdir() if path.name.startswith(".")] == []


def contents(*folders: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


# Runs a stage once with all rights, so that all modules are imported (the interpreter itself may lie where only root may
# read), then gives everything but one folder to somebody else, becomes that user and runs it again.
AS_NOBODY = """
import importlib, os, shutil, sys
from pathlib import Path
from splade_sts.errors import run_stage
main = importlib.import_module(f"stages.{sys.argv[1]}").main
main()
shutil.rmtree("checkpoints")
os.mkdir("checkpoints")
for path in (Path("."), *Path(".").rglob("*")):
    os.chown(path, int(sys.argv[3]), int(sys.argv[3]), follow_symlinks=False)
os.chown(sys.argv[2], 0, 0)
os.chmod(sys.argv[2], 0o755)
print("without rights", flush=True)
os.setgroups([])
os.setresgid(*[int(sys.argv[3])] * 3)
os.setresuid(*[int(sys.argv[3])] * 3)
run_stage(main)
"""


@pytest.fixture
def open_path():
    """A temporary folder that every user can reach; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(("stage", "closed"), [
    ("normalize", "data"), ("normalize", ".dvc/tmp"), ("finetune", "models"), ("finetune", "metrics"), ("finetune", "checkpoints"),
])
def test_no_permission(project, open_path, stage, closed):
    """A user who may not write to a folder: one message that names it, everything older as it was; then the same result."""
    folder = open_path / "project"
    shutil.copytree(project, folder, symlinks=True, ignore=shutil.ignore_patterns("cache", "checkpoints", "tmp"))
    set_params(folder, tracking__enabled=False)
    (folder / ".dvc/tmp").mkdir()
    (folder / "checkpoints").mkdir()
    kept = [folder / name for name in ("data", "models", "metrics")]
    before = contents(*kept)
    command = [sys.executable, "-B", "-c", AS_NOBODY, stage, closed, str(NOBODY)]
    done = run(command, folder, check=False)
    assert done.returncode == 1 and "without rights" in done.stdout, done.stderr
    message = done.stderr.splitlines()[-1]
    assert message.startswith("error: ") and "Permission denied" in message and closed in message, done.stderr
    assert "make it accessible" in message and "Traceback" not in done.stderr
    assert contents(*kept) == before and not list(folder.glob("*/.*.tmp"))
    os.chown(folder / closed, NOBODY, NOBODY)
    run([sys.executable, "-B", "-m", f"stages.{stage}"], folder)
    assert contents(*kept) == before


@pytest.mark.parametrize("wish", ["torch.empty(2**48)", "bytearray(2**60)", "numpy.empty(2**50)"])
def test_memory_that_runs_out(wish):
    """More than any machine has, asked of PyTorch, Python and NumPy: one message with what to do, no traceback."""
    script = f"import numpy, torch; from splade_sts.errors import run_stage; run_stage(lambda: {wish})"
    done = run([sys.executable, "-c", script], ROOT, check=False)
    assert done.returncode == 1 and done.stderr.startswith("error: not enough memory ("), done.stderr
    assert "make the batches smaller" in done.stderr and done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def long_training(project, tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """A copy of the project whose training has 80 steps, and what the undisturbed `finetune` stage writes there."""
    folder = tmp_path_factory.mktemp("long") / "project"
    shutil.copytree(project, folder, symlinks=True)
    set_params(folder, train__epochs=10.0, train__batch_size=4, train__eval_steps=10, train__checkpoint_steps=7)
    run(["git", "commit", "-qam", "longer training"], folder)
    calm = folder.parent / "calm"
    shutil.copytree(folder, calm, symlinks=True)
    dvc(calm, "repro")
    return folder, outputs(calm)


def outputs(project: Path) -> dict[str, bytes]:
    files = [path for path in (project / "models/finetuned").rglob("*") if path.is_file()]
    files += [project / name for name in ("dvc.lock", *(f"metrics/{n}" for n in ("finetune.json", "training.csv", "validation.csv")))]
    return {str(path.relative_to(project)): path.read_bytes() for path in files}


def start(command: list[str], project: Path) -> subprocess.Popen:
    return subprocess.Popen(command, cwd=project, env=user_environment(), text=True, start_new_session=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for(found, process: subprocess.Popen | None = None, pause: float = 0.002):
    """What `found` gives once it gives something, while `process` runs."""
    deadline = time.monotonic() + 240
    while not (value := found()):
        assert time.monotonic() < deadline, "waited for too long"
        assert process is None or process.poll() is None, f"ended with {process.returncode}: {process.communicate()[0]}"
        time.sleep(pause)
    return value


def test_killed_stage_and_killed_dvc(long_training):
    """kill -9 as a checkpoint is written, SIGTERM, Ctrl-C, and dvc killed above its stage: then `dvc repro` alone."""
    project, expected = long_training
    stage = [sys.executable, "-m", "stages.finetune"]
    folder = project / "checkpoints"
    seen: set[Path] = set()

    def new_checkpoint() -> set[Path]:
        return set(folder.glob("*/checkpoint-*")) - seen

    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        whole = any(map(checkpoints.is_whole, folder.glob("*/checkpoint-*")))
        process = start(stage, project)
        seen |= wait_for(new_checkpoint, process)  # just begun, and not whole yet
        process.send_signal(number)
        output = process.communicate(timeout=60)[0]
        assert process.returncode == {signal.SIGINT: 130}.get(number, -number), output
        assert ("resuming from" in output) == whole
    above = start([sys.executable, "-m", "dvc", "repro"], project)
    seen |= wait_for(new_checkpoint, above)
    above.kill()
    (project / ".dvc/tmp/rwlock").write_text("{}")  # as docs/reliability.md says, in case the kill came while it was written
    done = dvc(project, "repro")  # waits for the orphan, or finds it done: both ways it takes up what it left
    assert "resuming from" in done.stdout
    assert outputs(project) == expected
    assert list(folder.iterdir()) == []
    above.communicate()
    assert " M dvc.lock" in run(["git", "status", "--short"], project).stdout
    assert "??" not in run(["git", "status", "--short"], project).stdout


def test_killed_temp_experiment(long_training):
    """Its checkpoints are found again through the root, by the next `--temp` run of the same parameters."""
    project, _ = long_training
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "-n", "killed", "-S", "train.seed=7"]
    workspace = outputs(project)
    before = set((project / "checkpoints").glob("*"))
    process = start(command, project)
    wait_for(lambda: set((project / "checkpoints").glob("*/checkpoint-*/contents.json")) - {
        path for folder in before for path in folder.glob("*/contents.json")}, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = dvc(project, "exp", "run", "--temp", "-n", "again", "-S", "train.seed=7")
    assert "resuming from" in done.stdout and set((project / "checkpoints").glob("*")) == before
    assert outputs(project) == workspace


def working_in(folder: Path) -> list[psutil.Process]:
    """All processes whose working directory lies in `folder`."""
    found = psutil.process_iter(["cwd", "cmdline"])
    return [process for process in found if Path(process.info["cwd"] or "/").is_relative_to(folder)]


def start_worker(project: Path) -> None:
    """`dvc queue start`, without a pipe that its worker would keep open."""
    subprocess.run([sys.executable, "-m", "dvc", "queue", "start"], cwd=project, env=user_environment(), check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def queue(long_training):
    """The project of `long_training`; afterwards no worker of DVC's queue is left in it."""
    project, _ = long_training
    try:
        yield project
    finally:
        dvc(project, "queue", "stop", "--kill", check=False)
        _, left = psutil.wait_procs(working_in(project), timeout=60)
        for process in left:
            process.kill()
        assert not left, "workers outlived `dvc queue stop --kill`"


def test_killed_queued_experiment(queue, tmp_path):
    """Its stage is killed: the queue says Failed. Queued again, it resumes and gives what an undisturbed training gives."""
    set_seed = ["-S", "train.seed=11"]
    shutil.copytree(queue, tmp_path / "calm", symlinks=True, ignore=shutil.ignore_patterns("checkpoints", "exps"))
    set_params(tmp_path / "calm", train__seed=11)
    run([sys.executable, "-m", "stages.finetune"], tmp_path / "calm")
    before = set((queue / "checkpoints").glob("*/checkpoint-*"))

    dvc(queue, "exp", "run", "--queue", "-n", "killed-in-queue", *set_seed)
    start_worker(queue)
    wait_for(lambda: {path for path in (queue / "checkpoints").glob("*/checkpoint-*/contents.json") if path.parent not in before})
    stage, = (process for process in working_in(queue) if "stages.finetune" in process.info["cmdline"])
    stage.kill()
    wait_for(lambda: "Failed" in dvc(queue, "queue", "status").stdout)

    dvc(queue, "exp", "run", "--queue", "-n", "queued-again", *set_seed)
    start_worker(queue)
    wait_for(lambda: run(["git", "for-each-ref", "refs/exps/**/queued-again"], queue).stdout, pause=0.2)
    wait_for(lambda: "Success" in dvc(queue, "queue", "status").stdout)
    assert "resuming from" in dvc(queue, "queue", "logs", "queued-again").stdout
    ref = run(["git", "for-each-ref", "--format=%(refname)", "refs/exps/**/queued-again"], queue).stdout.strip()
    for name in ("finetune.json", "training.csv", "validation.csv"):
        assert run(["git", "show", f"{ref}:metrics/{name}"], queue).stdout == (tmp_path / "calm/metrics" / name).read_text(), name
    lock = YAML(typ="safe").load(run(["git", "show", f"{ref}:dvc.lock"], queue).stdout)["stages"]["finetune"]
    model = next(out["md5"] for out in lock["outs"] if out["path"] == "models/finetuned")
    listed = json.loads((queue / ".dvc/cache/files/md5" / model[:2] / model[2:]).read_text())
    calm = tmp_path / "calm/models/finetuned"
    assert {entry["relpath"]: entry["md5"] for entry in listed} == {
        str(path.relative_to(calm)): hashlib.md5(path.read_bytes()).hexdigest() for path in calm.rglob("*") if path.is_file()
    }
    assert set((queue / "checkpoints").glob("*/checkpoint-*")) == before
