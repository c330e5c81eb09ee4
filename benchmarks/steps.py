"""The training step: padding; its share of the GEMM peak with the project's base model and at
bert-base size; and at that size peak memory against stock.

    python -m benchmarks.steps [--workspace DIR] [--count 48] [--results FOLDER]
                               [--only padding | base | bert-base]

`--only padding` takes seconds, whatever else the machine does; `base` and `bert-base` are the share
of the peak of these models.
`--workspace` is a project in which `dvc repro` has run. Stock is the library's trainer. Operations
are counted by PyTorch's FlopCounterMode in a run of its own, so that counting does not slow what is
timed. The first steps are not timed: the process takes its memory in them.
"""

import argparse
import tempfile
import time
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.common import (
    ROOT,
    bert_base_sized,
    first,
    gemm_peak,
    in_process,
    read_pairs,
    report,
    train_settings,
)
from benchmarks.training import ours, stock
from splade_sts import layout

WARM_UP = 24
MODELS = ("base", "bert-base")


def steps(workspace: Path, model: Path, count: int, counted: bool) -> dict[str, Any]:
    """Seconds, or operations, of `count` steps after WARM_UP others.

    The learning rate is 0: the random model keeps its active dims, as a real one would.
    """
    from torch.utils.flop_counter import FlopCounterMode

    from splade_sts.model.encoder import load_encoder
    from splade_sts.training.curves import Point, TrainingPoint
    from splade_sts.training.finetune import finetune

    train, total = read_pairs(workspace, "train"), WARM_UP + count
    settings = train_settings(
        precision="bf16",
        epochs=total * 16 / len(train),
        eval_steps=total,
        logging_steps=1,
        learning_rate=0.0,
    )
    counter = FlopCounterMode(display=False)
    points: list[float] = []

    def on_point(point: Point) -> None:
        if isinstance(point, TrainingPoint):
            points.append(counter.get_total_flops() if counted else time.perf_counter())

    validation = first(read_pairs(workspace, "validation"), 16)
    with tempfile.TemporaryDirectory() as folder, counter if counted else nullcontext():
        finetune(load_encoder(model), train, validation, settings, Path(folder), on_point)
    return {"total": points[WARM_UP + count - 1] - points[WARM_UP - 1], "steps": count}


def padding(workspace: Path) -> dict[str, Any]:
    """The share of the computed tokens of an epoch that are no padding, by kind of batch.

    All sentences of a batch are padded to its longest one.
    """
    import torch

    from splade_sts.model.encoder import load_encoder
    from splade_sts.training.sampler import LengthGroupedBatchSampler

    pairs, model = read_pairs(workspace, "train"), load_encoder(workspace / layout.model("base"))
    tokens = torch.tensor(
        [
            [len(ids) for ids in model.tokenizer(side, truncation=True)["input_ids"]]
            for side in (pairs.sentence1, pairs.sentence2)
        ]
    )
    longest = tokens.amax(dim=0)
    generator = torch.Generator().manual_seed(0)
    kinds: dict[str, Iterable[list[int]]] = {
        "random": (
            rows.tolist()
            for rows in torch.split(torch.randperm(len(pairs), generator=generator), 16)
        ),
        "similar length": LengthGroupedBatchSampler(longest.tolist(), 16, False, generator),
    }
    computed = {
        name: sum(2 * len(rows) * int(longest[rows].max()) for rows in batches)
        for name, batches in kinds.items()
    }
    return {name: int(tokens.sum()) / count for name, count in computed.items()}


def share_of_peak(workspace: Path, folder: Path, name: str, count: int) -> dict[str, float]:
    """What a step computes and how long it takes, against square matrix products in the same run.

    Args:
        workspace: a project in which `dvc repro` has run.
        folder: for a model that is made.
        name: one of MODELS.
        count: steps that are timed.
    """
    model = workspace / layout.model("base")
    if name == "bert-base":
        model = bert_base_sized(workspace, folder)
    where = {"workspace": workspace, "model": model}
    peaks = [in_process(gemm_peak, precision="bf16")["flops"]]
    timed = in_process(steps, count=count, counted=False, **where)
    peaks.append(in_process(gemm_peak, precision="bf16")["flops"])
    counted = in_process(steps, count=count, counted=True, **where)
    rate, peak = counted["total"] / timed["total"], max(peaks)
    return {
        "seconds per step": timed["total"] / timed["steps"],
        "TFLOP per step": counted["total"] / counted["steps"] / 1e12,
        "GFLOP/s": rate / 1e9,
        "peak GFLOP/s": peak / 1e9,
        "share of the peak": rate / peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=ROOT)
    parser.add_argument("--count", type=int, default=48, help="steps timed (48)")
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON")
    parser.add_argument("--only", choices=["padding", *MODELS])
    arguments = parser.parse_args()
    workspace = arguments.workspace.resolve()
    if arguments.only in (None, "padding"):
        shares = padding(workspace)
        filled = [
            {"batches of 16": name, "share of real tokens": share} for name, share in shares.items()
        ]
        report("padding", filled, arguments.results)
    if arguments.only == "padding":
        return
    with tempfile.TemporaryDirectory() as folder:
        chosen = [arguments.only] if arguments.only else MODELS
        shown = [
            {"model": name, **share_of_peak(workspace, Path(folder), name, arguments.count)}
            for name in chosen
        ]
        report("step" if len(chosen) > 1 else f"step-{arguments.only}", shown, arguments.results)
        if arguments.only:
            return
        where = {"workspace": workspace, "model": bert_base_sized(workspace, Path(folder))}
        rows = []
        for name, job, batch_size in (
            ("stock, batch 64", stock, 64),
            ("ours, batch 64", ours, 64),
            ("ours, batch 256", ours, 256),
        ):
            count = max(2, 384 // batch_size)
            found = in_process(
                job, precision="bf16", share=1.0, batch_size=batch_size, steps=count, **where
            )
            memory = found["peak_memory_mib"] / 1024
            rows.append({"run": name, "steps": count, "peak memory GiB": memory})
            print(rows[-1], flush=True)
    report("memory", rows, arguments.results)


if __name__ == "__main__":
    main()
