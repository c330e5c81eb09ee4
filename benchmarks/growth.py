"""How time and memory grow with batch size, sequence length and rows.

    python -m benchmarks.growth [--workspace DIR] [--sizes 16 32 64 128 256]
                                [--rows 1000 10000 100000]
                                [--data-rows 1000 10000 100000 1000000]
                                [--interval-rows 1500 10000 100000]
                                [--compare-rows 1500 10000 100000] [--only intervals ...]
                                [--results FOLDER]

`--workspace` is a project in which `dvc repro` has run: its models/base trains. A tiny random
encoder encodes the rows, so that what is seen is our own code rather than the model. The exponent
is the slope of log(value) over log(size) from each size to the next: 1 is proportional growth.
"""

import argparse
import itertools
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, first, in_process, report, settings, train_settings
from benchmarks.predicted import write_predictions
from benchmarks.tiny import make_splade, random_pairs, random_parts, write_params
from splade_sts import layout
from splade_sts.data.stored import write_parts

STEPS = 5
KINDS = ("step", "evaluate", "data", "intervals", "compare")


def step(model: Path, batch_size: int, length: int) -> dict[str, Any]:
    """Median seconds of a training step on sentences of exactly `length` tokens."""
    from splade_sts.model.encoder import load_encoder
    from splade_sts.training.curves import Point, TrainingPoint
    from splade_sts.training.finetune import finetune

    encoder = load_encoder(model)
    encoder.max_seq_length = length
    pairs = random_pairs(STEPS * batch_size, words=length)
    times: list[float] = []

    def on_point(point: Point) -> None:
        if isinstance(point, TrainingPoint):
            times.append(time.perf_counter())

    changes = {
        "batch_size": batch_size,
        "eval_steps": STEPS,
        "logging_steps": 1,
        "learning_rate": 0.0,
    }
    with tempfile.TemporaryDirectory() as folder:
        finetune(
            encoder, pairs, first(pairs, 16), train_settings(**changes), Path(folder), on_point
        )
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    return {"seconds": statistics.median(gaps)}


def encode(model: Path, rows: int) -> dict[str, Any]:
    """Seconds to evaluate `rows` pairs."""
    from splade_sts.evaluation.evaluate import evaluate_split
    from splade_sts.model.encoder import load_encoder

    pairs, encoder = random_pairs(rows), load_encoder(model)
    limits = settings().evaluate.model_copy(update={"min_sparsity_ratio": 0.0})
    started = time.perf_counter()
    evaluate_split(encoder, pairs, "validation", limits)
    return {"seconds": time.perf_counter() - started}


def make_raw(folder: Path, rows: int) -> dict[str, Any]:
    """A project with `rows` raw pairs in train, in `folder`."""
    from splade_sts.data.provenance import Origin, Provenance

    os.chdir(folder)
    write_params(layout.PARAMS, {"data": {"source": "local", "score_range": [0, 1]}})
    layout.RAW.mkdir(parents=True)
    counts: dict[layout.Split, int] = {"train": rows, "validation": 100, "test": 100}
    for split, count in counts.items():
        write_parts(random_parts(count), layout.raw(split))
    files = {split: Origin(layout.raw(split).name, "", count) for split, count in counts.items()}
    Provenance("local", None, files).write(layout.RAW)
    return {}


def normalize(folder: Path) -> dict[str, Any]:
    """Seconds of the normalize stage."""
    from stages import normalize as stage

    os.chdir(folder)
    started = time.perf_counter()
    stage.main()
    return {"seconds": time.perf_counter() - started}


def read_train(folder: Path, model: Path) -> dict[str, Any]:
    """Seconds until the first batch of a training: its sentences are looked at, the pairs copied to
    where they are mapped into memory, tokenized for their lengths, and put into an order.
    """
    import torch

    from splade_sts.data.stored import DistinctSentences, StoredPairs
    from splade_sts.model.encoder import load_encoder
    from splade_sts.training.finetune import build_dataset
    from splade_sts.training.sampler import LengthGroupedBatchSampler, pair_lengths

    encoder = load_encoder(model)
    pairs = StoredPairs(folder / layout.normalized("train"))
    started = time.perf_counter()
    DistinctSentences(pairs).at(range(100))
    dataset = build_dataset(pairs, folder / "checkpoints")
    lengths = pair_lengths(dataset, encoder.tokenizer, encoder.max_seq_length)
    dataset[next(iter(LengthGroupedBatchSampler(lengths, 16, False, torch.Generator())))]
    return {"seconds": time.perf_counter() - started}


def make_predictions(folder: Path, rows: int) -> dict[str, Any]:
    """What `compare` reads of `rows` pairs in each held-out split, in `folder`."""
    os.chdir(folder)
    write_predictions(rows)
    return {}


