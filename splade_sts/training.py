"""Fine-tuning a SPLADE model with sentence-transformers' trainer."""

import csv
import os
import platform
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from safetensors.torch import load_file
from sentence_transformers import SparseEncoder, SparseEncoderTrainer, SparseEncoderTrainingArguments
from sentence_transformers.sparse_encoder.callbacks.splade_callbacks import SpladeRegularizerWeightSchedulerCallback
from sentence_transformers.sparse_encoder.losses import (
    SparseAnglELoss,
    SparseCosineSimilarityLoss,
    SparseCoSENTLoss,
    SpladeLoss,
)
from transformers import TrainerCallback
from transformers.utils import is_torch_bf16_gpu_available

from splade_sts.encoder import load_encoder
from splade_sts.errors import UserError
from splade_sts.evaluation import METRICS, PairEvaluator, check_collapse
from splade_sts.fused_head import fused, has_native_bfloat16
from splade_sts.memory import keep_freed_memory, recomputing_large_batches
from splade_sts.params import TrainParams
from splade_sts.sampler import LengthGroupedBatchSampler, pair_lengths

LOSSES = {"cosine": SparseCosineSimilarityLoss, "cosent": SparseCoSENTLoss, "angle": SparseAnglELoss}
SPLIT = "validation"
TRAINING_COLUMNS = (
    "step", "epoch", "loss", "base_loss", "document_regularizer_loss", "document_regularizer_weight",
    "learning_rate", "gradient_norm",
)
VALIDATION_COLUMNS = ("step", "epoch", *METRICS)


def resolve_precision(precision: str) -> str:
    """`fp32` or `bf16`; `auto` is bf16 where the GPU, or else the CPU, computes in it natively.

    Raises:
        UserError: bf16 is asked for on a GPU that does not have it.
    """
    if torch.cuda.is_available():
        has_bf16 = is_torch_bf16_gpu_available()
        if precision == "bf16" and not has_bf16:
            raise UserError("train.precision is bf16, which this GPU does not have; set it to auto or fp32")
    else:
        has_bf16 = has_native_bfloat16()
    if precision == "auto":
        return "bf16" if has_bf16 else "fp32"
    return precision


