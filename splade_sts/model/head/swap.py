"""Computing the head of a model with the fused ones, and leaving the model as it is."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling
from torch import Tensor, nn

from splade_sts.model.head.cpu import FusedSpladeHead
from splade_sts.model.head.gpu import PaddedSpladeHead
from splade_sts.model.head.screen import Bfloat16Weight, has_native_bfloat16, screened

logger = logging.getLogger(__name__)


def pooled(
    features: dict[str, Any], decoder: nn.Linear, double_log: bool, cast: Bfloat16Weight
) -> Tensor:
    """Compute the SPLADE vectors of the sentences in `features`.

    On a CPU padding is never multiplied with the vocabulary, and float32 vectors without gradients
    are screened where it multiplies bfloat16 natively.

    Args:
        features: `token_embeddings`, the states before the decoder, float (sentences, length,
            dimensions), and `attention_mask`, (sentences, length).
        decoder: the vocabulary product.
        double_log: apply log1p twice (SpladePooling's `log1p_relu`).
        cast: the weight of `decoder` in bfloat16.

    Returns:
        float32 (sentences, vocabulary), not negative.
    """
    hidden, mask = features["token_embeddings"], features["attention_mask"].bool()
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    weight: Tensor = decoder.weight
    bias: Tensor | None = decoder.bias
    if not torch.is_grad_enabled():
        weight, bias = weight.detach(), None if bias is None else bias.detach()
    with torch.autocast(device, enabled=False):
        if device != "cpu":
            return _apply(PaddedSpladeHead, hidden, mask, weight, bias, double_log, dtype)
        states, lengths = hidden[mask], mask.sum(dim=1).tolist()
        if torch.is_grad_enabled():
            cast.forget()
        elif dtype == torch.float32 and has_native_bfloat16():
            return screened(states, weight, bias, lengths, double_log, cast)
        elif dtype == torch.bfloat16:
            weight, _ = cast.get()
        return _apply(FusedSpladeHead, states, weight, bias, lengths, double_log, dtype)


def _apply(head: type[torch.autograd.Function], *arguments: object) -> Tensor:
    vectors: Tensor = head.apply(*arguments)  # type: ignore[no-untyped-call]
    return vectors


@contextmanager
def fused(model: SparseEncoder) -> Iterator[None]:
    """Compute the head of `model` with `pooled` within the block.

    Only what the modules compute is swapped, on these instances: their classes and parameters stay,
    so what is saved within the block is the stock model. A model with another head than max pooling
    over a linear decoder runs as it is, and the log says so.
    """
    transformer: Any = model[0]
    pooling = model[1]
    decoder = transformer.model.get_output_embeddings()
    if not (
        isinstance(pooling, SpladePooling)
        and pooling.pooling_strategy == "max"
        and isinstance(decoder, nn.Linear)
    ):
        logger.warning(
            "the head of this model cannot be fused; computing it with the stock modules"
        )
        yield
        return

    double_log = pooling.activation_function == "log1p_relu"
    cast = Bfloat16Weight(decoder.weight)

    def pool(features: dict[str, Any]) -> dict[str, Any]:
        features["sentence_embedding"] = pooled(features, decoder, double_log, cast)
        if pooling.embedding_dimension is None:
            pooling.embedding_dimension = decoder.out_features
        return features

    vars(decoder)["forward"] = lambda states: states
    vars(pooling)["forward"] = pool
    try:
        yield
    finally:
        del vars(decoder)["forward"], vars(pooling)["forward"]
