"""One epoch of fine-tuning with its validations: the library's plain trainer against this project's, on the same machine.

    python -m benchmarks.training --workspace DIR [--precision bf16] [--steps N] [--json FILE]

`--workspace` is a project in which `dvc repro base_model` has run (its data/normalized and models/base are used).
Stock is SparseEncoderTrainer set up as in upstream's STS example (train_splade_stsbenchmark.py): random batches, the stock
modules, an eval data set beside the evaluator. Each runs in a process of its own; prints time, peak memory, Spearman.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent


def stock(workspace: Path, precision: str, steps: int, seed: int) -> dict[str, Any]:
    from datasets import Dataset
    from sentence_transformers import SparseEncoder, SparseEncoderTrainer, SparseEncoderTrainingArguments
    from sentence_transformers.sparse_encoder.evaluation import SparseEmbeddingSimilarityEvaluator
    from sentence_transformers.sparse_encoder.losses import SparseCosineSimilarityLoss, SpladeLoss

    train, validation = (pd.read_parquet(workspace / f"data/normalized/{split}.parquet") for split in ("train", "validation"))
    model = SparseEncoder(str(workspace / "models/base"), local_files_only=True)
    evaluator = SparseEmbeddingSimilarityEvaluator(
        validation["sentence1"].tolist(), validation["sentence2"].tolist(), validation["score"].tolist(), name="validation",
        main_similarity="cosine", write_csv=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = SparseEncoderTrainingArguments(
            output_dir=folder, num_train_epochs=1, max_steps=steps, per_device_train_batch_size=16,
            per_device_eval_batch_size=16, learning_rate=5e-5, bf16=precision == "bf16", use_cpu=True, seed=seed,
            eval_strategy="steps", eval_steps=100, save_strategy="steps", save_steps=100, save_total_limit=1,
            save_only_model=True, logging_steps=10, report_to="none", load_best_model_at_end=True,
            metric_for_best_model="eval_validation_spearman_cosine", dataloader_pin_memory=False,
        )
        trainer = SparseEncoderTrainer(
            model=model, args=arguments, train_dataset=Dataset.from_pandas(train, preserve_index=False),
            eval_dataset=Dataset.from_pandas(validation, preserve_index=False), evaluator=evaluator,
            loss=SpladeLoss(model, SparseCosineSimilarityLoss(model), document_regularizer_weight=3e-3, use_document_regularizer_only=True),
        )
        started = time.perf_counter()
        trainer.train()
        return {"seconds": time.perf_counter() - started, "steps": trainer.state.global_step, "best": trainer.state.best_metric}


def ours(workspace: Path, precision: str, steps: int, seed: int) -> dict[str, Any]:
    from splade_sts import params
    from splade_sts.training import finetune

    train, validation = (pd.read_parquet(workspace / f"data/normalized/{split}.parquet") for split in ("train", "validation"))
    settings = params.load(ROOT / "params.yaml").train.model_copy(update={"precision": precision, "seed": seed})
    if steps > 0:
        settings = settings.model_copy(update={"epochs": steps / -(-len(train) // settings.batch_size)})
    started = time.perf_counter()
    _, _, summary = finetune(workspace / "models/base", train, validation, settings)
    return {"seconds": time.perf_counter() - started, "steps": summary["steps"], "best": summary["validation"]["spearman_cosine"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--steps", type=int, default=-1, help="stop after so many steps (one epoch)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--only", choices=("stock", "ours"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        run = {"stock": stock, "ours": ours}[arguments.only]
        result = run(arguments.workspace, arguments.precision, arguments.steps, arguments.seed)
        result["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print("\n" + json.dumps(result))
        return
    results = {}
    for kind in ("ours", "stock"):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.training", *sys.argv[1:], "--only", kind], cwd=ROOT, check=True,
            stdout=subprocess.PIPE, text=True,
        )
        results[kind] = json.loads(done.stdout.splitlines()[-1])
        print(f"{kind}: " + ", ".join(f"{key} {value:.4g}" for key, value in results[kind].items()), flush=True)
    ratio = results["stock"]["seconds"] / results["ours"]["seconds"]
    memory = results["ours"]["peak_memory_mib"] / results["stock"]["peak_memory_mib"]
    print(f"{arguments.precision}: {ratio:.2f} times as fast as stock, with {100 * memory:.0f} % of its peak memory")
    if arguments.json:
        content = {"precision": arguments.precision, **results, "speedup": ratio, "python": platform.python_version()}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
