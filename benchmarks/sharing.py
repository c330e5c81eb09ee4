"""Several evaluations or trainings at once on one machine: how OpenMP's threads should wait.

    python -m benchmarks.sharing [--workspace DIR] [--at-once 1 2 3 4] [--rounds 2] [--pairs 400]
                                 [--steps 20] [--wait default passive 1000 …] [--results FOLDER]

`--workspace` is a project in which `dvc repro` has run. Each process loads the base model and warms
up; then all start at the same moment, and the last one counts. A thread that has nothing to do
spins, so that it need not be woken, and keeps a core from those that have. `default` is OpenMP's
own setting, `passive` is `OMP_WAIT_POLICY=PASSIVE`, a number is how often a thread looks before it
sleeps (`GOMP_SPINCOUNT`, libgomp's manual, section 4.22). It wants a quiet machine.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, first, read_pairs, report, settings
from splade_sts import layout

WAYS = ("default", "passive", "1000", "10000", "100000")


def variables(wait: str) -> dict[str, str]:
    """The environment variables of a way to wait."""
    if wait == "default":
        return {}
    return {"OMP_WAIT_POLICY": "PASSIVE"} if wait == "passive" else {"GOMP_SPINCOUNT": wait}


def evaluate(workspace: Path, pairs: int) -> Any:
    """What encodes the sentences of some pairs of validation, and a hash of the vectors."""
    from splade_sts.evaluation.encoded import encode
    from splade_sts.model.encoder import load_encoder
    from splade_sts.model.head.swap import fused

    model = load_encoder(workspace / layout.model("base"))
    sentences = first(read_pairs(workspace, "validation"), pairs).sentences
    size = settings().evaluate.batch_size

    def work(share: int) -> tuple[float, str]:
        with fused(model):
            found = encode(model, sentences[:share], size)
        return found.seconds, hashlib.md5(found.vectors.values().numpy().data).hexdigest()

    work(100)
    return lambda: work(len(sentences))


def train(workspace: Path, steps: int) -> Any:
    """What trains for some steps, and a hash of the weights."""
    from benchmarks.processes import make_trainer
    from benchmarks.processes import settings as training
    from splade_sts.training.environment import own_settings
    from splade_sts.training.finetune import run

    def work(count: int) -> tuple[float, str]:
        chosen = training(batch_size=16, precision="bf16")
        job = {"workspace": str(workspace), "pairs": count * 16, "settings": chosen}
        with tempfile.TemporaryDirectory() as folder, own_settings():
            trainer = make_trainer(job, Path(folder), dropout=True)
            started = time.perf_counter()
            run(trainer, None)
            seconds, found = time.perf_counter() - started, hashlib.md5()
            for weights in trainer.model.parameters():
                found.update(weights.detach().numpy().data)
            return seconds, found.hexdigest()

    work(4)
    return lambda: work(steps)


def worker(kind: str, workspace: Path, size: int) -> None:
    """One of the processes: loads, says so, waits for the start, works."""
    job = {"evaluate": evaluate, "train": train}[kind](workspace, size)
    print("ready", flush=True)
    sys.stdin.readline()
    seconds, made = job()
    print(f"{seconds} {made}", flush=True)


def together(count: int, wait: str, kind: str, workspace: Path, size: int) -> dict[str, Any]:
    """Seconds until the last of several processes has ended, and what they made."""
    command = [sys.executable, "-m", "benchmarks.sharing", "--worker", kind]
    command += ["--workspace", str(workspace), "--size", str(size)]
    plain = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    processes = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**plain, **variables(wait)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "ready":
            if process.poll() is not None:
                raise RuntimeError(f"a worker ended with {process.returncode}")
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate()[0].splitlines()[-1].split() for process in processes]
    return {
        "seconds": max(float(seconds) for seconds, _ in ends),
        "made": {made for _, made in ends},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=ROOT)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=400, help="of validation, to evaluate")
    parser.add_argument("--steps", type=int, default=20, help="of training")
    parser.add_argument("--wait", nargs="+", default=list(WAYS))
    parser.add_argument("--kind", nargs="+", default=["evaluate", "train"])
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON")
    parser.add_argument("--worker", help="what this starts by itself")
    parser.add_argument("--size", type=int)
    arguments = parser.parse_args()
    workspace = arguments.workspace.resolve()
    if arguments.worker:
        worker(arguments.worker, workspace, arguments.size)
        return
    sizes = {"evaluate": arguments.pairs, "train": arguments.steps}
    rows = []
    for kind in arguments.kind:
        times: dict[tuple[int, str], list[float]] = {}
        made: set[str] = set()
        for _ in range(arguments.rounds):
            for count in arguments.at_once:
                for wait in arguments.wait:
                    found = together(count, wait, kind, workspace, sizes[kind])
                    times.setdefault((count, wait), []).append(found["seconds"])
                    made |= found["made"]
                    print(kind, count, wait, f"{found['seconds']:.1f} s", flush=True)
        alone = min(times[1, "default"])
        for (count, wait), seconds in times.items():
            rows.append(
                {
                    "what": kind,
                    "at once": count,
                    "waiting": wait,
                    "seconds": float(np.min(seconds)),
                    "times in turn": float(np.min(seconds)) / (count * alone),
                }
            )
        print(f"{kind}: {len(made)} different results")
    report("sharing", rows, arguments.results)


if __name__ == "__main__":
    main()
