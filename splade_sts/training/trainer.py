"""The library's trainer, extended by curves and by checkpoints that are whole or do not count."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from datasets import Dataset
from safetensors.torch import load_file, save_file
from sentence_transformers import SparseEncoderTrainer
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler
from transformers import TrainerState, set_seed
from transformers.trainer import TRAINER_STATE_NAME

from splade_sts.errors import UserError, disk_problem
from splade_sts.files import read_json, write_json
from splade_sts.model.encoder import load_encoder
from splade_sts.training import checkpoints
from splade_sts.training.curves import OnPoint, Point, TrainingPoint, ValidationPoint
from splade_sts.training.processes import current, wait_for_all
from splade_sts.training.sampler import (
    EpochBatchSampler,
    LengthGroupedBatchSampler,
    PartBatchSampler,
    pair_lengths,
    with_blank,
)
from splade_sts.training.selection import LOGGED_FITNESS, logged_metrics

# What our checkpoints hold beyond the library's.
CURVES, LOSS_PARTS = "curves.json", "loss_parts.safetensors"


class RecordingTrainer(SparseEncoderTrainer):
    """The library's trainer, with batches that resume, unrounded curves, and checkpoints that hold
    both.

    (The library's log rounds the parts of the loss to four decimals.)

    Attributes:
        training_curve, validation_curve: the points so far.
        trained_to: the step whose weights the model holds; None where no step was taken.
    """

    def __init__(self, *, watchers: Sequence[OnPoint], group_by_length: bool, **kwargs: Any):
        """Make a trainer.

        Args:
            watchers: are called with each point, in a resumed training from its start.
            group_by_length: whether batches are of pairs of similar length.
            kwargs: the library's arguments.
        """
        self.processes = current()
        if self.processes.count > 1:
            kwargs["train_dataset"] = with_blank(kwargs["train_dataset"])
        super().__init__(**kwargs)
        self.folder = Path(str(self.args.output_dir))
        self.watchers = watchers if self.processes.leads else ()
        self.group_by_length = group_by_length
        self.training_curve: list[TrainingPoint] = []
        self.validation_curve: list[ValidationPoint] = []
        self.trained_to: int | None = None

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add nothing: our own model card is written elsewhere, and examples for it cost time."""

    def get_batch_sampler(
        self,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
    ) -> BatchSampler:
        if self.processes.count > 1:
            blank = len(dataset) - 1
            rows = dataset.select(range(blank))
            whole = self._batches(rows, batch_size, drop_last, generator, seed)
            return PartBatchSampler(whole, self.processes, blank)
        return self._batches(dataset, batch_size, drop_last, generator, seed)

    def _batches(
        self,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool,
        generator: torch.Generator | None,
        seed: int,
    ) -> EpochBatchSampler:
        if not self.group_by_length:
            rows = RandomSampler(dataset, generator=generator)
            return EpochBatchSampler(rows, batch_size, drop_last, generator=generator, seed=seed)
        lengths = pair_lengths(dataset, self.model.tokenizer, self.model.max_seq_length)
        generator = generator or torch.Generator()
        return LengthGroupedBatchSampler(lengths, batch_size, drop_last, generator, seed)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The library's, of which accelerate would deal out whole batches to the processes; here
        each has its part of every batch already.
        """
        if self.processes.count == 1:
            return super().get_train_dataloader()
        loader = self._build_dataloader(  # private: sentence-transformers
            self.train_dataset, self.args.train_batch_size, dataset_kind="train"
        )
        mine: DataLoader[Any] = prepare_data_loader(
            loader,
            self.args.device,
            num_processes=1,
            process_index=0,
            put_on_device=True,
            non_blocking=self.args.dataloader_pin_memory,
        )
        return mine

    def save_model(
        self,
        output_dir: str | None = None,
        _internal_call: bool = False,  # private: transformers
    ) -> None:
        """Write what `load_encoder` reads, and no model card, which takes longer than the rest."""
        if self.args.should_save:
            folder = output_dir or str(self.folder)
            self.model.save_pretrained(folder, create_model_card=False)

    def train_from(self, checkpoint: Path | None) -> None:
        """Train from `checkpoint` on, or from the start where it is None; the curves go on where
        they stood.
        """
        if checkpoint is None:
            if self.processes.count > 1:  # else all would draw the same dropout for other pairs
                set_seed(self.args.seed + self.processes.rank)
            self._train_on(None)
            return
        self._take_up(checkpoint)
        state = trainer_state(checkpoint)
        if state.global_step < state.max_steps:
            self._train_on(checkpoint)
        else:  # the trainer would add a step where `epochs` is a fraction
            self.state = state

    def _take_up(self, checkpoint: Path) -> None:
        curves = read_json(checkpoint / CURVES)
        self.training_curve = [TrainingPoint(**point) for point in curves["training"]]
        self.validation_curve = [ValidationPoint(**point) for point in curves["validation"]]
        points: list[Point] = [*self.training_curve, *self.validation_curve]
        for point in points:
            self._tell(point)
        parts = load_file(checkpoint / LOSS_PARTS)
        self.accum_loss_components["train"] = {
            name: value.to(self.args.device) for name, value in parts.items()
        }

    def _train_on(self, checkpoint: Path | None) -> None:
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        self.trained_to = self.state.global_step

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:  # private: transformers
        # The trainer writes under the final name: the seal comes last, and only then older
        # checkpoints go.
        step = self.state.global_step
        checkpoint = self._checkpoint(step)
        try:
            super()._save_checkpoint(model, trial)  # private: transformers
            wait_for_all()  # each writes the state of its random numbers
            if not self.processes.leads:
                return
            self._check_random_states(checkpoint)
            save_file(self.accum_loss_components["train"], checkpoint / LOSS_PARTS)
            curves = {
                "training": [asdict(point) for point in self.training_curve],
                "validation": [asdict(point) for point in self.validation_curve],
            }
            write_json(checkpoint / CURVES, curves, allow_nan=True)
            checkpoints.seal(checkpoint)
        except Exception as error:
            if not (problem := disk_problem(error)):
                raise
            if self.processes.leads:  # else the first one writes there
                # gives its space back; without a seal it does not count in any case
                shutil.rmtree(checkpoint, ignore_errors=True)
            raise UserError(
                f"the checkpoint of step {step} cannot be written: {problem}"
            ) from error
        keep = {checkpoint, self._checkpoint(self.state.best_global_step)}
        for older in self.folder.glob("checkpoint-*"):
            if older not in keep:
                checkpoints.remove(older)

    def _check_random_states(self, checkpoint: Path) -> None:
        found = len(list(checkpoint.glob("rng_state*.pth")))
        if found < self.processes.count:
            raise UserError(
                f"{found} of {self.processes.count} processes have written to {checkpoint}; put "
                "the project into a folder that all machines of the training share"
            )

    def _checkpoint(self, step: int | None) -> Path:
        return self.folder / f"checkpoint-{step}"

    def load_best(self) -> int:
        """Load the model of the best validation; return its step.

        Raises:
            UserError: no validation gave a finite Spearman.
        """
        step: int | None = self.state.best_global_step
        if not step:
            raise UserError(
                "training diverged: validation Spearman was never finite; lower "
                "train.learning_rate or train.regularizer_weight"
            )
        if self.optimizer:  # gradients and moments make room for another copy of the weights
            self.model.zero_grad()
            self.optimizer.state.clear()
        if step != self.trained_to:
            self.model.load_state_dict(load_encoder(self._checkpoint(step)).state_dict())
        return step

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            self.training_curve.append(self._training_point(logs))
            self._tell(self.training_curve[-1])
        if LOGGED_FITNESS in logs:
            metrics = asdict(logged_metrics(logs))
            self.validation_curve.append(
                ValidationPoint(self.state.global_step, self.state.epoch, **metrics)
            )
            self._tell(self.validation_curve[-1])
        super().log(logs, start_time)

    def _tell(self, point: Point) -> None:
        for watcher in self.watchers:
            watcher(point)

    def _training_point(self, logs: dict[str, float]) -> TrainingPoint:
        sums = dict(self.accum_loss_components["train"])
        steps = sums.pop("steps").item()
        parts = {name: value.item() / steps for name, value in sums.items()}
        loss = sum(parts.values())
        if not math.isfinite(loss):
            raise UserError("training diverged: the loss is not finite; lower train.learning_rate")
        splade_loss: Any = self.loss
        return TrainingPoint(
            step=self.state.global_step,
            epoch=self.state.epoch,
            loss=loss,
            **parts,
            document_regularizer_weight=splade_loss.document_regularizer_weight,
            learning_rate=logs["learning_rate"],
            gradient_norm=logs.get("grad_norm"),
        )


def trainer_state(checkpoint: Path) -> TrainerState:
    """What the trainer knew when it wrote `checkpoint`."""
    state: TrainerState = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    return state
