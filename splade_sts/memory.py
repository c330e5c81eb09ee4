"""What keeps the memory of training bounded, and cheap to get."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sentence_transformers import SparseEncoder
from torch import nn

# Tokens, padding included, up to which a forward pass keeps all it computes for the backward pass: about 1.5 GB at
# bert-base size.
KEPT_TOKENS = 4096
# Constants of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let this process keep memory that it frees, where the C library is glibc; elsewhere nothing is done.

    By default glibc hands blocks above 32 MB back to the system at once. The gradients of a vocabulary matrix are such
    blocks: every step would have the system clear them page by page (mallopt(3)).
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for name, value in ((M_MMAP_THRESHOLD, 1 << 30), (M_TRIM_THRESHOLD, -1)):
        if not mallopt(name, value):
            raise OSError(f"glibc refused mallopt({name}, {value})")


@contextmanager
def recomputing_large_batches(model: SparseEncoder) -> Iterator[None]:
    """Within the block, a forward pass over more than KEPT_TOKENS keeps only the input of each layer.

    The rest is computed again in the backward pass (transformers' gradient checkpointing), with the same dropout, so that the
    gradients are the same numbers. A model that does not support it runs as it is.
    """
    transformer = model[0].model
    if not transformer.supports_gradient_checkpointing:
        yield
        return
    transformer.gradient_checkpointing_enable({"use_reentrant": False})
    layers = [module for module in transformer.modules() if hasattr(module, "gradient_checkpointing")]

    def choose(module: nn.Module, inputs: tuple[dict[str, Any], ...]) -> None:
        large = inputs[0]["input_ids"].numel() > KEPT_TOKENS
        for layer in layers:
            layer.gradient_checkpointing = large

    hook = model[0].register_forward_pre_hook(choose)
    try:
        yield
    finally:
        hook.remove()
        transformer.gradient_checkpointing_disable()
