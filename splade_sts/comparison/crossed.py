"""Means over seeds, with intervals that hold both sources of chance: the seeds and the pairs."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from splade_sts import layout
from splade_sts.comparison.statistics import (
    CORRELATE,
    Array,
    Bootstrap,
    ResampledCorrelations,
)


@dataclass(frozen=True)
class OverSeeds:
    """A mean over seeds, or the mean of a difference over seeds, and its interval over seeds alone.

    Attributes:
        value: the mean.
        sd: over the seeds; that of a sample.
        low, high: Student's interval (t with seeds - 1 degrees of freedom).
    """

    value: float
    sd: float
    low: float
    high: float


@dataclass(frozen=True)
class OverBoth:
    """The same mean over seeds and pairs.

    Attributes:
        value: the mean.
        low, high: see `over_both`.
        seed_error: standard error that other seeds would show on the same pairs.
        pair_error: standard error that other pairs would show, were there endlessly many seeds.
        bootstrap_low, bootstrap_high: percentiles of the resamples of seeds and pairs. With few
            seeds they are too near to each other.
        error: standard error of `low` and `high` that other resamples would show: digits below it
            mean nothing.
    """

    value: float
    low: float
    high: float
    seed_error: float
    pair_error: float
    bootstrap_low: float
    bootstrap_high: float
    error: float


def over_seeds(values: Array, confidence: float) -> OverSeeds:
    """Mean and interval over seeds alone.

    Args:
        values: one for each seed, float (seeds,), at least two.
        confidence: level of the interval, between 0 and 1.
    """
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    half = _t(confidence, len(values) - 1) * sd / math.sqrt(len(values))
    return OverSeeds(mean, sd, mean - half, mean + half)


def _t(confidence: float, freedom: int) -> float:
    return float(stats.t.ppf((1 + confidence) / 2, freedom))


def over_both(
    gold: Array,
    scores: Array,
    bootstrap: Bootstrap,
    against: Array | None = None,
    cluster: NDArray[np.int64] | None = None,
) -> dict[str, OverBoth]:
    """The mean over seeds of the correlation with gold, or of its difference from that of other
    scores, for other seeds on other pairs.

    The model is that of two crossed random effects: d(s), the coefficient of seed s on these pairs,
    is the sum of a mean, an effect of the pairs, one of the seed, and one of both. Seeds and pairs
    are resampled each with replacement, the same pairs for all seeds (Owen 2007, "The pigeonhole
    bootstrap"; no bootstrap is exact there, McCullagh 2000, "Resampling and exchangeable arrays").
    With few seeds its percentiles are too near to each other: a resample of n seeds has only
    (n - 1) / n of their variance, and percentiles know no Student's t. So the interval is put
    together of the two parts:

    - seeds: the variance S of d over the n seeds, divided by n, with n - 1 degrees of freedom; it
      holds the effects of the seed and of both;
    - pairs: the variance of the mean over the n seeds in resamples of the pairs, less the part of
      it that the effect of both has, as that is in S already (at least 0).

    The half-widths of the intervals of the two parts, each with its own t, add up as squares (the
    method of variance estimates recovery: Zou and Donner 2008, "Construction of confidence limits
    about effect measures"). The interval is thus never narrower than that over seeds.
    `python -m benchmarks.seeds_and_pairs` measures the coverage of both.

    Pairs that share sentences are not independent. With `cluster`, whole clusters are drawn where
    pairs are drawn above, and the second part has the degrees of freedom of the clusters. The part
    that the effect of both has is then that among clusters, too.

    Args:
        gold: float (pairs,), finite.
        scores: of each seed, float (seeds, pairs), finite; at least two seeds.
        bootstrap: resamples, level and seed of the resampling.
        against: scores to be subtracted: float (seeds, pairs), of the same seeds, which makes the
            difference a paired one, or (1, pairs) of one model.
        cluster: number of each pair's cluster, from 0 without gaps, (pairs,).

    Returns:
        By coefficient. Empty where some scores are constant, or so nearly that they are in a
        resample; and where all pairs are one cluster.
    """
    units = len(gold) if cluster is None else int(cluster.max()) + 1
    if units == 1:
        return {}
    values = _coefficients(gold, scores)
    resampled = _resampled(gold, scores, bootstrap, against, cluster)
    if against is not None:
        values = values - _coefficients(gold, against)
    if not (np.isfinite(values).all() and np.isfinite(resampled).all()):
        return {}
    return {
        key: _combined(values[row], resampled[row], units, bootstrap)
        for row, key in enumerate(layout.COEFFICIENTS)
    }


def _coefficients(gold: Array, scores: Array) -> Array:
    """(coefficients, seeds); NaN where scores are constant."""
    if np.ptp(gold) == 0 or (np.ptp(scores, axis=1) == 0).any():
        return np.full((len(layout.COEFFICIENTS), len(scores)), np.nan)
    found = [[CORRELATE[key](gold, one)[0] for one in scores] for key in layout.COEFFICIENTS]
    return np.array(found, dtype=np.float64)


def _resampled(
    gold: Array,
    scores: Array,
    bootstrap: Bootstrap,
    against: Array | None,
    cluster: NDArray[np.int64] | None,
) -> Array:
    """(coefficients, seeds, resamples): coefficients, or differences, on the same resampled pairs
    or clusters for all seeds.
    """
    others = scores[:0] if against is None else against
    every = [*scores, *others]
    statistic = ResampledCorrelations(gold, {str(i): one for i, one in enumerate(every)}, {})
    found = statistic.resampled(bootstrap, cluster).reshape(
        len(layout.COEFFICIENTS), len(every), -1
    )
    first, second = found[:, : len(scores)], found[:, len(scores) :]
    return first if against is None else first - second


def _combined(values: Array, resampled: Array, units: int, bootstrap: Bootstrap) -> OverBoth:
    """From the values (seeds,) and (seeds, resamples) of them; `units` were drawn."""
    seeds = len(values)
    of_seeds = float(np.var(values, ddof=1)) / seeds
    means = resampled.mean(axis=0)
    of_both = float(np.var(resampled - means, axis=1, ddof=1).mean()) * seeds / (seeds - 1)
    of_means = float(np.var(means, ddof=1))
    of_pairs = max(0.0, of_means - of_both / seeds)
    pairs_t = _t(bootstrap.confidence, units - 1) ** 2
    half = math.sqrt(_t(bootstrap.confidence, seeds - 1) ** 2 * of_seeds + pairs_t * of_pairs)
    mean = float(values.mean())
    chosen = np.random.default_rng([bootstrap.seed, seeds]).integers(
        0, seeds, (seeds, resampled.shape[1])
    )
    crossed = np.take_along_axis(resampled, chosen, axis=0).mean(axis=0)
    tail = (1 - bootstrap.confidence) / 2
    low, high = np.quantile(crossed, (tail, 1 - tail)).tolist()
    return OverBoth(
        value=mean,
        low=mean - half,
        high=mean + half,
        seed_error=math.sqrt(of_seeds),
        pair_error=math.sqrt(of_pairs),
        bootstrap_low=low,
        bootstrap_high=high,
        # of m resamples, a variance has the relative standard error (2 / m) ** 1/2
        error=pairs_t * of_means / half / math.sqrt(2 * bootstrap.resamples) if half else 0.0,
    )
