"""One training in several processes: is it that of one process, and what does it gain?

    python -m benchmarks.processes equality [--workspace DIR] [--results FOLDER]
    python -m benchmarks.processes speed [--workspace DIR] [--steps 40] [--rounds 3]
                                         [--results FOLDER]

`equality` compares 2 and 4 processes with one, for each loss, without dropout and in float32: the
gradients of the steps of an epoch with a learning rate of 0 (all from the same weights), the losses
of an epoch, and its validation. What the order of a sum alone changes stands beside it: one process
with the pairs of each batch in reverse order. It takes the tiny encoder on random pairs, and with
`--workspace`, a project in which `dvc repro` has run, also the gradients of four steps of its base
model on its pairs. `speed` times steps of the project's base model: one process with one thread and
with two, two processes with one thread each. It wants a quiet machine. All start as a training
does, those of several processes by torchrun.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, first, read_pairs, report, train_settings
from benchmarks.tiny import make_splade, random_pairs
from splade_sts import layout
from splade_sts.data.pairs import Pairs
from splade_sts.files import read_json, write_json
from splade_sts.params import TrainParams

LOSSES = ("cosine", "cosent", "angle")
# What is compared, and in how many processes it runs.
WAYS = {"1": 1, "1, reversed": 1, "2": 2, "4": 4}
# Pairs in a batch: no multiple of the numbers of processes, and an epoch leaves a batch of two.
BATCH = 13


def launch(
    jobs: list[dict[str, Any]], processes: int, threads: int, folder: Path
) -> list[dict[str, Any]]:
    """Run jobs, one after the other, in processes of their own; what the first of them found."""
    asked, found = folder / "job.json", folder / "found.json"
    write_json(asked, {"jobs": jobs})
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    subprocess.run(
        [*start, "-m", "benchmarks.processes", "work", str(asked), str(found)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        check=True,
    )
    results: list[dict[str, Any]] = read_json(found)["results"]
    return results


def work(asked: Path, answer: Path) -> None:
    """The part of one of the processes."""
    from splade_sts.training.processes import joined

    with joined("torchrun" if "RANK" in os.environ else "python") as processes:
        found = [JOBS[job["kind"]](job, asked.parent) for job in read_json(asked)["jobs"]]
        if processes.leads:
            write_json(answer, {"results": found})


def data(job: dict[str, Any]) -> tuple[Path, Pairs, Pairs]:
    """Model, and pairs to train on and to validate with."""
    if job["workspace"] is None:
        pairs = random_pairs(1500).table()
        # the cosine of a sentence with itself is 1 but for its last digit
        others = pairs[pairs["sentence1"] != pairs["sentence2"]]
        return Path(job["model"]), Pairs.from_table(pairs[:249]), Pairs.from_table(others[249:])
    workspace = Path(job["workspace"])
    train = first(read_pairs(workspace, "train"), job["pairs"])
    return workspace / layout.model("base"), train, first(read_pairs(workspace, "validation"), 16)


def make_trainer(job: dict[str, Any], folder: Path, dropout: bool) -> Any:
    """The trainer of a job."""
    from torch import nn

    from splade_sts.model.encoder import load_encoder
    from splade_sts.training.callbacks import ProgressBar
    from splade_sts.training.environment import Precision
    from splade_sts.training.finetune import build_arguments, build_trainer, ignore
    from splade_sts.training.processes import first_says

    path, train, validation = data(job)
    model = load_encoder(path)
    for module in model.modules():
        if isinstance(module, nn.Dropout) and not dropout:
            module.p = 0.0
    settings = TrainParams(**job["settings"])
    checkpoints = first_says(lambda: Path(tempfile.mkdtemp(dir=folder)))
    precision: Precision = "bf16" if settings.precision == "bf16" else "fp32"
    arguments = build_arguments(settings, precision, checkpoints)
    trainer = build_trainer(model, train, validation, settings, arguments, ProgressBar(), ignore)
    if job.get("reversed"):
        reverse_batches(trainer)
    return trainer


def reverse_batches(trainer: Any) -> None:
    """Let a trainer in one process have the pairs of each batch in reverse order."""
    from torch.utils.data import BatchSampler

    class Reversed(BatchSampler):
        """The batches of another sampler, each in reverse order."""

        def __init__(self, batches: Any):
            self.batches, self.batch_size, self.drop_last = batches, batches.batch_size, False

        def __len__(self) -> int:
            return len(self.batches)

        def __iter__(self) -> Any:
            for batch in self.batches:
                yield batch[::-1]

        def set_epoch(self, epoch: int) -> None:
            """As the library asks."""
            self.batches.set_epoch(epoch)

    original = trainer.get_batch_sampler
    trainer.get_batch_sampler = lambda *args, **kwargs: Reversed(original(*args, **kwargs))


def gradients(job: dict[str, Any], folder: Path) -> Any:
    """Train without dropout and clipping; keep the gradient of every step in a file."""
    import torch
    from transformers import TrainerCallback

    from splade_sts.training.environment import own_settings
    from splade_sts.training.finetune import run

    class Keep(TrainerCallback):
        """Writes the gradients of each step."""

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **found: Any) -> None:
            parts = [one.grad.flatten() for one in found["model"].parameters()]
            if state.is_world_process_zero:
                path = Path(job["gradients"]) / f"{state.global_step}.npy"
                np.save(path, torch.cat(parts).double().cpu().numpy())

    Path(job["gradients"]).mkdir(exist_ok=True)
    with own_settings():
        trainer = make_trainer(job, folder, dropout=False)
        trainer.add_callback(Keep())
        trainer.args.max_grad_norm = 0.0
        run(trainer, None)
    return {"steps": trainer.state.global_step, **curves(trainer)}


def epoch(job: dict[str, Any], folder: Path) -> Any:
    """Train without dropout; the curves."""
    from splade_sts.training.environment import own_settings
    from splade_sts.training.finetune import run

    with own_settings():
        trainer = make_trainer(job, folder, dropout=False)
        run(trainer, None)
    return curves(trainer)


def curves(trainer: Any) -> dict[str, Any]:
    """The points of both curves."""
    return {
        "training": [asdict(point) for point in trainer.training_curve],
        "validation": [asdict(point) for point in trainer.validation_curve],
    }


def steps(job: dict[str, Any], folder: Path) -> Any:
    """Seconds of a training step, the mean of all but the first ones."""
    from transformers import TrainerCallback

    from splade_sts.training.environment import own_settings
    from splade_sts.training.finetune import run

    class Clock(TrainerCallback):
        """Takes the time of each step."""

        def __init__(self) -> None:
            self.started, self.seconds = 0.0, list[float]()

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(time.perf_counter() - self.started)

    clock = Clock()
    with own_settings():
        trainer = make_trainer(job, folder, dropout=True)
        trainer.add_callback(clock)
        run(trainer, None)
    counted = clock.seconds[5:]
    return {"seconds a step": sum(counted) / len(counted)}


JOBS = {"gradients": gradients, "epoch": epoch, "steps": steps}


def settings(**changes: Any) -> dict[str, Any]:
    """Parameters of a training in float32."""
    fixed = {"precision": "fp32", "threads": None, "eval_steps": 1000, "checkpoint_steps": 1000}
    found: dict[str, Any] = train_settings(**{**fixed, **changes}).model_dump()
    return found


def equality(workspace: Path | None, folder: Path) -> list[dict[str, Any]]:
    """A row for each model, loss and number of processes."""
    tiny: dict[str, Any] = {"workspace": None, "model": str(make_splade(folder))}
    jobs: list[dict[str, Any]] = []
    for loss in LOSSES:
        still = settings(loss=loss, batch_size=BATCH, learning_rate=0.0, logging_steps=1)
        moving = {**still, "learning_rate": 1e-3, "eval_steps": 5}
        jobs.append({**tiny, "name": f"tiny-{loss}", "kind": "gradients", "settings": still})
        jobs.append({**tiny, "name": f"tiny-{loss}", "kind": "epoch", "settings": moving})
    if workspace is not None:
        base: dict[str, Any] = {"workspace": str(workspace), "pairs": 3 * BATCH + 2}
        for loss in LOSSES:
            still = settings(loss=loss, batch_size=BATCH, learning_rate=0.0, logging_steps=1)
            jobs.append({**base, "name": f"base-{loss}", "kind": "gradients", "settings": still})
    found = {}
    for way, count in WAYS.items():
        for job in jobs:
            job["gradients"] = str(folder / f"{job['name']}-{way}")
            job["reversed"] = way == "1, reversed"
        answers = launch(jobs, count, 1, folder)
        for job, answer in zip(jobs, answers, strict=True):
            found[way, job["name"], job["kind"]] = answer
    rows = []
    for name in dict.fromkeys(str(job["name"]) for job in jobs):
        for way in [*WAYS][1:]:
            rows.append(compared(found, name, way, folder))
    return rows


def compared(found: dict[Any, Any], name: str, way: str, folder: Path) -> dict[str, Any]:
    """A way against one process: gradients of the same weights, and the curves of an epoch."""
    still = [found[one, name, "gradients"] for one in ("1", way)]
    moving = [found.get((one, name, "epoch")) for one in ("1", way)]
    model, loss = name.split("-")
    row = {
        "model": model,
        "loss": loss,
        "processes": way,
        "steps": still[0]["steps"],
        "gradient": largest_difference(folder / f"{name}-1", folder / f"{name}-{way}"),
    }
    if moving[0] is not None:
        row["training loss"] = furthest(moving, "training", "loss")
        row["spearman"] = furthest(moving, "validation", "spearman", relative=False)
        row["active dims"] = furthest(moving, "validation", "active_dims")
    return row


def largest_difference(alone: Path, together: Path) -> float:
    """Over all steps: the norm of the difference of two gradients, as a share of the norm."""
    largest = 0.0
    for path in alone.glob("*.npy"):
        one, other = (np.load(folder / path.name) for folder in (alone, together))
        largest = max(largest, float(np.linalg.norm(one - other) / np.linalg.norm(one)))
    return largest


def furthest(curves: list[Any], curve: str, name: str, relative: bool = True) -> float:
    """The largest difference between two curves, as a share of the value or as it is."""
    one, other = ([point[name] for point in found[curve]] for found in curves)
    return max(
        float(abs(a - b) / (abs(a) if relative else 1.0)) for a, b in zip(one, other, strict=True)
    )


def speed(workspace: Path, steps: int, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """A row for each way to use the cores, in turn and `rounds` times; the fastest counts."""
    batch = 16
    times: dict[tuple[int, int, str], float] = {}
    for precision in ("bf16", "fp32"):
        job = {
            "kind": "steps",
            "workspace": str(workspace),
            "pairs": steps * batch,
            "settings": settings(batch_size=batch, precision=precision),
        }
        for _ in range(rounds):
            for processes, threads in ((1, 1), (1, 2), (2, 1)):
                found = launch([job], processes, threads, folder)[0]["seconds a step"]
                key = (processes, threads, precision)
                times[key] = min(found, times.get(key, found))
                print(key, f"{found:.3f} s a step", flush=True)
    return [
        {
            "precision": precision,
            "processes": processes,
            "threads each": threads,
            "seconds a step": seconds,
            "times one process with two threads": times[1, 2, precision] / seconds,
        }
        for (processes, threads, precision), seconds in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    jobs = parser.add_subparsers(dest="job", required=True)
    for name in ("equality", "speed"):
        one = jobs.add_parser(name)
        one.add_argument("--workspace", type=Path, default=None if name == "equality" else ROOT)
        one.add_argument("--results", type=Path, help="folder for the figures as JSON")
        if name == "speed":
            one.add_argument("--steps", type=int, default=40)
            one.add_argument("--rounds", type=int, default=3)
    one = jobs.add_parser("work", help="what this starts by itself")
    one.add_argument("asked", type=Path)
    one.add_argument("answer", type=Path)
    arguments = parser.parse_args()
    if arguments.job == "work":
        work(arguments.asked, arguments.answer)
        return
    workspace: Path | None = arguments.workspace.resolve() if arguments.workspace else None
    with tempfile.TemporaryDirectory() as folder:
        if arguments.job == "equality":
            rows = equality(workspace, Path(folder))
        else:
            assert workspace is not None  # its default
            rows = speed(workspace, arguments.steps, arguments.rounds, Path(folder))
        report(f"processes-{arguments.job}", rows, arguments.results)


if __name__ == "__main__":
    main()
