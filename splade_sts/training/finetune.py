"""Fine-tuning a SPLADE model with sentence-transformers' trainer."""

import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from datasets import Dataset, Features, Value
from datasets.arrow_writer import ArrowWriter
from sentence_transformers import SparseEncoder, SparseEncoderTrainingArguments
from sentence_transformers.sparse_encoder.callbacks.splade_callbacks import (
    SpladeRegularizerWeightSchedulerCallback,
)
from sentence_transformers.sparse_encoder.losses import (
    SparseAnglELoss,
    SparseCoSENTLoss,
    SparseCosineSimilarityLoss,
    SpladeLoss,
)
from transformers import PrinterCallback

from splade_sts.data.pairs import InParts, Pairs
from splade_sts.data.stored import DistinctSentences
from splade_sts.errors import UserError, disk_problem
from splade_sts.evaluation.health import Health, check_collapse
from splade_sts.evaluation.results import Metrics
from splade_sts.model.head.swap import fused
from splade_sts.params import TrainParams
from splade_sts.training import checkpoints as stored
from splade_sts.training.callbacks import ProgressBar, StepCallback
from splade_sts.training.collapse import noticing_collapse
from splade_sts.training.curves import OnPoint, Point, TrainingPoint, ValidationPoint
from splade_sts.training.environment import (
    MIXED_PRECISIONS,
    Precision,
    check_one_process,
    own_settings,
    resolve_precision,
)
from splade_sts.training.memory import saving_memory
from splade_sts.training.preflight import preflight
from splade_sts.training.processes import current, first_says, in_group
from splade_sts.training.selection import LOGGED_FITNESS, SPLIT, Validation, check_reached
from splade_sts.training.shared_loss import SharedSpladeLoss
from splade_sts.training.sparsity import SparsityController
from splade_sts.training.trainer import RecordingTrainer, trainer_state

LOSSES = {
    "cosine": SparseCosineSimilarityLoss,
    "cosent": SparseCoSENTLoss,
    "angle": SparseAnglELoss,
}


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What came out of a training.

    Attributes:
        model: the model of the best validation.
        training_curve, validation_curve: all points of the training, in order.
        precision: what it computed in.
        processes: how many trained together.
        threads: of each of them.
        steps: steps taken.
        best_step: the step of the best validation.
        validation: the metrics of that validation.
        base: what was seen of the base model before the training.
    """

    model: SparseEncoder
    training_curve: list[TrainingPoint]
    validation_curve: list[ValidationPoint]
    precision: Precision
    processes: int
    threads: int
    steps: int
    best_step: int
    validation: Metrics
    base: Health

    def evidence(self) -> dict[str, Any]:
        """All of it that no other file holds."""
        return {
            "precision": self.precision,
            "processes": self.processes,
            "threads": self.threads,
            "steps": self.steps,
            "best_step": self.best_step,
            "validation": asdict(self.validation),
            "base": asdict(self.base),
        }


def ignore(point: Point) -> None:
    """Nobody looks on."""


def finetune(
    model: SparseEncoder,
    train: InParts,
    validation: Pairs,
    params: TrainParams,
    checkpoints: Path,
    on_point: OnPoint = ignore,
    min_sparsity_ratio: float = 0.0,
) -> TrainingResult:
    """Fine-tune `model` and give it the weights of the best validation Spearman.

    The loss is SpladeLoss around `params.loss`, with the FLOPS regulariser on both sentences
    (Formal et al. 2022, "From Distillation to Hard Negative Sampling", section 3). With
    `params.target_active_dims` the regulariser's weight is steered
    (`splade_sts.training.sparsity`), and only checkpoints with that number of active dims count.

    In each of several processes that have joined one group (`splade_sts.training.processes`) it
    gives the same as in one, but for the order in which sums are added up and for dropout, of which
    each process draws its own. The first one writes, and alone has the points.

    Args:
        model: the SPLADE model to train; changed in place.
        train: pairs to train on; not held in memory, but in a file in `checkpoints` without a name
            that takes about the room of their text.
        validation: pairs to choose the best model by.
        params: the train section of params.yaml.
        checkpoints: the folder where checkpoints of this very training lie and are kept; the last
            whole one is resumed from, and the result is the same, byte for byte on a CPU.
        on_point: called with each point of the two curves, in a resumed training from its start.
        min_sparsity_ratio: below it the base model counts as exploded; 0 lets every one pass.

    Raises:
        UserError: the base model has collapsed or exploded, training diverged or the model
            collapsed in it, it did not reach the wanted active dims, the precision cannot be had,
            a checkpoint cannot be written, or the environment holds a process group that this
            process has not joined.
    """
    processes = current()
    if not in_group():
        check_one_process()
    if params.batch_size < processes.count:
        raise UserError(
            f"train.batch_size is {params.batch_size}, shared by {processes.count} processes: some "
            "would have no pair of it; raise it, or start fewer processes in train.launcher"
        )
    precision = resolve_precision(params.precision)
    base = first_says(
        lambda: preflight(
            model, DistinctSentences(train), params.eval_batch_size, min_sparsity_ratio
        )
    )
    print(f"models/base: {base}", flush=True)
    with own_settings(), closing(ProgressBar()) as bar:
        arguments = build_arguments(params, precision, checkpoints)
        trainer = build_trainer(model, train, validation, params, arguments, bar, on_point)
        run(trainer, first_says(lambda: last_checkpoint(checkpoints)))
    best_step, metrics = pick_best(trainer, params.target_active_dims)
    return TrainingResult(
        model,
        trainer.training_curve,
        trainer.validation_curve,
        MIXED_PRECISIONS[trainer.accelerator.mixed_precision],  # what was done, not what was asked
        processes.count,
        torch.get_num_threads(),
        trainer.state.global_step,
        best_step,
        metrics,
        base,
    )


def build_loss(model: SparseEncoder, params: TrainParams) -> SpladeLoss:
    """The loss on pairs with gold scores, and the FLOPS regulariser on both sentences of a pair."""
    return SpladeLoss(
        model,
        LOSSES[params.loss](model),
        document_regularizer_weight=params.regularizer_weight,
        use_document_regularizer_only=True,
    )


def build_schedule(
    loss: SpladeLoss, validation: Pairs, params: TrainParams
) -> SpladeRegularizerWeightSchedulerCallback:
    """What moves the regulariser's weight: the library's schedule, or the controller where active
    dims are wanted.
    """
    if params.target_active_dims is None:
        return SpladeRegularizerWeightSchedulerCallback(
            loss, params.regularizer_schedule, params.regularizer_warmup_ratio
        )
    return SparsityController(
        loss,
        validation.sentences,
        params.target_active_dims,
        params.regularizer_schedule,
        params.regularizer_warmup_ratio,
        params.eval_batch_size,
    )


def build_arguments(
    params: TrainParams, precision: Precision, checkpoints: Path
) -> SparseEncoderTrainingArguments:
    """The library's settings: where checkpoints go and how often, and what `params` says."""
    on_gpu = torch.cuda.is_available()
    arguments = SparseEncoderTrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=params.epochs,
        per_device_train_batch_size=params.batch_size,  # of all processes, which share it
        learning_rate=params.learning_rate,
        warmup_steps=params.warmup_ratio,
        seed=params.seed,
        bf16=precision == "bf16",
        use_cpu=not on_gpu,
        eval_strategy="steps",
        eval_steps=params.eval_steps,
        save_strategy="steps",
        save_steps=params.checkpoint_steps,
        metric_for_best_model=LOGGED_FITNESS,
        greater_is_better=True,
        logging_steps=params.logging_steps,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,  # our own bar stands for the library's
        dataloader_pin_memory=on_gpu,
        accelerator_config={"non_blocking": on_gpu},
        # of several processes; otherwise the gradients are put together in another order after the
        # first step, and a training that resumes would add them up in that of its own first step
        ddp_find_unused_parameters=True,
        # the library drops uneven batches of several processes, and warns where it is not told to
        dataloader_drop_last=current().count > 1,
    )
    arguments.dataloader_drop_last = False  # ours are even, by blanks
    if arguments.n_gpu > 1:  # in one process; each GPU would add a batch of its own
        arguments._n_gpu = 1  # private: transformers
    return arguments


