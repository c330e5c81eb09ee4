"""The float32 vectors of `FusedSpladeHead`, without gradients, at little more than bfloat16's cost.

The vocabulary product is computed in bfloat16 first, and again in float32 only for the entries that
may be active within a proven error bound, which holds where nothing underflows. It pays where the
CPU multiplies bfloat16 natively.
"""

import torch
from torch import Tensor

from splade_sts.model.head.shared import saturated, segments


class Bfloat16Weight:
    """The weight of a decoder in bfloat16 and the norms of its rows, for as long as it stays.

    Its version counter alone does not tell: PyTorch's fused optimizers leave it as it is. So a
    training step says `forget`.
    """

    def __init__(self, weight: Tensor) -> None:
        self.source = weight
        self._made: tuple[int, Tensor, Tensor] | None = None

    def get(self) -> tuple[Tensor, Tensor]:
        """The weight as bfloat16 (vocabulary, dimensions), its norms as float32 (vocabulary,)."""
        version = self.source._version  # private: torch
        if self._made is None or self._made[0] != version:
            weight = self.source.detach()
            self._made = version, weight.bfloat16(), weight.norm(dim=1)
        return self._made[1], self._made[2]

    def forget(self) -> None:
        """Compute both again at the next `get`."""
        self._made = None


def screened(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    lengths: list[int],
    double_log: bool,
    cast: Bfloat16Weight,
) -> Tensor:
    """Compute the vectors of `FusedSpladeHead` in float32, without gradients.

    With the unit roundoff u = 2^-8 of bfloat16 (8 significant bits, to nearest) and g = n 2^-24 /
    (1 - n 2^-24) for sums of n terms in float32, the bfloat16 product s of h and w differs from
    their float32 product by at most (2u + u^2 + 3g) |h| |w| before it is rounded, by
    Cauchy-Schwarz, and by u / (1 - u) |s| through rounding (Higham 2002, "Accuracy and Stability of
    Numerical Algorithms", sections 2.2 and 3.1). An entry whose largest s stays below -b by more
    than that is 0 in float32 as well; all others are computed in float32.

    The bound is one of relative errors, so it holds barring underflow: the error of a factor or a
    product below 2^-126, the smallest normal number, is no longer relative to it (section 2.2).

    Args:
        hidden: float32 (tokens, dimensions), the states before the vocabulary product, sentence
            after sentence.
        weight: float32 (vocabulary, dimensions).
        bias: float32 (vocabulary,) or None.
        lengths: tokens of each sentence, at least one; they sum to `tokens`.
        double_log: apply log1p twice (SpladePooling's `log1p_relu`).
        cast: the same weight in bfloat16.

    Returns:
        float32 (sentences, vocabulary), not negative.
    """
    unit, dimensions = 2.0**-8, weight.shape[1]
    sums = dimensions * 2.0**-24 / (1 - dimensions * 2.0**-24)
    coarse_weight, weight_norms = cast.get()
    shift = torch.zeros(()) if bias is None else bias
    norms = hidden.norm(dim=1)
    result = torch.zeros(len(lengths), weight.shape[0])
    for sentence, tokens, scores in segments(hidden, coarse_weight, lengths):
        largest = scores.amax(dim=0).float()
        bound = (2 * unit + unit**2 + 3 * sums) * norms[tokens].amax() * weight_norms
        bound += unit / (1 - unit) * largest.abs()
        entries = (~(largest + bound + shift < 0)).nonzero().squeeze(1)  # NaN stays, and is seen
        exact = (hidden[tokens] @ weight[entries].T).amax(dim=0)
        result[sentence, entries] = exact + (shift if bias is None else shift[entries])
    return saturated(result, double_log)


def has_native_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices natively."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_tile"))
