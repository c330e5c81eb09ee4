"""Fine-tuning a SPLADE model with sentence-transformers' trainer."""

import csv
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from sentence_transformers import SparseEncoder, SparseEncoderTrainer, SparseEncoderTrainingArguments
from sentence_transformers.sparse_encoder.callbacks.splade_callbacks import SpladeRegularizerWeightSchedulerCallback
from sentence_transformers.sparse_encoder.losses import (
    SparseAnglELoss,
    SparseCosineSimilarityLoss,
    SparseCoSENTLoss,
    SpladeLoss,
)
from torch.utils.data import RandomSampler
from transformers import TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import is_torch_bf16_gpu_available

from splade_sts.training import checkpoints
from splade_sts.errors import UserError, disk_problem
from splade_sts.evaluation.correlation import METRICS, PairEvaluator, check_collapse
from splade_sts.files import read_json, write_json
from splade_sts.model.head.cpu import fused, has_native_bfloat16
from splade_sts.training.memory import saving_memory
from splade_sts.params import TrainParams
from splade_sts.training.sampler import EpochBatchSampler, LengthGroupedBatchSampler, pair_lengths
from splade_sts.training.sparsity import TOLERANCE, SparsityController, check_reached, distance

LOSSES = {"cosine": SparseCosineSimilarityLoss, "cosent": SparseCoSENTLoss, "angle": SparseAnglELoss}
SPLIT = "validation"
BEST = f"eval_{SPLIT}_fitness"
CURVES, LOSS_PARTS = "curves.json", "loss_parts.safetensors"
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


class Validation(PairEvaluator):
    """The evaluator of the validations in training, with the `fitness` by which the best model is chosen.

    It is Spearman; where a number of active dims is wanted, only for models that have it. Any other is below every Spearman,
    the lower the further it is from that number.
    """

    def __init__(self, pairs: pd.DataFrame, batch_size: int, target_active_dims: float | None):
        super().__init__(pairs, SPLIT, batch_size)
        self.target_active_dims = target_active_dims

    def __call__(self, model: SparseEncoder, *args, **kwargs) -> dict[str, float]:
        metrics = super().__call__(model, *args, **kwargs)
        fitness = metrics[f"{SPLIT}_spearman_cosine"]
        if self.target_active_dims:
            off = distance(metrics[f"{SPLIT}_active_dims"], self.target_active_dims)
            fitness = fitness if off <= TOLERANCE else -1 - off
        return {**metrics, f"{SPLIT}_fitness": fitness}