def build_trainer(
    model: SparseEncoder,
    train: InParts,
    validation: Pairs,
    params: TrainParams,
    arguments: SparseEncoderTrainingArguments,
    bar: ProgressBar,
    on_point: OnPoint,
) -> RecordingTrainer:
    """The trainer of `model`, whose points go to the bar and to `on_point`."""
    model.model_card_data.generate_widget_examples = False
    loss = build_loss(model, params)
    if (processes := current()).count > 1:
        loss = SharedSpladeLoss(loss, processes)
    trainer = RecordingTrainer(
        model=model,
        args=arguments,
        loss=loss,
        train_dataset=build_dataset(train, Path(str(arguments.output_dir))),
        evaluator=Validation(validation, params.eval_batch_size, params.target_active_dims),
        callbacks=[build_schedule(loss, validation, params), StepCallback(), bar],
        watchers=[bar.show, on_point],
        group_by_length=params.group_by_length,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def build_dataset(pairs: InParts, folder: Path) -> Dataset:
    """The columns that the losses read, in the order in which they read them.

    They lie in a file in `folder`, which is mapped into memory. It has no name any more once this
    returns: its room is free again when the process ends, however it does.

    Raises:
        UserError: the file cannot be written.
    """
    features = Features(
        {"sentence1": Value("string"), "sentence2": Value("string"), "score": Value("float64")}
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".train-") as file:
            with ArrowWriter(features=features, path=file.name) as writer:
                for part in pairs.parts():
                    table = part.table()[list(features)]
                    writer.write_table(pa.Table.from_pandas(table, preserve_index=False))
                writer.finalize()
            return Dataset.from_file(file.name)
    except OSError as error:
        if not (problem := disk_problem(error)):
            raise
        raise UserError(f"the pairs of train cannot be written to {folder}: {problem}") from error


def run(trainer: RecordingTrainer, checkpoint: Path | None) -> None:
    """Train to the last step, from `checkpoint` where there is one."""
    if checkpoint and trainer.processes.leads:
        print(f"resuming from {checkpoint}", flush=True)
    model = trainer.model
    with fused(model), saving_memory(model), noticing_collapse(model, trainer):
        trainer.train_from(checkpoint)


def last_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint that is whole and whose best model is there too."""
    found = stored.complete(folder)
    for checkpoint in reversed(found):
        best = trainer_state(checkpoint).best_global_step
        if not best or checkpoint.with_name(f"checkpoint-{best}") in found:
            return checkpoint
    return None


def pick_best(trainer: RecordingTrainer, target_active_dims: int | None) -> tuple[int, Metrics]:
    """Load the model of the best validation and check it; return its step and that validation.

    Raises:
        UserError: there is none, it has collapsed, or it has not the wanted active dims.
    """
    step = trainer.load_best()
    point = next(point for point in trainer.validation_curve if point.step == step)
    metrics = Metrics(**{field.name: getattr(point, field.name) for field in fields(Metrics)})
    check_collapse(metrics, SPLIT)
    if target_active_dims is not None:
        weight = trainer.training_curve[-1].document_regularizer_weight
        check_reached(metrics.active_dims, target_active_dims, weight)
    return step, metrics
