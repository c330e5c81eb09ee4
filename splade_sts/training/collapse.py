"""A model that collapses in training is noticed at the next logging step, and not at the end."""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from splade_sts.evaluation.health import LOWER, VectorSums, check_health
from splade_sts.training.processes import current

# Sentences of which the vectors are looked at, at least: those of the last batch, and of the ones
# before where it has fewer. The two sentences of a pair are alike by design. Among 16 sentences
# they are one of 15 pairs, too few to take a mean that is healthy above the limit.
LEAST_SENTENCES = 16


class CollapseWatch(TrainerCallback):
    """Looks at the vectors of the last training batch whenever the trainer logs a loss.

    They are those that the loss was computed of: nothing is encoded for it. Of each batch that such
    a look may need, three sums are kept (`VectorSums`), without gradients; at the other steps
    nothing is computed.
    """

    def __init__(self) -> None:
        self.batches: deque[VectorSums] = deque()
        self.awake = True

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Watch the last steps before a loss is logged, as many as give enough sentences."""
        step = state.global_step + 1
        left = min(-step % args.logging_steps, state.max_steps - step)
        pairs = max(1, args.per_device_train_batch_size // current().count)
        # one more, since the last batch of an epoch may be smaller
        self.awake = left <= math.ceil(LEAST_SENTENCES / (2 * pairs))

    @torch.no_grad()
    def see(self, model: SparseEncoder, inputs: Any, outputs: dict[str, Any]) -> None:
        """Take the vectors of a forward pass, as a hook of the model."""
        if not model.training or not self.awake:  # a validation, or long before a look
            return
        vectors: Tensor = outputs["sentence_embedding"]
        self.batches.append(VectorSums.of(vectors.detach()))
        while sum(batch.sentences for batch in self.batches) - self.batches[0].sentences >= (
            LEAST_SENTENCES
        ):
            self.batches.popleft()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Check the model where a loss is logged.

        Raises:
            UserError: it has collapsed.
        """
        if "loss" not in (logs or {}):
            return
        first, *others = self.batches
        seen = sum(others, start=first)
        if seen.sentences >= LEAST_SENTENCES:
            check_health(
                seen.health(), f"training, step {state.global_step} of {state.max_steps}", LOWER
            )


@contextmanager
def noticing_collapse(model: SparseEncoder, trainer: Trainer) -> Iterator[None]:
    """Within the block, a training of `model` ends with `UserError` at the first logging step at
    which the model has collapsed.
    """
    watch = CollapseWatch()
    trainer.add_callback(watch)
    hook = model.register_forward_hook(watch.see)
    try:
        yield
    finally:
        hook.remove()
        trainer.remove_callback(watch)
