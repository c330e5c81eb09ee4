"""Correlations without each pair in turn, all at once."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


def pearson_without_each(gold: Array, values: Array) -> Array:
    """Pearson of `gold` and `values` without each pair in turn, in O(pairs).

    Without pair i a centred variable sums to -xᵢ. So the sum of products about the new means is
    Σ xⱼyⱼ - xᵢyᵢ · n / (n - 1).

    Args:
        gold, values: float (pairs,), each less its mean.

    Returns:
        float (pairs,); not finite where a variable is constant without the pair.
    """
    pairs = len(gold)
    share = pairs / (pairs - 1)
    gold_square, square, product = (
        np.sum(one * other) - share * one * other
        for one, other in ((gold, gold), (values, values), (gold, values))
    )
    found: Array = product / np.sqrt(gold_square * square)
    return found


def spearman_without_each(gold: Array, values: Array) -> Array:
    """Spearman of `gold` and `values` without each pair in turn, in O(pairs · log pairs).

    Without pair i the average rank of xⱼ falls by aᵢⱼ: 1 where xⱼ > xᵢ, 1/2 where they tie; that of
    yⱼ falls by bᵢⱼ likewise. With ranks R and S less their means, the new ranks are less theirs too
    once 1/2 is added. So the sum of products about the new means is

        Σⱼ RⱼSⱼ - RᵢSᵢ - Σⱼ aᵢⱼSⱼ - Σⱼ bᵢⱼRⱼ + Σⱼ aᵢⱼbᵢⱼ - (n - 1) / 4,    j ≠ i in the last three.

    The first two of these are sums over larger and tied values, the last is `dominating`. All terms
    are multiples of 1/4, so that no digit is lost in samples of up to 10⁵ pairs. The squares follow
    from the sizes of the ties t: (m³ - m - Σ (t³ - t)) / 12 for m values.

    Args:
        gold, values: float (pairs,).

    Returns:
        float (pairs,); not finite where a variable is constant without the pair.
    """
    pairs = len(gold)
    one, other = _Places(gold), _Places(values)
    product = (
        np.sum(one.ranks * other.ranks)
        - one.ranks * other.ranks
        - one.above(other.ranks)
        - other.above(one.ranks)
        + dominating(one, other)
        - (pairs - 1) / 4
    )
    found: Array = product / np.sqrt(one.squares_without_each() * other.squares_without_each())
    return found


class _Places:
    """Where the values of a variable stand among themselves.

    Attributes:
        ranks: average ranks less their mean, (pairs,).
        groups: number of the tied group of each value, in the order of the values, (pairs,).
        sizes: values in each group, (groups,).
    """

    def __init__(self, values: Array):
        self.ranks: Array = stats.rankdata(values) - (len(values) + 1) / 2
        _, self.groups, self.sizes = np.unique(values, return_inverse=True, return_counts=True)

    def above(self, weights: Array) -> Array:
        """For each value the sum of the weights of larger values, and half of that of values tied
        with it, without its own: (pairs,).
        """
        sums = np.bincount(self.groups, weights)
        larger = sums[::-1].cumsum()[::-1] - sums
        found: Array = (larger + sums / 2)[self.groups] - weights / 2
        return found

    def squares_without_each(self) -> Array:
        """Sum of squares of the average ranks about their mean, without each value: (pairs,)."""
        left, sizes = len(self.ranks) - 1.0, self.sizes.astype(np.float64)
        ties = np.sum(sizes**3 - sizes) - 3 * sizes * (sizes - 1)  # without one of t: (t - 1)
        found: Array = ((left**3 - left - ties) / 12)[self.groups]
        return found

    def orders(self) -> list[NDArray[np.int64]]:
        """Places in which values that tie stand one after the other, in both directions; one order
        where none do: each a permutation, (pairs,).
        """
        found = []
        for step in (1, -1) if len(self.sizes) < len(self.groups) else (1,):
            placed = np.empty(len(self.groups), dtype=np.int64)
            order = np.argsort(self.groups[::step], kind="stable")
            placed[np.arange(len(order))[::step][order]] = np.arange(len(order))
            found.append(placed)
        return found


def dominating(one: _Places, other: _Places) -> Array:
    """For each pair i the sum over other pairs of aᵢⱼ bᵢⱼ (`spearman_without_each`).

    A tie counts half. That is the mean over the two directions in which tied values can be put one
    after the other, and for both variables the mean over the four combinations.
    """
    counts = [_larger_in_both(first, second) for first in one.orders() for second in other.orders()]
    found: Array = np.mean(counts, axis=0, dtype=np.float64)
    return found


def _larger_in_both(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each pair, how many have a larger place in both permutations: (pairs,).

    The first places stand in the order of the second. They are split by their bits, the highest
    first, and stay in that order (the construction of a wavelet tree: Grossi, Gupta & Vitter 2003,
    "High-order entropy-compressed text indexes"). Of two places that a bit splits, the larger one
    has it. So what counts for a place without it are the places behind it in its block that have
    it. Blocks are full: places that are missing to a power of two are put in front, where they
    count for none.
    """
    pairs = len(first)
    width = 1 << (pairs - 1).bit_length()
    placed = np.empty(pairs, dtype=np.int64)
    placed[second] = first
    blocks = np.concatenate([np.arange(pairs, width), placed])[None]
    counts = np.zeros(width, dtype=np.int64)
    while width > 1:
        width //= 2
        upper = (blocks & width) != 0
        behind = np.cumsum(upper[:, ::-1], axis=1)[:, ::-1]
        lower = blocks[~upper]
        counts[lower] += behind[~upper]
        halves = [half.reshape(-1, width) for half in (lower, blocks[upper])]
        blocks = np.stack(halves, axis=1).reshape(-1, width)
    return counts[first]
