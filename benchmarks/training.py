"""An epoch of fine-tuning with its validations: the library's plain trainer against this project's.

    python -m benchmarks.training [--workspace DIR] [--model base|bert-base] [--share 0.25]
                                  [--validations 4] [--rounds 1] [--results FOLDER]

`--workspace` is a project in which `dvc repro` has run (its data/normalized and models/base are
used). Stock is SparseEncoderTrainer set up as in upstream's STS example
(train_splade_stsbenchmark.py): random batches, the stock modules, an eval data set beside the
evaluator. `--share` takes that share of the train and validation pairs, with four validations, so
that the proportion of training to validation stays that of an epoch; with fewer `--validations`
each has more pairs, so that a small share does not write more checkpoints than it should.
`bert-base` is a random model of bert-base's size.
"""

import argparse
import math
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import (
    ROOT,
    bert_base_sized,
    first,
    in_process,
    read_pairs,
    report,
    train_settings,
)
from splade_sts import layout
from splade_sts.data.pairs import Pairs


def stock(
    workspace: Path,
    model: Path,
    precision: str,
    share: float,
    validations: int = 4,
    batch_size: int = 16,
    steps: int = -1,
    seed: int = 1,
) -> dict[str, Any]:
    """The library's trainer with the settings of upstream's example."""
    from datasets import Dataset
    from sentence_transformers import SparseEncoderTrainer, SparseEncoderTrainingArguments
    from sentence_transformers.sparse_encoder.evaluation import SparseEmbeddingSimilarityEvaluator
    from sentence_transformers.sparse_encoder.losses import SparseCosineSimilarityLoss, SpladeLoss

    from splade_sts.model.encoder import load_encoder

    train, validation, eval_steps = _data(workspace, share, validations)
    encoder = load_encoder(model)
    evaluator = SparseEmbeddingSimilarityEvaluator(
        validation.sentence1,
        validation.sentence2,
        validation.score.tolist(),
        name="validation",
        main_similarity="cosine",
        write_csv=False,
    )
    evaluations: dict[str, Any] = {}
    if steps <= 0:
        evaluations = {
            "eval_strategy": "steps",
            "eval_steps": eval_steps,
            "save_strategy": "steps",
            "save_steps": eval_steps,
            "save_total_limit": 1,
            "save_only_model": True,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_validation_spearman_cosine",
        }
    with tempfile.TemporaryDirectory() as folder:
        trainer = SparseEncoderTrainer(
            model=encoder,
            args=SparseEncoderTrainingArguments(
                output_dir=folder,
                num_train_epochs=1,
                max_steps=steps,
                per_device_train_batch_size=batch_size,
                per_device_eval_batch_size=16,
                learning_rate=5e-5,
                bf16=precision == "bf16",
                use_cpu=True,
                seed=seed,
                logging_steps=10,
                report_to="none",
                dataloader_pin_memory=False,
                **evaluations,
            ),
            train_dataset=Dataset.from_pandas(train.table(), preserve_index=False),
            eval_dataset=Dataset.from_pandas(validation.table(), preserve_index=False),
            evaluator=evaluator,
            loss=SpladeLoss(
                encoder,
                SparseCosineSimilarityLoss(encoder),
                document_regularizer_weight=3e-3,
                use_document_regularizer_only=True,
            ),
        )
        started = time.perf_counter()
        trainer.train()
        return {"seconds": time.perf_counter() - started, "spearman": trainer.state.best_metric}


def ours(
    workspace: Path,
    model: Path,
    precision: str,
    share: float,
    validations: int = 4,
    batch_size: int = 16,
    steps: int = -1,
    seed: int = 1,
) -> dict[str, Any]:
    """`splade_sts.training.finetune.finetune` with the defaults of params.yaml."""
    from splade_sts.model.encoder import load_encoder
    from splade_sts.training.finetune import finetune

    train, validation, eval_steps = _data(workspace, share, validations)
    changes: dict[str, Any] = {
        "precision": precision,
        "seed": seed,
        "batch_size": batch_size,
        "eval_steps": eval_steps,
        "checkpoint_steps": eval_steps,
    }
    if steps > 0:
        validation = first(validation, 16)
        changes |= {"epochs": steps * batch_size / len(train), "eval_steps": steps}
    encoder = load_encoder(model)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()  # stock is timed without loading its model, too
        found = finetune(encoder, train, validation, train_settings(**changes), Path(folder))
        return {
            "seconds": time.perf_counter() - started,
            "spearman": found.validation.spearman,
        }


def _data(workspace: Path, share: float, validations: int) -> tuple[Pairs, Pairs, int]:
    """Shares of train and validation, and the steps between validations.

    The proportions are those of an epoch with four validations.
    """
    train = read_pairs(workspace, "train", share)
    validation = read_pairs(workspace, "validation", share * 4 / validations)
    return train, validation, max(1, math.ceil(len(train) / 16 / validations))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=ROOT)
    parser.add_argument("--model", choices=("base", "bert-base"), default="base")
    parser.add_argument("--share", type=float, default=0.25, help="share of the pairs (0.25)")
    parser.add_argument("--validations", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON")
    arguments = parser.parse_args()
    workspace = arguments.workspace.resolve()
    runs: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = workspace / layout.model("base")
        if arguments.model == "bert-base":
            model = bert_base_sized(workspace, Path(folder))
        for _ in range(arguments.rounds):
            for name, job, precision in (
                ("ours bf16", ours, "bf16"),
                ("stock bf16", stock, "bf16"),
                ("stock fp32", stock, "fp32"),
            ):
                found = in_process(
                    job,
                    workspace=workspace,
                    model=model,
                    precision=precision,
                    share=arguments.share,
                    validations=arguments.validations,
                )
                runs.setdefault(name, []).append(found)
                print(f"{name}: {found}", flush=True)
    fastest = min(run["seconds"] for run in runs["ours bf16"])
    rows = []
    for name, times in runs.items():
        best = min(times, key=lambda run: run["seconds"])
        rows.append({"run": name, **best, "times ours": best["seconds"] / fastest})
    report(f"training-{arguments.model}", rows, arguments.results)


if __name__ == "__main__":
    main()
