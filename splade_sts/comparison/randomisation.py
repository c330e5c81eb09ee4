"""Is a difference between two correlations with the same gold scores more than chance? A test."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from splade_sts.comparison.ranks import Ranks, beside_each_other
from splade_sts.comparison.statistics import BATCH, WORKED, Array, Bootstrap, dot
from splade_sts.layout import COEFFICIENTS, Coefficient
from splade_sts.process import in_threads

# Differences of correlations that are less apart than this are the same: rounding.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Test:
    """A two-sided test: its p value, and the `resamples` that it comes from.

    The smallest p that m resamples can give is 1 / (m + 1).
    """

    p: float
    resamples: int


def randomisation_test(
    coefficient: Coefficient, gold: Array, first: Array, second: Array, bootstrap: Bootstrap
) -> Test:
    """Paired randomisation test of the equality of two correlations with the same gold scores.

    In each resample a fair coin decides for every pair whether its two scores are swapped. p is
    (b + 1) / (m + 1), where b of the m resamples have an absolute difference of the correlations of
    at least the observed one (Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses",
    chapter 2; Phipson & Smyth 2010, "Permutation P-values Should Never Be Zero").

    What is swapped must be exchangeable where the models are equally good. Cosines of two models
    are not: their location and scale differ, and neither changes a correlation. So for Pearson the
    scores of each model are standardised before the swaps (as Deutsch, Dror & Roth 2021, "A
    Statistical Analysis of Summarization Evaluation Metrics Using Resampling Methods", do), for
    Spearman they are ranked.

    The correlation after the swaps is that of the new columns: Pearson with their means and
    variances, Spearman with their ranks, ranked anew. Otherwise the resamples have another variance
    than the difference, and the level is wrong (DiCiccio & Romano 2017, "Robust Permutation Tests
    For Correlation And Regression Coefficients"): with the ranks from before the swaps a test at
    5 % rejects in 6 to 8 % where errors grow with the gold score.

    The variance of the scores must be finite, as that of cosines is: with Student's t of two
    degrees of freedom the test for Pearson is not level. benchmarks/null_level.py measures the
    level on the scores of a run.

    Args:
        coefficient: which correlation.
        gold: float (pairs,), not constant.
        first, second: the scores to compare, float (pairs,), not constant.
        bootstrap: how many resamples, and the seed.

    Returns:
        The test. A resample in which a column is constant counts as extreme.
    """
    difference = DIFFERENCES[coefficient](gold, first, second)
    observed = difference(np.ones((1, len(gold)), dtype=np.float64))[0]
    bar = abs(observed) - ROUNDING

    def extreme(coins: NDArray[np.int8]) -> int:
        found = difference(np.where(coins == 0, 1.0, -1.0))
        return int(np.count_nonzero(~(np.abs(found) < bar)))  # NaN too

    count = sum(in_threads(extreme, _coins(len(gold), bootstrap)))
    return Test((count + 1) / (bootstrap.resamples + 1), bootstrap.resamples)


def _coins(pairs: int, bootstrap: Bootstrap) -> Iterator[NDArray[np.int8]]:
    """Coins for the pairs in batches of resamples, 0 or 1: (resamples, pairs)."""
    generator = np.random.default_rng(bootstrap.seed)
    size = max(1, WORKED // (2 * pairs))
    for start in range(0, bootstrap.resamples, BATCH):
        count = min(BATCH, bootstrap.resamples - start)
        coins = generator.integers(0, 2, (count, pairs), dtype=np.int8)
        for first in range(0, count, size):
            yield coins[first : first + size]


def randomisation_tests(
    gold: Array, first: Array, second: Array, bootstrap: Bootstrap
) -> dict[Coefficient, Test]:
    """`randomisation_test` for each coefficient, with the same swaps."""
    return {name: randomisation_test(name, gold, first, second, bootstrap) for name in COEFFICIENTS}


class SwappedPearson:
    """Pearson of gold with `first` minus Pearson of gold with `second`, after swaps within pairs of
    the standardised scores.

    A pair holds the middle m of its two standardised scores and half their difference h: one
    column is m + s h after the swaps, the other m - s h, where s is -1 if the pair is swapped. So
    all sums are inner products with s.
    """

    def __init__(self, gold: Array, first: Array, second: Array):
        self.gold, first, second = (_standardised(values) for values in (gold, first, second))
        self.middle, self.half = (first + second) / 2, (first - second) / 2

    def __call__(self, signs: Array) -> Array:
        """Differences for `signs`, 1 or -1, of shape (resamples, pairs): (resamples,); NaN where a
        column is constant.
        """
        middle, half, pairs = self.middle, self.half, len(self.gold)
        moved, squared, covaried = (
            dot(signs, values) / pairs for values in (half, 2 * middle * half, self.gold * half)
        )
        square, covariance = np.mean(middle**2 + half**2), np.mean(self.gold * middle)
        with np.errstate(invalid="ignore", divide="ignore"):
            one, other = (
                (covariance + side * covaried) / np.sqrt(square + side * squared - moved**2)
                for side in (1, -1)
            )
        difference: Array = one - other
        return difference


class SwappedSpearman:
    """Spearman of gold with `first` minus Spearman of gold with `second`, after swaps within pairs
    of the ranks.

    The ranks of both models are one variable of twice as many values, of which a column holds one
    or the other of every pair: it is a resample of them, and `Ranks` ranks it. The rank of a value
    among both columns is the sum of its ranks in each.
    """

    def __init__(self, gold: Array, first: Array, second: Array):
        self.ranks = Ranks(np.concatenate([stats.rankdata(first), stats.rankdata(second)]))
        self.both = self.ranks.of(beside_each_other(np.ones((1, 2 * len(gold)))))
        centred = stats.rankdata(gold) - (len(gold) + 1) / 2
        self.square = np.sum(centred**2)
        # of the pair in each row
        self.gold = np.array([*centred, *centred, 0.0])[self.ranks.pair, None]

    def __call__(self, signs: Array) -> Array:
        """As `SwappedPearson`."""
        held, ranks = self.ranks.of(beside_each_other(np.hstack([signs > 0, signs < 0])))
        all_held, all_ranks = self.both
        gold = np.broadcast_to(self.gold, held.shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            one, other = (
                self.ranks.inner(column * own, gold)
                / np.sqrt(self.square * self.ranks.inner(column * own, own))
                for column, own in ((held, ranks), (all_held - held, all_ranks - ranks))
            )
        difference: Array = one - other
        return difference


DIFFERENCES: dict[Coefficient, Callable[[Array, Array, Array], Callable[[Array], Array]]] = {
    "pearson": SwappedPearson,
    "spearman": SwappedSpearman,
}


def _standardised(values: Array) -> Array:
    scores: Array = stats.zscore(values)
    return scores
