"""The head of `splade_sts.model.head.cpu` for a GPU: in shapes that do not depend on the data."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from splade_sts.model.head.shared import groups, saturated, slope


class PaddedSpladeHead(torch.autograd.Function):
    """Padded hidden states to SPLADE vectors, without waiting for the device."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        mask: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        double_log: bool,
        dtype: torch.dtype,
    ) -> Tensor:
        """Compute the vectors.

        Args:
            ctx: what autograd keeps for the backward pass.
            hidden: float (sentences, length, dimensions), the states before the vocabulary product.
            mask: bool (sentences, length), true where there is a token.
            weight: float (vocabulary, dimensions).
            bias: float (vocabulary,) or None.
            double_log: apply log1p twice (SpladePooling's `log1p_relu`).
            dtype: in which the vocabulary product is computed.

        Returns:
            float32 (sentences, vocabulary), not negative.
        """
        product_weight, counts = weight.to(dtype).T, _sentences_at_once(hidden)
        needs_winners = any(ctx.needs_input_grad)
        largest: list[Tensor] = []
        winners: list[Tensor] = []
        parts = (torch.split(hidden, counts), torch.split(mask, counts))
        for states, tokens in zip(*parts, strict=True):
            scores = states.to(dtype) @ product_weight
            scores.masked_fill_(~tokens.unsqueeze(2), -torch.inf)
            if needs_winners:
                values, places = scores.max(dim=1)
                winners.append(places)
            else:
                values = scores.amax(dim=1)
            largest.append(values.float())
        result = torch.cat(largest)
        if bias is not None:
            result += bias
        if needs_winners:
            slopes = torch.where(result > 0, slope(result.relu(), double_log), 0)
            ctx.save_for_backward(hidden, weight, torch.cat(winners), slopes)
            ctx.has_bias, ctx.dtype = bias is not None, dtype
        return saturated(result, double_log)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of hidden, weight and bias.

        They are dense products with what the winning tokens get, in the `dtype` of forward.
        """
        hidden, weight, winners, slopes = ctx.saved_tensors
        values = grad.float() * slopes
        vectors, grad_hidden = weight.to(ctx.dtype), []
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        counts = _sentences_at_once(hidden)
        parts = (torch.split(part, counts) for part in (hidden, winners, values))
        for states, places, shares in zip(*parts, strict=True):
            scores = torch.zeros(
                *states.shape[:2], len(weight), dtype=ctx.dtype, device=grad.device
            )
            scores.scatter_(1, places.unsqueeze(1), shares.to(ctx.dtype).unsqueeze(1))
            scores = scores.flatten(0, 1)
            grad_hidden.append((scores @ vectors).view(states.shape))
            grad_weight += scores.T @ states.flatten(0, 1).to(ctx.dtype)
        grad_bias = values.sum(dim=0).to(weight.dtype) if ctx.has_bias else None
        return (
            torch.cat(grad_hidden).to(hidden.dtype),
            None,
            grad_weight.to(weight.dtype),
            grad_bias,
            None,
            None,
        )


def _sentences_at_once(hidden: Tensor) -> list[int]:
    """How many padded sentences each of `groups` has: known from the shape alone."""
    sentences, length, _ = hidden.shape
    return [len(group) for group in groups([length] * sentences)]
