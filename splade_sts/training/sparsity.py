"""Training to a wanted number of active dimensions, instead of guessing the weight of the
regulariser.
"""

import math
from typing import Any, Literal

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.callbacks.splade_callbacks import (
    SchedulerType,
    SpladeRegularizerWeightSchedulerCallback,
)
from sentence_transformers.sparse_encoder.losses import SpladeLoss
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from splade_sts.errors import UserError
from splade_sts.evaluation.encoded import encode
from splade_sts.training.processes import first_says
from splade_sts.training.selection import TOLERANCE, distance, logged_metrics

# Sentences whose active dims are measured, and the most steps between two measurements: together
# about a tenth of the time of training.
PROBE_SENTENCES, PROBE_STEPS = 128, 10
# Gains of the controller, chosen on the STS benchmark (docs/method.md).
PROPORTIONAL, INTEGRAL = 5.0, 0.7
# How far, up and down, the logarithm of the weight may go at once, and the weight altogether: a
# model that jumps, as with a high learning rate, is not answered by a jump.
LARGEST_STEP, LARGEST_CHANGE = 1.0, 1e4
# Fewer steps than measurements wanted steer nothing.
LEAST_STEPS = 20
# What a checkpoint keeps of a controller.
STATE = ("weight", "start", "error", "correction")


class SparsityController(SpladeRegularizerWeightSchedulerCallback, ExportableState):
    """Steers the weight of SpladeLoss's regulariser so that the model ends at a wanted number of
    active dimensions.

    A proportional-integral controller in its velocity form (Astrom and Hagglund 1995, "PID
    Controllers: Theory, Design, and Tuning", section 3.5), on logarithms: at the k-th measurement,
    with e_k = log(active dims / set point),

        log weight_k = log weight_(k-1) + PROPORTIONAL (e_k - e_(k-1)) + INTEGRAL e_k.

    The library's schedule moves the set point, in the logarithm, from the base model's active dims
    to the wanted number, in place of the weight. Measured is a fixed sample of the validation's
    sentences, without dropout; each validation says by how much the sample is off. The trainer's
    checkpoints keep the state, so that a resumed training is the same.
    """

    def __init__(
        self,
        loss: SpladeLoss,
        sentences: list[str],
        target: float,
        scheduler_type: Literal["linear", "quadratic"],
        warmup_ratio: float,
        batch_size: int,
    ):
        """Args:
        loss: whose `document_regularizer_weight` (above 0) is the first weight.
        sentences: of the validation; PROBE_SENTENCES of them are measured, of all lengths
            alike.
        target: wanted mean number of active dims on validation.
        scheduler_type: how the set point moves.
        warmup_ratio: share of the steps (above 0, at most 1) over which it does.
        batch_size: sentences encoded at once.
        """
        super().__init__(loss, scheduler_type, warmup_ratio)
        self.target, self.batch_size = target, batch_size
        self.first_weight = self.weight = loss.document_regularizer_weight
        self.probe = spread_by_length(sorted(set(sentences)), PROBE_SENTENCES)
        self.start, self.error, self.correction = 0.0, 0.0, 1.0

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {name: getattr(self, name) for name in STATE}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step:  # resumed
            saved: Any = state.stateful_callbacks
            for name, value in saved[type(self).__name__]["attributes"].items():
                setattr(self, name, value)
        else:
            self._check_reachable(kwargs["model"], args, state.max_steps)
        self.loss.document_regularizer_weight = self.weight

    def _check_reachable(self, model: SparseEncoder, args: TrainingArguments, steps: int) -> None:
        """Refuse what no training can reach, before it starts.

        Raises:
            UserError: the base model has fewer active dims already, there are too few steps, or the
                learning rate is 0 and the base model has more.
        """
        wanted = f"train.target_active_dims is {self.target:g}"
        if steps < LEAST_STEPS:
            raise UserError(
                f"{wanted}, but the training has {steps} steps, and steering takes at least "
                f"{LEAST_STEPS}; raise train.epochs or lower train.batch_size"
            )
        active = self._measure(model, args.bf16)
        if self.target > active * (1 + TOLERANCE):
            raise UserError(
                f"{wanted}, but the base model has {active:.1f} active dims on a sample of "
                "validation; the regulariser takes dims away only. Want fewer, or convert the base "
                "model to more (base_model.target_active_dims)"
            )
        if args.learning_rate == 0 and distance(active, self.target) > TOLERANCE:
            raise UserError(
                f"{wanted}, but train.learning_rate is 0: the model keeps the {active:.1f} active "
                "dims that the base model has on a sample of validation. Raise "
                f"train.learning_rate, or want {active:.0f}"
            )

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if state.global_step % max(1, min(PROBE_STEPS, state.max_steps // 20)) == 0:
            self.update(
                self._measure(kwargs["model"], args.bf16), state.global_step / state.max_steps
            )
            self.loss.document_regularizer_weight = self.weight

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if active := logged_metrics(kwargs["metrics"]).active_dims:
            self.correction *= active / self._measure(kwargs["model"], args.bf16)

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: Any = None,
        logs: Any = None,
        **kwargs: Any,
    ) -> None:
        """Leaves the logs alone: the library's schedule would add a weight that is not this one."""

    def _measure(self, model: SparseEncoder, bf16: bool) -> float:
        """Mean active dims of the validation's sentences as the sample tells it, above 0.

        The first process measures for all.
        """

        def active() -> int:
            with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
                vectors = encode(model, self.probe, self.batch_size).vectors
            return int(vectors.values().count_nonzero())

        return self.correction * max(first_says(active), 1) / len(self.probe)

    def update(self, active: float, progress: float) -> None:
        """Take a measurement of `active` dims (above 0) after `progress`, a share of the training,
        into `weight`.
        """
        self.start = self.start or active
        error = math.log(active / self.set_point(progress))
        change = PROPORTIONAL * (error - self.error) + INTEGRAL * error
        change = min(max(change, -LARGEST_STEP), LARGEST_STEP)
        lowest, highest = self.first_weight / LARGEST_CHANGE, self.first_weight * LARGEST_CHANGE
        self.weight = min(max(self.weight * math.exp(change), lowest), highest)
        self.error = error

    def set_point(self, progress: float) -> float:
        """Active dims that the model should have after `progress`, a share of the training."""
        part = min(progress / self.warmup_ratio, 1.0)
        if self.scheduler_type == SchedulerType.QUADRATIC:
            part **= 2
        point: float = self.start * (self.target / self.start) ** part
        return point


def spread_by_length(sentences: list[str], count: int) -> list[str]:
    """`count` of the sentences (or all, where there are fewer) at equal steps through them in the
    order of lengths.
    """
    ordered = sorted(sentences, key=len)
    if len(ordered) <= count:
        return ordered
    return [ordered[(2 * number + 1) * len(ordered) // (2 * count)] for number in range(count)]