def compare(folder: Path) -> dict[str, Any]:
    """Seconds of the compare stage."""
    os.chdir(folder)
    started = time.perf_counter()
    from stages import compare as stage

    stage.main()
    return {"seconds": time.perf_counter() - started}


def intervals(rows: int) -> dict[str, Any]:
    """Seconds of the intervals of two models and their difference, with few resamples: what is left
    is BCa's jackknife and what is made once.
    """
    from benchmarks.bootstrap import sample
    from splade_sts.comparison.statistics import Bootstrap, estimates

    gold, base, finetuned = sample(rows)
    scores, differences = {"base": base, "finetuned": finetuned}, {"gain": ("finetuned", "base")}
    estimates(gold[:100], {"base": base[:100]}, {}, Bootstrap(100, 0.95, 0))  # imports, caches
    started = time.perf_counter()
    estimates(gold, scores, differences, Bootstrap(100, 0.95, 0))
    return {"seconds": time.perf_counter() - started}


def make_tiny(folder: Path) -> dict[str, Any]:
    """The tiny encoder as a SPLADE model, in `folder`/splade."""
    make_splade(folder)
    return {}


def with_exponents(
    name: str, sizes: list[int], found: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of the table for growing `sizes`."""
    rows: list[dict[str, Any]] = []
    for number, (size, values) in enumerate(zip(sizes, found, strict=True)):
        seconds, memory = values["seconds"], values["peak_memory_mib"]
        row: dict[str, Any] = {
            "what": name,
            "size": size,
            "seconds": seconds,
            "peak memory MiB": memory,
        }
        if number:
            ratio, before = math.log(size / sizes[number - 1]), found[number - 1]
            row["exponent of time"] = math.log(seconds / before["seconds"]) / ratio
            row["exponent of memory"] = math.log(memory / before["peak_memory_mib"]) / ratio
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=ROOT)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument(
        "--data-rows", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000]
    )
    parser.add_argument("--interval-rows", type=int, nargs="+", default=[1_500, 10_000, 100_000])
    parser.add_argument("--compare-rows", type=int, nargs="+", default=[1_500, 10_000, 100_000])
    parser.add_argument("--only", choices=KINDS, nargs="+", default=KINDS)
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON")
    arguments = parser.parse_args()
    made: dict[str, Callable[[argparse.Namespace], list[dict[str, Any]]]] = {
        "step": steps,
        "evaluate": evaluations,
        "data": data,
        "compare": comparisons,
        "intervals": lambda given: with_exponents(
            "intervals with 100 resamples, pairs",
            given.interval_rows,
            [in_process(intervals, rows=count) for count in given.interval_rows],
        ),
    }
    rows = [row for kind in arguments.only for row in made[kind](arguments)]
    # a file of its own for some kinds alone: growth_data.json, growth_compare.json
    some = tuple(arguments.only) != KINDS
    report("_".join(["growth", *arguments.only]) if some else "growth", rows, arguments.results)


def steps(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows for training steps, over batch size and length."""
    model = given.workspace.resolve() / layout.model("base")
    return [
        *with_exponents(
            "training step, pairs in a batch of 32 tokens",
            given.sizes,
            [in_process(step, model=model, batch_size=size, length=32) for size in given.sizes],
        ),
        *with_exponents(
            "training step, tokens of a sentence in 16 pairs",
            given.sizes,
            [in_process(step, model=model, batch_size=16, length=size) for size in given.sizes],
        ),
    ]


def data(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows for `normalize` and for the start of a training, over pairs of train."""
    normalized, read = [], []
    for count in given.data_rows:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            in_process(make_tiny, folder=folder / "model")
            in_process(make_raw, folder=folder, rows=count)
            normalized.append(in_process(normalize, folder=folder))
            read.append(in_process(read_train, folder=folder, model=folder / "model/splade"))
    return [
        *with_exponents("normalize, pairs", given.data_rows, normalized),
        *with_exponents("start of training, pairs", given.data_rows, read),
    ]


def comparisons(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows for `compare`, over the pairs of each held-out split."""
    found = []
    for count in given.compare_rows:
        with tempfile.TemporaryDirectory() as name:
            in_process(make_predictions, folder=Path(name), rows=count)
            found.append(in_process(compare, folder=Path(name)))
    return with_exponents(
        "compare, pairs in each of validation and test", given.compare_rows, found
    )


def evaluations(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows for `evaluate`, over pairs."""
    with tempfile.TemporaryDirectory() as folder:
        in_process(make_tiny, folder=Path(folder))
        tiny = Path(folder) / "splade"
        return with_exponents(
            "evaluate, pairs (tiny encoder)",
            given.rows,
            [in_process(encode, model=tiny, rows=count) for count in given.rows],
        )


if __name__ == "__main__":
    main()