class StepCallback(TrainerCallback):
    """Logs, validates and saves after the last step too, which the trainer does only where the intervals divide it;
    and saves a model that is better than all before."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step >= state.max_steps:
            control.should_log = control.should_evaluate = control.should_save = True

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        if state.best_metric is None or metrics[BEST] > state.best_metric:
            control.should_save = True


class RecordingTrainer(SparseEncoderTrainer):
    """The library's trainer, with batches that resume, unrounded curves, and checkpoints that hold both.

    (The library's log rounds the parts of the loss to four decimals.)
    """

    def __init__(self, *args, on_point: Callable[[str, dict[str, Any]], None], group_by_length: bool, **kwargs):
        super().__init__(*args, **kwargs)
        self.on_point, self.group_by_length = on_point, group_by_length
        self.training_curve: list[dict[str, Any]] = []
        self.validation_curve: list[dict[str, Any]] = []
        self.trained_to: int | None = None  # the step whose weights the model holds; None: no step was taken

    def get_batch_sampler(self, dataset: Dataset, batch_size: int, drop_last: bool, **kwargs: Any):
        generator, seed = kwargs["generator"], kwargs["seed"]
        if not self.group_by_length:
            rows = RandomSampler(dataset, generator=generator)
            return EpochBatchSampler(rows, batch_size, drop_last, generator=generator, seed=seed)
        lengths = pair_lengths(dataset, self.model.tokenizer, self.model.max_seq_length)
        return LengthGroupedBatchSampler(lengths, batch_size, drop_last, generator, seed)

    def train_from(self, checkpoint: Path | None) -> None:
        """Train from `checkpoint` on, or from the start where it is None; the curves go on where they stood."""
        if checkpoint is None:
            self._train_on()
            return
        curves = read_json(checkpoint / CURVES)
        self.training_curve, self.validation_curve = curves["train"], curves[SPLIT]
        for kind, points in curves.items():
            for point in points:
                self.on_point(kind, point)
        self.accum_loss_components["train"] = load_file(checkpoint / LOSS_PARTS, device=str(self.args.device))
        state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        if state.global_step < state.max_steps:
            self._train_on(resume_from_checkpoint=str(checkpoint))
        else:  # the trainer would add a step where `epochs` is a fraction
            self.state = state

    def _train_on(self, **kwargs: Any) -> None:
        self.train(**kwargs)
        self.trained_to = self.state.global_step

    def _save_checkpoint(self, model, trial) -> None:
        # The trainer writes under the final name: the seal comes last, and only then older checkpoints go.
        folder = Path(self.args.output_dir)
        checkpoint = self._checkpoint(self.state.global_step)
        try:
            super()._save_checkpoint(model, trial)
            save_file(self.accum_loss_components["train"], checkpoint / LOSS_PARTS)
            write_json(checkpoint / CURVES, {"train": self.training_curve, SPLIT: self.validation_curve}, allow_nan=True)
            checkpoints.seal(checkpoint)
        except Exception as error:
            if not (problem := disk_problem(error)):
                raise
            shutil.rmtree(checkpoint, ignore_errors=True)  # gives back its space; without a seal it does not count
            raise UserError(f"the checkpoint of step {self.state.global_step} cannot be written: {problem}") from error
        keep = {checkpoint, self._checkpoint(self.state.best_global_step)}
        for older in folder.glob("checkpoint-*"):
            if older not in keep:
                checkpoints.remove(older)

    def _checkpoint(self, step: int | None) -> Path:
        return Path(self.args.output_dir) / f"checkpoint-{step}"

    def load_best(self) -> int:
        """Load the model of the best validation; return its step.

        Raises:
            UserError: no validation gave a finite Spearman.
        """
        step = self.state.best_global_step
        if not step:
            raise UserError(
                "training diverged: validation Spearman was never finite; lower train.learning_rate or "
                "train.regularizer_weight"
            )
        if self.optimizer:  # gradients and moments make room for another copy of the weights
            self.model.zero_grad()
            self.optimizer.state.clear()
        if step != self.trained_to:
            self._load_from_checkpoint(str(self._checkpoint(step)))
        return step

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        point = {"step": self.state.global_step, "epoch": self.state.epoch}
        if "loss" in logs:
            sums = dict(self.accum_loss_components["train"])
            steps = sums.pop("steps").item()
            parts = {name: value.item() / steps for name, value in sums.items()}
            if not math.isfinite(sum(parts.values())):
                raise UserError("training diverged: the loss is not finite; lower train.learning_rate")
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
    model: SparseEncoder, train: pd.DataFrame, validation: pd.DataFrame, params: TrainParams,
    on_point: Callable[[str, dict[str, Any]], None] = lambda kind, point: None, folder_of_checkpoints: Path | None = None,
) -> tuple[SparseEncoder, RecordingTrainer, dict[str, Any]]:
    """Fine-tune `model` and give it the weights of the best validation Spearman.

    The loss is SpladeLoss around `params.loss`, with the FLOPS regulariser on both sentences (Formal et al. 2022,
    "From Distillation to Hard Negative Sampling", section 3). With `params.target_active_dims` the weight of the regulariser
    is steered (`splade_sts.training.sparsity`), and only checkpoints with that number of active dims count.

    Args:
        model: the SPLADE model to train; changed in place.
        train, validation: normalized pairs (`sentence1`, `sentence2`, `score` in [0, 1]).
        params: the train section of params.yaml.
        on_point: called with `train` or `validation` and each point of that curve, in a resumed training from its start.
        folder_of_checkpoints: where checkpoints of this very training lie and are kept; the last whole one is resumed
            from, and the result is the same, byte for byte on a CPU. None: nothing is kept.

    Returns:
        The best model, the trainer with its `training_curve` and `validation_curve`, and a summary: `precision`
        (resolved), `steps`, `best_step`, and `validation`, the metrics at that step.

    Raises:
        UserError: training diverged or the model collapsed, it did not reach the wanted active dims, the precision cannot
            be had, or a checkpoint cannot be written.
    """
    if folder_of_checkpoints is None:
        with tempfile.TemporaryDirectory(prefix="finetune-") as temporary:
            return finetune(model, train, validation, params, on_point, Path(temporary))
    precision = resolve_precision(params.precision)
    loss = SpladeLoss(
        model, LOSSES[params.loss](model), document_regularizer_weight=params.regularizer_weight,
        use_document_regularizer_only=True,
    )
    on_gpu = torch.cuda.is_available()
    form = {"scheduler_type": params.regularizer_schedule, "warmup_ratio": params.regularizer_warmup_ratio}
    if params.target_active_dims:
        sentences = [*validation["sentence1"], *validation["sentence2"]]
        schedule = SparsityController(
            loss, sentences, f"eval_{SPLIT}_active_dims", params.target_active_dims, batch_size=params.eval_batch_size, **form
        )
    else:
        schedule = SpladeRegularizerWeightSchedulerCallback(loss, **form)
    arguments = SparseEncoderTrainingArguments(
        output_dir=str(folder_of_checkpoints), num_train_epochs=params.epochs,
        per_device_train_batch_size=params.batch_size, learning_rate=params.learning_rate,
        warmup_steps=params.warmup_ratio, seed=params.seed, bf16=precision == "bf16",
        use_cpu=not on_gpu, eval_strategy="steps", eval_steps=params.eval_steps,
        save_strategy="steps", save_steps=params.checkpoint_steps, metric_for_best_model=BEST, greater_is_better=True,
        logging_steps=params.logging_steps, logging_nan_inf_filter=False, report_to="none",
        dataloader_pin_memory=on_gpu, accelerator_config={"non_blocking": on_gpu},
    )
    model.model_card_data.generate_widget_examples = False
    trainer = RecordingTrainer(
        model=model, args=arguments, loss=loss,
        train_dataset=Dataset.from_pandas(train[["sentence1", "sentence2", "score"]], preserve_index=False),
        evaluator=Validation(validation, params.eval_batch_size, params.target_active_dims),
        callbacks=[schedule, StepCallback()], on_point=on_point, group_by_length=params.group_by_length,
    )
    checkpoint = _last_checkpoint(folder_of_checkpoints)
    if checkpoint:
        print(f"resuming from {checkpoint}", flush=True)
    with fused(model), saving_memory(model):
        trainer.train_from(checkpoint)
    best_step = trainer.load_best()
    metrics = next(point for point in trainer.validation_curve if point["step"] == best_step)
    metrics = {name: metrics[name] for name in METRICS}
    check_collapse(metrics, SPLIT)
    if params.target_active_dims:
        check_reached(metrics["active_dims"], params.target_active_dims, trainer.training_curve[-1]["document_regularizer_weight"])
    summary = {
        "precision": precision, "steps": trainer.state.global_step, "best_step": best_step, SPLIT: metrics,
    }
    return model, trainer, summary


def _last_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint that is whole and whose best model is there too."""
    found = checkpoints.complete(folder)
    for checkpoint in reversed(found):
        best = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME)).best_global_step
        if not best or checkpoint.with_name(f"checkpoint-{best}") in found:
            return checkpoint
    return None


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
    names = ("torch", "sentence-transformers", "transformers", "accelerate", "datasets", "numpy", "dvc", "mlflow")
    return {"version.python": platform.python_version(), **{f"version.{name}": version(name) for name in names}}
