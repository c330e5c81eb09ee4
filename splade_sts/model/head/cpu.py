"""The SPLADE head without the batch x length x vocabulary tensor, on a CPU.

The stock modules compute max_t log(1 + relu(h_t . e_v + b_v)) over the tokens t of a sentence for
every vocabulary entry v, the logarithm first (SPLADE v2, Formal et al. 2021, equations 1 and 6).
The logarithm and relu never fall as their argument rises, so the maximum may be taken first:
log(1 + relu(max_t h_t . e_v + b_v)) is the same number, with one logarithm per sentence instead of
one per token. And since relu passes no gradient where its result is 0, only the token that won an
active dimension gets any: some hundred entries of a vocabulary of tens of thousands.

Here tokens stand without padding, and the backward pass takes sparse products. How many tokens and
winners there are has to be known for that, and a GPU would have to be waited for;
`splade_sts.model.head.gpu` computes the same in shapes that do not depend on the data.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from splade_sts.model.head.shared import saturated, segments, slope

# Share of winning (token, entry) pairs from which dense products are cheaper than sparse ones.
DENSE_SHARE = 0.02


class FusedSpladeHead(torch.autograd.Function):
    """Hidden states of the tokens of several sentences to their SPLADE vectors, on a CPU."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        lengths: list[int],
        double_log: bool,
        dtype: torch.dtype,
    ) -> Tensor:
        """Compute the vectors.

        Args:
            ctx: what autograd keeps for the backward pass.
            hidden: float (tokens, dimensions), the states before the vocabulary product, sentence
                after sentence.
            weight: float (vocabulary, dimensions).
            bias: float (vocabulary,) or None.
            lengths: tokens of each sentence, at least one; they sum to `tokens`.
            double_log: apply log1p twice (SpladePooling's `log1p_relu`).
            dtype: in which the vocabulary product is computed.

        Returns:
            float32 (sentences, vocabulary), not negative.
        """
        largest = torch.empty(len(lengths), weight.shape[0])
        shift = 0.0 if bias is None else bias.float()
        needs_winners = any(ctx.needs_input_grad[:3])
        # (token, entry) of every active dimension, sentence after sentence
        winners: list[Tensor] = []
        for sentence, tokens, scores in segments(hidden, weight.to(dtype), lengths):
            largest[sentence] = scores.amax(dim=0)
            largest[sentence] += shift
            if needs_winners:
                active = (largest[sentence] > 0).nonzero().squeeze(1)
                winning = scores[:, active].argmax(dim=0) + tokens.start
                winners.append(torch.stack([winning, active]))
        if needs_winners:
            counts = torch.tensor([found.shape[1] for found in winners])
            rows = torch.repeat_interleave(torch.arange(len(lengths)), counts)
            places, entries = torch.cat(winners, dim=1)
            slopes = slope(largest[rows, entries], double_log)
            ctx.save_for_backward(hidden, weight, rows, places, entries, slopes)
            ctx.has_bias = bias is not None
        return saturated(largest, double_log)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of hidden, weight and bias, through the winners of active dimensions only."""
        hidden, weight, rows, places, entries, slopes = ctx.saved_tensors
        values = grad[rows, entries].float() * slopes
        grad_bias = None
        if ctx.has_bias:
            sums = torch.zeros(weight.shape[0])
            grad_bias = sums.index_add_(0, entries, values).to(weight.dtype)
        states, vectors = hidden.float(), weight.float()
        scores = torch.sparse_coo_tensor(
            torch.stack([places, entries]),
            values,
            (hidden.shape[0], weight.shape[0]),
            check_invariants=False,
        )
        if len(values) > DENSE_SHARE * scores.numel():
            scores = scores.to_dense()
            grad_hidden, grad_weight = scores @ vectors, scores.T @ states
        else:
            grad_hidden = torch.sparse.mm(scores, vectors)
            grad_weight = torch.sparse.mm(scores.t(), states)
        return (
            grad_hidden.to(hidden.dtype),
            grad_weight.to(weight.dtype),
            grad_bias,
            None,
            None,
            None,
        )
