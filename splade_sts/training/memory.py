"""What keeps the memory of training bounded, and cheap to get."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sentence_transformers import SparseEncoder
from torch import nn
from transformers import PreTrainedModel

# Tokens, padding included, up to which a forward pass keeps all it computes for the backward pass:
# about 0.7 GB at bert-base size.
KEPT_TOKENS = 2048
# Tokens, padding included, and bytes of weights, above which memory counts for more than the time
# it takes to get it again.
GIVEN_BACK_TOKENS = 4096
GIVEN_BACK_WEIGHTS = 256 << 20
# Constants of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory(keep: bool) -> None:
    """Let this process keep the memory that it frees, or give it back.

    Nothing is done where the C library is not glibc. By default glibc hands blocks above 32 MB back
    to the system at once. The gradients of a vocabulary matrix are such blocks: every step would
    have the system clear them page by page (mallopt(3)). But what is kept is scattered and not all
    of it can be used again: without `keep`, blocks from 8 MiB on and what had been kept before
    (malloc_trim(3)) go back.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    blocks, top = (1 << 30, -1) if keep else (8 << 20, 8 << 20)
    for name, value in ((M_MMAP_THRESHOLD, blocks), (M_TRIM_THRESHOLD, top)):
        if not libc.mallopt(name, value):
            raise OSError(f"glibc refused mallopt({name}, {value})")
    if not keep:
        libc.malloc_trim(0)


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
