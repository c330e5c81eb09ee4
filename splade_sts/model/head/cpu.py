"""The SPLADE head without the batch x length x vocabulary tensor.

The stock modules compute max_t log(1 + relu(h_t . e_v + b_v)) over the tokens t of a sentence for every vocabulary entry v,
the logarithm first (SPLADE v2, Formal et al. 2021, equations 1 and 6). The logarithm and relu never fall as their argument
rises, so the maximum may be taken first: log(1 + relu(max_t h_t . e_v + b_v)) is the same number, with one logarithm per
sentence instead of one per token. And since relu passes no gradient where its result is 0, only the token that won an
active dimension gets any: some hundred entries of a vocabulary of tens of thousands.

`FusedSpladeHead` computes this on a CPU: tokens without padding, sparse products in the backward pass. How many tokens and
winners there are has to be known for that, and a GPU would have to be waited for; `PaddedSpladeHead` computes the same in
shapes that do not depend on the data.

Without gradients, float32 vectors are screened where the CPU multiplies bfloat16 natively: the vocabulary product is computed
in bfloat16 first, and again in float32 only for the entries that may be active within a proven error bound (`screened`).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

logger = logging.getLogger(__name__)

# Tokens whose vocabulary scores are held at once: 1024 x 30522 x 4 bytes are 125 MB.
CHUNK_TOKENS = 1024
# Share of winning (token, entry) pairs from which dense products are cheaper than sparse ones.
DENSE_SHARE = 0.02


class FusedSpladeHead(torch.autograd.Function):
    """Hidden states of the tokens of several sentences to their SPLADE vectors, on a CPU."""

    @staticmethod
    def forward(
        ctx, hidden: Tensor, weight: Tensor, bias: Tensor | None, lengths: list[int], double_log: bool, dtype: torch.dtype
    ) -> Tensor:
        """Compute the vectors.

        Args:
            hidden: float (tokens, dimensions), the states before the vocabulary product, sentence after sentence.
            weight: float (vocabulary, dimensions).
            bias: float (vocabulary,) or None.
            lengths: tokens of each sentence, at least one; they sum to `tokens`.
            double_log: apply log1p twice (SpladePooling's `log1p_relu`).
            dtype: in which the vocabulary product is computed.

        Returns:
            float32 (sentences, vocabulary), not negative.
        """
        product_weight = weight.to(dtype).T
        largest = torch.empty(len(lengths), weight.shape[0])
        shift = 0.0 if bias is None else bias.float()
        needs_winners = any(ctx.needs_input_grad[:3])
        winners: list[Tensor] = []  # (token, entry) of every active dimension, sentence after sentence
        row = start = 0
        for group in _groups(lengths):
            scores = hidden[start : start + sum(group)].to(dtype) @ product_weight
            for segment in scores.split(group):
                largest[row] = segment.amax(dim=0)
                largest[row] += shift
                if needs_winners:
                    entries = (largest[row] > 0).nonzero().squeeze(1)
                    winners.append(torch.stack([segment[:, entries].argmax(dim=0) + start, entries]))
                start += len(segment)
                row += 1
        if needs_winners:
            counts = torch.tensor([found.shape[1] for found in winners])
            rows = torch.repeat_interleave(torch.arange(len(lengths)), counts)
            tokens, entries = torch.cat(winners, dim=1)
            slope = _slope(largest[rows, entries], double_log)
            ctx.save_for_backward(hidden, weight, rows, tokens, entries, slope)
            ctx.has_bias = bias is not None
        return _saturated(largest, double_log)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        """Gradients of hidden, weight and bias, through the winning tokens of the active dimensions only."""
        hidden, weight, rows, tokens, entries, slope = ctx.saved_tensors
        values = grad[rows, entries].float() * slope
        grad_bias = torch.zeros(weight.shape[0]) if ctx.has_bias else None
        if grad_bias is not None:
            grad_bias.index_add_(0, entries, values)
        states, vectors = hidden.float(), weight.float()
        scores = torch.sparse_coo_tensor(
            torch.stack([tokens, entries]), values, (hidden.shape[0], weight.shape[0]), check_invariants=False
        )
        if len(values) > DENSE_SHARE * scores.numel():
            scores = scores.to_dense()
            grad_hidden, grad_weight = scores @ vectors, scores.T @ states
        else:
            grad_hidden, grad_weight = torch.sparse.mm(scores, vectors), torch.sparse.mm(scores.t(), states)
        bias_gradient = None if grad_bias is None else grad_bias.to(weight.dtype)
        return grad_hidden.to(hidden.dtype), grad_weight.to(weight.dtype), bias_gradient, None, None, None


class PaddedSpladeHead(torch.autograd.Function):
    """Padded hidden states to SPLADE vectors, without waiting for the device: no shape depends on the data."""

    @staticmethod
    def forward(
        ctx, hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, double_log: bool, dtype: torch.dtype
    ) -> Tensor:
        """Compute the vectors.

        Args:
            hidden: float (sentences, length, dimensions), the states before the vocabulary product.
            mask: bool (sentences, length), true where there is a token.
            weight, bias, double_log, dtype: as for `FusedSpladeHead.forward`.

        Returns:
            float32 (sentences, vocabulary), not negative.
        """
        product_weight, count = weight.to(dtype).T, _sentences_at_once(hidden.shape[1])
        needs_winners = any(ctx.needs_input_grad)
        largest, winners = [], []
        for states, tokens in zip(hidden.split(count), mask.split(count), strict=True):
            scores = (states.to(dtype) @ product_weight).masked_fill_(~tokens.unsqueeze(2), -torch.inf)
            if needs_winners:
                values, tokens_of_entries = scores.max(dim=1)
                winners.append(tokens_of_entries)
            else:
                values = scores.amax(dim=1)
            largest.append(values.float())
        scores = torch.cat(largest)
        if bias is not None:
            scores += bias
        if needs_winners:
            slope = torch.where(scores > 0, _slope(scores.relu(), double_log), 0)
            ctx.save_for_backward(hidden, weight, torch.cat(winners), slope)
            ctx.has_bias, ctx.dtype = bias is not None, dtype
        return _saturated(scores, double_log)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        """Gradients of hidden, weight and bias: dense products with what the winning tokens get, in the `dtype` of forward."""
        hidden, weight, winners, slope = ctx.saved_tensors
        values = grad.float() * slope
        vectors, grad_hidden = weight.to(ctx.dtype), []
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        count = _sentences_at_once(hidden.shape[1])
        for states, places, shares in zip(hidden.split(count), winners.split(count), values.split(count), strict=True):
            scores = torch.zeros(*states.shape[:2], len(weight), dtype=ctx.dtype, device=grad.device)
            scores = scores.scatter_(1, places.unsqueeze(1), shares.to(ctx.dtype).unsqueeze(1)).flatten(0, 1)
            grad_hidden.append((scores @ vectors).view(states.shape))
            grad_weight += scores.T @ states.flatten(0, 1).to(ctx.dtype)
        grad_bias = values.sum(dim=0).to(weight.dtype) if ctx.has_bias else None
        return torch.cat(grad_hidden).to(hidden.dtype), None, grad_weight.to(weight.dtype), grad_bias, None, None


def _sentences_at_once(length: int) -> int:
    """How many padded sentences of `length` tokens make at most CHUNK_TOKENS tokens (a longer sentence stands alone)."""
    return max(1, CHUNK_TOKENS // length)


def _saturated(scores: Tensor, double_log: bool) -> Tensor:
    """log(1 + relu), once or twice."""
    result = scores.relu().log1p_()
    return result.log1p_() if double_log else result


def _slope(positive: Tensor, double_log: bool) -> Tensor:
    """The derivative of `_saturated` at positive scores."""
    slope = 1 / (1 + positive)
    return slope / (1 + positive.log1p()) if double_log else slope


def _groups(lengths: list[int]) -> Iterator[list[int]]:
    """Cut consecutive sentences into groups of at most CHUNK_TOKENS tokens (a longer sentence stands alone)."""
    group: list[int] = []
    for length in lengths:
        if group and sum(group) + length > CHUNK_TOKENS:
            yield group
            group = []
        group.append(length)
    if group:
        yield group


class Bfloat16Weight:
    """The weight of a decoder in bfloat16 and the norms of its rows, computed again when the weight may have changed.

    Its version counter alone does not tell: PyTorch's fused optimizers leave it as it is. So a training step says `forget`.
    """

    def __init__(self, weight: Tensor):
        self.source, self.version = weight, -1

    def get(self) -> tuple[Tensor, Tensor]:
        """bfloat16 (vocabulary, dimensions) and float32 (vocabulary,)."""
        if self.version != self.source._version:
            self.weight, self.norms = self.source.detach().bfloat16(), self.source.detach().norm(dim=1)
            self.version = self.source._version
        return self.weight, self.norms

    def forget(self) -> None:
        """Compute both again at the next `get`."""
        self.version = -1


def screened(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, lengths: list[int], double_log: bool, cast: Bfloat16Weight
) -> Tensor:
    """The vectors of `FusedSpladeHead` in float32, for inference, at little more than the cost of bfloat16.

    With the unit roundoff u = 2^-8 of bfloat16 (8 significant bits, to nearest) and g = n 2^-24 / (1 - n 2^-24) for sums of n
    terms in float32, the bfloat16 product s of h and w differs from their float32 product by at most
    (2u + u^2 + 3g) |h| |w| before it is rounded, by Cauchy-Schwarz, and by u / (1 - u) |s| through rounding (Higham 2002,
    "Accuracy and Stability of Numerical Algorithms", sections 2.2 and 3.1). An entry whose largest s stays below -b by more
    than that is 0 in float32 as well; all others are computed in float32.

    Args and result: as for `FusedSpladeHead.forward`; `cast` belongs to `weight`.
    """
    unit, dimensions = 2.0**-8, weight.shape[1]
    sums = dimensions * 2.0**-24 / (1 - dimensions * 2.0**-24)
    coarse_weight, norms = cast.get()
    shift = torch.zeros(()) if bias is None else bias
    coarse, lengths_of_states = hidden.bfloat16(), hidden.norm(dim=1)
    result = torch.zeros(len(lengths), weight.shape[0])
    row = start = 0
    for group in _groups(lengths):
        scores = coarse[start : start + sum(group)] @ coarse_weight.T
        for segment in scores.split(group):
            largest = segment.amax(dim=0).float()
            states = slice(start, start + len(segment))
            bound = (2 * unit + unit**2 + 3 * sums) * lengths_of_states[states].amax() * norms
            bound += unit / (1 - unit) * largest.abs()
            entries = (~(largest + bound + shift < 0)).nonzero().squeeze(1)  # NaN stays, and is seen
            exact = (hidden[states] @ weight[entries].T).amax(dim=0)
            result[row, entries] = exact + (shift if bias is None else shift[entries])
            start += len(segment)
            row += 1
    return _saturated(result, double_log)


def _product_dtype(device: str) -> torch.dtype:
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32


def has_native_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices natively."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def pooled(features: dict[str, Any], decoder: nn.Linear, double_log: bool, cast: Bfloat16Weight) -> Tensor:
    """SPLADE vectors of the sentences in `features`, whose `token_embeddings` are the states before the decoder.

    On a CPU padding is never multiplied with the vocabulary.
    """
    hidden, mask = features["token_embeddings"], features["attention_mask"].bool()
    dtype = _product_dtype(hidden.device.type)
    weight, bias = decoder.weight, decoder.bias
    if not torch.is_grad_enabled():
        weight, bias = weight.detach(), None if bias is None else bias.detach()
    with torch.autocast(hidden.device.type, enabled=False):
        if hidden.device.type != "cpu":
            return PaddedSpladeHead.apply(hidden, mask, weight, bias, double_log, dtype)
        states, lengths = hidden[mask], mask.sum(dim=1).tolist()
        if torch.is_grad_enabled():
            cast.forget()
            return FusedSpladeHead.apply(states, weight, bias, lengths, double_log, dtype)
        if dtype == torch.float32 and has_native_bfloat16():
            return screened(states, weight, bias, lengths, double_log, cast)
        if dtype == torch.bfloat16:
            weight, _ = cast.get()
        return FusedSpladeHead.apply(states, weight, bias, lengths, double_log, dtype)


@contextmanager
def fused(model: SparseEncoder) -> Iterator[None]:
    """Compute the head of `model` with `pooled` within the block.

    Only what the modules compute is swapped, on these instances: their classes and parameters stay, so what is saved
    within the block is the stock model. A model with another head than max pooling over a linear decoder runs as it
    is, and the log says so.
    """
    transformer, pooling = model[0], model[1]
    decoder = transformer.model.get_output_embeddings()
    if not isinstance(pooling, SpladePooling) or pooling.pooling_strategy != "max" or not isinstance(decoder, nn.Linear):
        logger.warning("the head of this model cannot be fused; computing it with the stock modules")
        yield
        return

    cast = Bfloat16Weight(decoder.weight)

    def pool(features: dict[str, Any]) -> dict[str, Any]:
        features["sentence_embedding"] = pooled(features, decoder, pooling.activation_function == "log1p_relu", cast)
        if pooling.embedding_dimension is None:
            pooling.embedding_dimension = decoder.out_features
        return features

    decoder.forward = lambda states: states
    pooling.forward = pool
    try:
        yield
    finally:
        del decoder.forward, pooling.forward
