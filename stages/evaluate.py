"""evaluate: one model (base or finetuned) on validation and test, with a prediction for every pair."""

import sys

import pandas as pd

from splade_sts import params
from splade_sts.encoder import load_encoder
from splade_sts.errors import run_stage
from splade_sts.evaluation import evaluate_split
from splade_sts.files import replacing, write_json


def main() -> None:
    (name,) = sys.argv[1:]
    evaluate_params = params.load().evaluate
    model = load_encoder(f"models/{name}")
    metrics = {}
    with replacing(f"predictions/{name}") as folder:
        folder.mkdir()
        for split in ("validation", "test"):
            pairs = pd.read_parquet(f"data/normalized/{split}.parquet")
            metrics[split], predictions = evaluate_split(
                model, pairs, split, evaluate_params.batch_size, evaluate_params.min_sparsity_ratio,
                evaluate_params.precision,
            )
            predictions.to_parquet(folder / f"{split}.parquet", index=False)
    write_json(f"metrics/{name}.json", metrics)
    for split, values in metrics.items():
        print(f"{name} on {split}: " + ", ".join(f"{key} {value:.4f}" for key, value in values.items()))


if __name__ == "__main__":
    run_stage(main)
