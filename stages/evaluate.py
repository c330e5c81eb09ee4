"""evaluate: one model (base or finetuned) on validation and test, with a prediction for every pair."""

import sys

import pandas as pd

from splade_sts import params
from splade_sts.model.encoder import load_encoder
from splade_sts.errors import run_stage
from splade_sts.evaluation.correlation import evaluate_split
from splade_sts.files import replacing, write_json
from splade_sts.params import flatten
from splade_sts.evaluation.retrieval import RELEVANT, retrieval_metrics
from splade_sts.comparison.statistics import check_size
from splade_sts.evaluation.encoded import Vectors, cost, tokens_per_second


def main() -> None:
    (name,) = sys.argv[1:]
    evaluate_params = params.load().evaluate
    model = load_encoder(f"models/{name}")
    if evaluate_params.max_active_dims:
        model.max_active_dims = evaluate_params.max_active_dims
    metrics, vectors = {}, Vectors()
    with replacing(f"predictions/{name}") as folder:
        folder.mkdir()
        for split in ("validation", "test"):
            pairs = pd.read_parquet(f"data/normalized/{split}.parquet")
            check_size(pairs, split)  # said here rather than by compare, after the training
            metrics[split], predictions = evaluate_split(
                model, pairs, split, evaluate_params.batch_size, evaluate_params.min_sparsity_ratio,
                evaluate_params.precision, vectors,
            )
            predictions.to_parquet(folder / f"{split}.parquet", index=False)
            metrics[split] |= cost(pairs, vectors)
            if split == "validation":
                retrieval = retrieval_metrics(model, pairs, vectors)
    if retrieval:
        metrics["validation"]["retrieval"] = retrieval
    else:
        print(f"no retrieval metrics: validation has no pair of different sentences with a score of at least {RELEVANT:g} of 1")
    write_json(f"metrics/{name}.json", metrics)
    for split, values in metrics.items():
        print(f"{name} on {split}: " + ", ".join(f"{key} {value:.4f}" for key, value in flatten(values).items()))
    speed = tokens_per_second(model, vectors)
    taken = f"{len(vectors.encoded)} sentences encoded in {vectors.seconds:.1f} s"
    print(f"{name}: {taken}, {speed:.0f} tokens per second on {model.device}")


if __name__ == "__main__":
    run_stage(main)
