"""What keeps the memory of training bounded, and cheap to get."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sentence_transformers import SparseEncoder
from torch import nn
from transformers import PreTrainedModel

from splade_sts.process import keep_freed_memory

# Tokens, padding included, up to which a forward pass keeps all it computes for the backward pass:
# about 0.7 GB at bert-base size.
KEPT_TOKENS = 2048
# Tokens, padding included, and bytes of weights, above which memory counts for more than the time
# it takes to get it again.
GIVEN_BACK_TOKENS = 4096
GIVEN_BACK_WEIGHTS = 256 << 20


@contextmanager
def saving_memory(model: SparseEncoder) -> Iterator[None]:
    """Within the block, large batches take less memory.

    A forward pass over more than KEPT_TOKENS keeps only the input of each layer. The rest is
    computed again in the backward pass (transformers' gradient checkpointing), with the same
    dropout, so that the gradients are the same numbers; a model that does not support it keeps all.
    Freed memory is kept; by a model with more than GIVEN_BACK_WEIGHTS only up to the first forward
    pass over more than GIVEN_BACK_TOKENS, and given back from there on.
    """
    first: Any = model[0]
    transformer: PreTrainedModel = first.model
    recomputes = transformer.supports_gradient_checkpointing
    layers: list[nn.Module] = []
    if recomputes:
        transformer.activation_checkpointing_enable({"use_reentrant": False})
        layers = [
            module for module in transformer.modules() if hasattr(module, "gradient_checkpointing")
        ]
    keep_freed_memory(True)
    may_give_back = (
        sum(parameter.nbytes for parameter in transformer.parameters()) > GIVEN_BACK_WEIGHTS
    )

    def choose(module: nn.Module, inputs: tuple[dict[str, Any], ...]) -> None:
        nonlocal may_give_back
        tokens = inputs[0]["input_ids"].numel()
        for layer in layers:
            layer.gradient_checkpointing = tokens > KEPT_TOKENS
        if may_give_back and tokens > GIVEN_BACK_TOKENS:
            keep_freed_memory(False)
            may_give_back = False

    hook = first.register_forward_pre_hook(choose)
    try:
        yield
    finally:
        hook.remove()
        if recomputes:
            transformer.activation_checkpointing_disable()  # type: ignore[no-untyped-call]
