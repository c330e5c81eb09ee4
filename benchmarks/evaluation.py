"""Evaluating one split: the library's evaluator against this project's, alternating.

    python -m benchmarks.evaluation [--workspace DIR] [--split validation] [--rounds 3]
                                    [--results FOLDER]

`--workspace` is a project in which `dvc repro` has run. Stock is
SparseEmbeddingSimilarityEvaluator with its defaults. The floor is what the matrix products of the
sentences' real tokens, padding left out, take at the peak measured in the same run.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, gemm_peak, in_process, read_pairs, report, settings
from splade_sts import layout


def stock(workspace: Path, split: layout.Split, precision: str) -> dict[str, Any]:
    """The library's evaluator."""
    import torch
    from sentence_transformers.sparse_encoder.evaluation import SparseEmbeddingSimilarityEvaluator

    from splade_sts.model.encoder import load_encoder

    pairs, model = read_pairs(workspace, split), load_encoder(workspace / layout.model("base"))
    evaluator = SparseEmbeddingSimilarityEvaluator(
        pairs.sentence1,
        pairs.sentence2,
        pairs.score.tolist(),
        main_similarity="cosine",
        write_csv=False,
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        started = time.perf_counter()
        metrics = evaluator(model)
    return {
        "seconds": time.perf_counter() - started,
        "spearman": metrics["spearman_cosine"],
        "active dims": metrics["active_dims"],
    }


def ours(workspace: Path, split: layout.Split, precision: str) -> dict[str, Any]:
    """This project's evaluator and head."""
    import torch

    from splade_sts.evaluation.correlation import PairEvaluator, metrics_of
    from splade_sts.model.encoder import load_encoder
    from splade_sts.model.head.swap import fused

    pairs, model = read_pairs(workspace, split), load_encoder(workspace / layout.model("base"))
    evaluator = PairEvaluator(pairs, split, settings().evaluate.batch_size)
    with fused(model), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        started = time.perf_counter()
        metrics = metrics_of(evaluator(model), split)
    return {
        "seconds": time.perf_counter() - started,
        "spearman": metrics.spearman,
        "active dims": metrics.active_dims,
    }


def work(workspace: Path, split: layout.Split) -> dict[str, Any]:
    """Real tokens of all sentences, and the operations of the linear layers on them."""
    import torch

    from splade_sts.model.encoder import load_encoder

    pairs, model = read_pairs(workspace, split), load_encoder(workspace / layout.model("base"))
    ids = model.tokenizer(
        [*pairs.sentence1, *pairs.sentence2], truncation=True, max_length=model.max_seq_length
    )["input_ids"]
    tokens = sum(map(len, ids))
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    return {"tokens": tokens, "flop": 2 * tokens * sum(layer.weight.numel() for layer in linear)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=ROOT)
    parser.add_argument("--split", choices=layout.HELD_OUT, default="validation")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON")
    arguments = parser.parse_args()
    where = {"workspace": arguments.workspace.resolve(), "split": arguments.split}
    needed = in_process(work, **where)
    peak = {
        precision: in_process(gemm_peak, precision=precision)["flops"]
        for precision in ("fp32", "bf16")
    }
    peaks = ", ".join(f"{precision} {flops / 1e9:.0f} GFLOP/s" for precision, flops in peak.items())
    print(f"{needed['tokens']} tokens, {needed['flop'] / 1e12:.2f} TFLOP; peak {peaks}")
    kinds = {
        "stock fp32": (stock, "fp32"),
        "ours fp32": (ours, "fp32"),
        "stock bf16": (stock, "bf16"),
        "ours bf16": (ours, "bf16"),
    }
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
    for _ in range(arguments.rounds):
        for name, (job, precision) in kinds.items():
            runs[name].append(in_process(job, precision=precision, **where))
            print(f"{name}: {runs[name][-1]}", flush=True)
    reference = min(run["seconds"] for run in runs["stock fp32"])
    rows = []
    for name, found in runs.items():
        best = min(found, key=lambda run: run["seconds"])
        floor = needed["flop"] / peak[kinds[name][1]]
        rows.append(
            {
                "run": name,
                **best,
                "times as fast as stock fp32": reference / best["seconds"],
                "share of the floor": floor / best["seconds"],
            }
        )
    report("evaluation", rows, arguments.results)


if __name__ == "__main__":
    main()
