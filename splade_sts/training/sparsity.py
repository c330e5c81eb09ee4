"""Training to a wanted number of active dimensions, instead of guessing the weight of the regulariser."""

import math
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.callbacks.splade_callbacks import SchedulerType, SpladeRegularizerWeightSchedulerCallback
from sentence_transformers.sparse_encoder.losses import SpladeLoss
from transformers.trainer_callback import ExportableState

from splade_sts.model.encoder import encode_distinct
from splade_sts.errors import UserError

# A model within this share of the wanted number has reached it.
TOLERANCE = 0.1
# Sentences whose active dims are measured, and the most steps between two measurements: together about a tenth of the
# time of training.
PROBE_SENTENCES, PROBE_STEPS = 128, 10
# Gains of the controller, chosen on the STS benchmark (docs/method.md).
PROPORTIONAL, INTEGRAL = 5.0, 0.7
# How far, up and down, the logarithm of the weight may go at once, and the weight altogether: a model that jumps, as with a
# high learning rate, is not answered by a jump.
LARGEST_STEP, LARGEST_CHANGE = 1.0, 1e4


class SparsityController(SpladeRegularizerWeightSchedulerCallback, ExportableState):
    """Steers the weight of SpladeLoss's regulariser so that the model ends at a wanted number of active dimensions.

    A proportional-integral controller in its velocity form (Astrom and Hagglund 1995, "PID Controllers: Theory, Design,
    and Tuning", section 3.5), on logarithms: at the k-th measurement, with e_k = log(active dims / set point),

        log weight_k = log weight_(k-1) + PROPORTIONAL (e_k - e_(k-1)) + INTEGRAL e_k.

    The library's schedule moves the set point, in the logarithm, from the base model's active dims to the wanted number, in
    place of the weight. Measured is a fixed sample of the validation's sentences, without dropout; each validation says by
    how much the sample is off. The trainer's checkpoints keep the state, so that a resumed training is the same.
    """

    def __init__(
        self, loss: SpladeLoss, sentences: list[str], metric: str, target: float, scheduler_type: str, warmup_ratio: float,
        batch_size: int,
    ):
        """
        Args:
            loss: whose `document_regularizer_weight` (above 0) is the first weight.
            sentences: of the validation; PROBE_SENTENCES of them are measured, of all lengths alike.
            metric: name of the mean number of active dims among the trainer's validation metrics.
            target: its wanted value.
            scheduler_type: how the set point moves, `linear` or `quadratic`.
            warmup_ratio: share of the steps (above 0, at most 1) over which it does.
            batch_size: sentences encoded at once.
        """
        super().__init__(loss, scheduler_type, warmup_ratio)
        self.metric, self.target, self.batch_size = metric, target, batch_size
        self.first_weight = self.weight = loss.document_regularizer_weight
        self.probe = spread_by_length(sorted(set(sentences)), PROBE_SENTENCES)
        self.start, self.error, self.correction = 0.0, 0.0, 1.0

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {name: getattr(self, name) for name in ("weight", "start", "error", "correction")}}

    def on_train_begin(self, args, state, control, **kwargs):
        if state.global_step:  # resumed
            for name, value in state.stateful_callbacks[type(self).__name__]["attributes"].items():
                setattr(self, name, value)
        self._set_weight()

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        if state.global_step % max(1, min(PROBE_STEPS, state.max_steps // 20)) == 0:
            self.update(self._measure(model, args.bf16), state.global_step / state.max_steps)
            self._set_weight()

    def on_evaluate(self, args, state, control, metrics, model=None, **kwargs):
        if metrics[self.metric]:
            self.correction *= metrics[self.metric] / self._measure(model, args.bf16)

    def _measure(self, model: SparseEncoder, bf16: bool) -> float:
        """Mean active dims of the validation's sentences as the sample tells it, above 0."""
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
            vectors, _ = encode_distinct(model, self.probe, self.batch_size)
        return self.correction * max(vectors.values().count_nonzero().item(), 1) / len(self.probe)

    def _set_weight(self) -> None:
        self.loss.document_regularizer_weight = self._current_document_regularizer_weight = self.weight

    def update(self, active: float, progress: float) -> None:
        """Take a measurement of `active` dims (above 0) after `progress`, a share of the training, into `weight`."""
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
        return self.start * (self.target / self.start) ** (part**2 if self.scheduler_type == SchedulerType.QUADRATIC else part)


def spread_by_length(sentences: list[str], count: int) -> list[str]:
    """`count` of the sentences (or all, where there are fewer) at equal steps through them in the order of their lengths."""
    ordered = sorted(sentences, key=len)
    if len(ordered) <= count:
        return ordered
    return [ordered[(2 * number + 1) * len(ordered) // (2 * count)] for number in range(count)]


def distance(active_dims: float, target: float) -> float:
    """How far `active_dims` is from `target`, as a share of it."""
    return abs(active_dims / target - 1)


def check_reached(active_dims: float, target: float, weight: float) -> None:
    """Check the model that training kept.

    Raises:
        UserError: its `active_dims` on validation are not within TOLERANCE of `target`.
    """
    if distance(active_dims, target) > TOLERANCE:
        raise UserError(
            f"train.target_active_dims is {target}, but no validation came within {TOLERANCE:.0%} of it: the nearest had "
            f"{active_dims:.1f} active dims, and the regulariser's weight ended at {weight:.2g}; train longer (train.epochs), "
            "raise train.learning_rate, or start nearer with train.regularizer_weight"
        )