class LastStepCallback(TrainerCallback):
    """Logs, validates and saves after the last step too, which the trainer does only where the intervals divide it."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step >= state.max_steps:
            control.should_log = control.should_evaluate = control.should_save = True


class RecordingTrainer(SparseEncoderTrainer):
    """The library's trainer, with length-grouped batches and curves that are recorded unrounded.

    (The library's log rounds the parts of the loss to four decimals.)
    """

    def __init__(self, *args, on_point: Callable[[str, dict[str, Any]], None], group_by_length: bool, **kwargs):
        super().__init__(*args, **kwargs)
        self.on_point, self.group_by_length = on_point, group_by_length
        self.training_curve: list[dict[str, Any]] = []
        self.validation_curve: list[dict[str, Any]] = []

    def get_batch_sampler(self, dataset: Dataset, batch_size: int, drop_last: bool, **kwargs: Any):
        if not self.group_by_length:
            return super().get_batch_sampler(dataset, batch_size, drop_last, **kwargs)
        lengths = pair_lengths(dataset, self.model.tokenizer, self.model.max_seq_length)
        return LengthGroupedBatchSampler(lengths, batch_size, drop_last, kwargs["generator"], kwargs["seed"])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        point = {"step": self.state.global_step, "epoch": self.state.epoch}
        if "loss" in logs:
            sums = dict(self.accum_loss_components["train"])
            steps = sums.pop("steps").item()
            parts = {name: value.item() / steps for name, value in sums.items()}
            self.training_curve.append(
                point
                | {"loss": sum(parts.values()), **parts, "learning_rate": logs["learning_rate"]}
                | {"document_regularizer_weight": self.loss.document_regularizer_weight}
                | {"gradient_norm": logs.get("grad_norm")}
            )
            self.on_point("train", self.training_curve[-1])
        if f"eval_{SPLIT}_spearman_cosine" in logs:
            self.validation_curve.append(point | {name: float(logs[f"eval_{SPLIT}_{name}"]) for name in METRICS})
            self.on_point(SPLIT, self.validation_curve[-1])
        super().log(logs, start_time)


def finetune(
    folder: str | Path, train: pd.DataFrame, validation: pd.DataFrame, params: TrainParams,
    on_point: Callable[[str, dict[str, Any]], None] = lambda kind, point: None,
) -> tuple[SparseEncoder, RecordingTrainer, dict[str, Any]]:
    """Fine-tune the model in `folder` and keep the checkpoint with the best validation Spearman.

    The loss is SpladeLoss around `params.loss`, with the FLOPS regulariser on both sentences (Formal et al. 2022,
    "From Distillation to Hard Negative Sampling", section 3).

    Args:
        folder: a SPLADE model as `SparseEncoder` loads it.
        train, validation: normalized pairs (`sentence1`, `sentence2`, `score` in [0, 1]).
        params: the train section of params.yaml.
        on_point: called with `train` or `validation` and each new point of that curve.

    Returns:
        The best model, the trainer with its `training_curve` and `validation_curve`, and a summary: `precision`
        (resolved), `steps`, `best_step`, and `validation`, the metrics at that step.

    Raises:
        UserError: training diverged or the model collapsed, or the precision cannot be had.
    """
    keep_freed_memory()
    precision = resolve_precision(params.precision)
    model = load_encoder(folder)
    loss = SpladeLoss(
        model, LOSSES[params.loss](model), document_regularizer_weight=params.regularizer_weight,
        use_document_regularizer_only=True,
    )
    schedule = SpladeRegularizerWeightSchedulerCallback(
        loss, scheduler_type=params.regularizer_schedule, warmup_ratio=params.regularizer_warmup_ratio
    )
    with tempfile.TemporaryDirectory(prefix="finetune-") as checkpoints:
        arguments = SparseEncoderTrainingArguments(
            output_dir=checkpoints, num_train_epochs=params.epochs, per_device_train_batch_size=params.batch_size,
            learning_rate=params.learning_rate, warmup_steps=params.warmup_ratio, seed=params.seed,
            bf16=precision == "bf16", use_cpu=not torch.cuda.is_available(),
            eval_strategy="steps", eval_steps=params.eval_steps, save_strategy="steps", save_steps=params.eval_steps,
            save_total_limit=1, save_only_model=True, load_best_model_at_end=True,
            metric_for_best_model=f"eval_{SPLIT}_spearman_cosine", greater_is_better=True,
            logging_steps=params.logging_steps, logging_nan_inf_filter=False, report_to="none",
            dataloader_pin_memory=torch.cuda.is_available(),
        )
        model.model_card_data.generate_widget_examples = False
        trainer = RecordingTrainer(
            model=model, args=arguments, loss=loss,
            train_dataset=Dataset.from_pandas(train[["sentence1", "sentence2", "score"]], preserve_index=False),
            evaluator=PairEvaluator(validation, SPLIT, params.eval_batch_size),
            callbacks=[schedule, LastStepCallback()], on_point=on_point, group_by_length=params.group_by_length,
        )
        with fused(model), recomputing_large_batches(model):
            trainer.train()
        if any(not pd.notna(point["loss"]) for point in trainer.training_curve):
            raise UserError("training diverged: the loss is not finite; lower train.learning_rate")
        best = trainer.state.best_model_checkpoint
        if best is None:
            raise UserError(
                "training diverged: validation Spearman was never finite; lower train.learning_rate or "
                "train.regularizer_weight"
            )
        _check_restored(model, Path(best))
    best_step = int(best.rsplit("-", 1)[-1])
    metrics = next(point for point in trainer.validation_curve if point["step"] == best_step)
    metrics = {name: metrics[name] for name in METRICS}
    check_collapse(metrics, SPLIT)
    summary = {
        "precision": precision, "steps": trainer.state.global_step, "best_step": best_step, SPLIT: metrics,
    }
    return model, trainer, summary


def _check_restored(model: SparseEncoder, checkpoint: Path) -> None:
    # The trainer only logs a failure to load the best checkpoint, and goes on with the last one.
    saved = load_file(checkpoint / "model.safetensors")
    current = model[0].model.state_dict()
    different = [name for name, value in saved.items() if not torch.equal(value, current[name].cpu())]
    if different:
        raise RuntimeError(f"the best checkpoint {checkpoint.name} was not restored: {different[:3]} differ")


def write_curve(path: str | os.PathLike, columns: tuple[str, ...], points: list[dict[str, Any]]) -> None:
    """Write a curve as CSV with the given columns, unrounded."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(points)


def device_name() -> str:
    """What the training runs on: the GPU's name, or the CPU's as PyTorch knows it."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else torch.backends.cpu.get_cpu_capability()


def library_versions() -> dict[str, str]:
    """Versions that a result may depend on, as tags."""
    names = ("torch", "sentence-transformers", "transformers", "datasets", "dvc", "mlflow")
    return {"version.python": platform.python_version(), **{f"version.{name}": version(name) for name in names}}
