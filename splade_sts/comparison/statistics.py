"""Correlations with the gold scores, and differences between them, with bootstrap intervals."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from splade_sts import layout
from splade_sts.comparison.jackknife import pearson_without_each, spearman_without_each
from splade_sts.comparison.ranks import Ranks, beside_each_other
from splade_sts.layout import Coefficient
from splade_sts.params import CompareParams
from splade_sts.process import in_threads

BATCH = 256  # resamples drawn at once, at most
CELLS = BATCH * 2048  # units drawn at once, at most: memory at any number of pairs
# counts looked at in one go, at most: what is made of them fits into the processor's cache
WORKED = 2**18

Array = NDArray[np.float64]
Scores = dict[str, Array]
# Name of a difference -> (first, second), two names of scores: it stands for first - second.
Differences = dict[str, tuple[str, str]]
CORRELATE: dict[Coefficient, Callable[..., Any]] = {
    "pearson": stats.pearsonr,
    "spearman": stats.spearmanr,
}


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: `resamples` of the pairs, at the level `confidence` (between 0 and
    1), from `seed`.
    """

    resamples: int
    confidence: float
    seed: int

    @classmethod
    def of(cls, params: CompareParams) -> "Bootstrap":
        """The settings in params.yaml."""
        return cls(params.resamples, params.confidence, params.seed)


@dataclass(frozen=True)
class Estimate:
    """A correlation, or a difference of two, with its interval.

    Attributes:
        value: of the pairs themselves.
        low, high: BCa interval, or, where that has none, the percentile interval.
        percentile_low, percentile_high: percentile interval of the same resamples.
        method: which of the two `low` and `high` are of.
        error: standard error of `low` and `high` that other resamples would show
            (`monte_carlo_error`): digits below it mean nothing.
    """

    value: float
    low: float
    high: float
    percentile_low: float
    percentile_high: float
    method: Literal["bca", "percentile"]
    error: float

    @property
    def is_finite(self) -> bool:
        """Whether the value and both intervals are there."""
        return all(
            map(
                math.isfinite,
                (self.value, self.low, self.high, self.percentile_low, self.percentile_high),
            )
        )


@dataclass(frozen=True)
class Correlations:
    """Both coefficients of one prediction with gold, or of one difference."""

    pearson: Estimate
    spearman: Estimate

    @property
    def is_finite(self) -> bool:
        """Whether both estimates are."""
        return self.pearson.is_finite and self.spearman.is_finite


class ResampledCorrelations:
    """Pearson and Spearman of every prediction with gold, and differences between them, on
    resamples.

    The rows of what it gives are Pearson of the predictions, then of the differences, then Spearman
    of the same: see `names`.
    """

    def __init__(self, gold: np.ndarray, predictions: Scores, differences: Differences):
        variables = [
            np.asarray(values, dtype=np.float64) for values in (gold, *predictions.values())
        ]
        self.values = [
            values - values.mean() for values in variables
        ]  # so that sums of squares lose no digits
        self.ranks = [Ranks(values) for values in variables]
        names = list(predictions)
        self.names: list[tuple[Coefficient, str]] = [
            (key, name) for key in layout.COEFFICIENTS for name in (*predictions, *differences)
        ]
        self.differences = [
            (names.index(first), names.index(second)) for first, second in differences.values()
        ]

    def of_counts(self, counts: Array) -> Array:
        """Resamples given as how often each pair is drawn: (resamples, pairs) -> (rows, resamples).

        No correlation where all drawn values are equal: NaN.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([*self._pearson(counts), *self._spearman(counts)])

    def without_each(self) -> Array:
        """Without each pair in turn: (rows, pairs); not finite where no correlation is left."""
        with np.errstate(invalid="ignore", divide="ignore"):
            gold, *others = self.values
            pearson = [pearson_without_each(gold, values) for values in others]
            spearman = [spearman_without_each(gold, values) for values in others]
        return np.stack([*self._and_differences(pearson), *self._and_differences(spearman)])

    def resampled(self, bootstrap: Bootstrap, cluster: NDArray[np.int64] | None = None) -> Array:
        """Of resamples of the pairs, or of clusters (`estimates`): (rows, resamples)."""
        pairs = len(self.values[0])
        if cluster is None:
            return resampled([pairs], bootstrap, self.of_counts)

        def of_clusters(counts: Array) -> Array:
            return self.of_counts(counts.take(cluster, axis=1))

        return resampled([int(cluster.max()) + 1], bootstrap, of_clusters, pairs)

    def influences(self, cluster: NDArray[np.int64] | None = None) -> Array:
        """How much each pair, or each cluster, moves each row (`influences`): (rows, units)."""
        moved = influences(self.without_each())
        if cluster is None:
            return moved
        return np.stack([np.bincount(cluster, row) for row in moved])

    def _and_differences(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        return rows + [rows[first] - rows[second] for first, second in self.differences]

    def _pearson(self, counts: np.ndarray) -> list[np.ndarray]:
        gold, *others = self.values
        drawn = counts.sum(axis=1)
        means = [dot(counts, values) / drawn for values in self.values]
        spreads = [
            np.sqrt(dot(counts, values * values) / drawn - mean * mean)
            for values, mean in zip(self.values, means, strict=True)
        ]
        products = [dot(counts, gold * values) / drawn for values in others]
        return self._and_differences(
            [
                (product - means[0] * mean) / (spreads[0] * spread)
                for product, mean, spread in zip(products, means[1:], spreads[1:], strict=True)
            ]
        )

    def _spearman(self, counts: Array) -> list[Array]:
        drawn = beside_each_other(counts)
        gold, *others = self.ranks
        copies, own = gold.of(drawn)
        spread = np.sqrt(gold.inner(copies * own, own))
        weighted = np.zeros_like(drawn)
        np.multiply(drawn[:-1], own.take(gold.row, axis=0), out=weighted[:-1])
        found = []
        for variable in others:
            copies, ranks = variable.of(drawn)
            product = variable.inner(weighted.take(variable.pair, axis=0), ranks)
            copies *= ranks
            found.append(product / (spread * np.sqrt(variable.inner(copies, ranks))))
        return self._and_differences(found)


def counted(indices: NDArray[np.int64], units: int) -> Array:
    """How often each of `units` units is drawn: (resamples, drawn) -> (resamples, units)."""
    counts = np.stack([np.bincount(row, minlength=units) for row in indices])
    return counts.astype(np.float64)


def dot(rows: Array, values: Array) -> Array:
    """Inner product of every row with `values`, or with the same row of it; without the threads of
    BLAS.
    """
    products: Array = np.einsum("rp,rp->r" if values.ndim == 2 else "rp,p->r", rows, values)
    return products


def correlation(gold: Array, predicted: Array) -> dict[Coefficient, float] | None:
    """Both coefficients of `predicted` with `gold`; None where one holds a single value."""
    if np.ptp(gold) == 0 or np.ptp(predicted) == 0:
        return None
    return {name: float(correlate(gold, predicted)[0]) for name, correlate in CORRELATE.items()}


def estimates(
    gold: Array,
    predictions: Scores,
    differences: Differences,
    bootstrap: Bootstrap,
    cluster: NDArray[np.int64] | None = None,
) -> dict[str, Correlations]:
    """Correlations with gold, and differences between them, with paired bootstrap intervals.

    Pairs are drawn with replacement, each with its gold and all its predicted scores. The intervals
    are `bca`'s. With `cluster`, whole clusters are drawn instead, as many as there are (cluster
    bootstrap: Field & Welsh 2007, "Bootstrapping clustered data"); a cluster moves the statistic by
    what its pairs do together, which is exact to first order (infinitesimal jackknife).

    Args:
        gold: float (pairs,), finite.
        predictions: scores to correlate with gold, by name, each float (pairs,), finite.
        differences: differences of those correlations.
        bootstrap: the settings.
        cluster: number of each pair's cluster, from 0 without gaps, (pairs,).

    Returns:
        What has intervals, by the name of the prediction or difference. Not there is what has none:
        its scores or the gold scores are constant, or so nearly that they are in some resample.
    """
    values = {
        name: found
        for name, scores in predictions.items()
        if (found := correlation(gold, scores)) is not None
    }
    differences = {name: pair for name, pair in differences.items() if set(pair) <= set(values)}
    if not values:
        return {}
    for name, (first, second) in differences.items():
        values[name] = _minus(values[first], values[second])
    kept = {name: scores for name, scores in predictions.items() if name in values}
    statistic = ResampledCorrelations(gold, kept, differences)
    points = [values[name][key] for key, name in statistic.names]
    own = statistic.of_counts(np.ones((1, len(gold))))[:, 0]
    drawn = statistic.resampled(bootstrap, cluster)
    made = bca(points, own, drawn, [statistic.influences(cluster)], bootstrap)
    return by_name(dict(zip(statistic.names, made, strict=True)))


@dataclass(frozen=True, eq=False)
class Sample:
    """Gold scores and two predictions of the same pairs, each float (pairs,)."""

    gold: Array
    base: Array
    finetuned: Array

    def __len__(self) -> int:
        return len(self.gold)

    def select(self, chosen: NDArray[np.bool_]) -> "Sample":
        """The pairs for which `chosen`, bool (pairs,), is true."""
        return Sample(self.gold[chosen], self.base[chosen], self.finetuned[chosen])

    @property
    def predictions(self) -> Scores:
        """Both, by name."""
        return {"base": self.base, "finetuned": self.finetuned}


GAIN: Differences = {"gain": ("finetuned", "base")}


def two_samples(
    first: Sample, second: Sample, bootstrap: Bootstrap
) -> tuple[dict[str, Correlations], dict[str, Correlations], Correlations | None]:
    """Correlations and gains in two samples of different pairs, and how much the gains differ.

    The samples are resampled independently of each other: this is the two-sample bootstrap (Efron &
    Tibshirani 1993, "An Introduction to the Bootstrap", section 8.3), with BCa's acceleration from
    the jackknife of both samples (`bca`).

    Returns:
        For each sample what `estimates` gives for `base`, `finetuned` and `gain`; and the gain of
        the first minus that of the second. None where one of the gains has no interval.
    """
    points = [_points(sample) for sample in (first, second)]
    if points[0] is None or points[1] is None:
        alone = [
            estimates(sample.gold, sample.predictions, GAIN, bootstrap)
            for sample in (first, second)
        ]
        return alone[0], alone[1], None
    statistics = [
        ResampledCorrelations(sample.gold, sample.predictions, GAIN) for sample in (first, second)
    ]
    names = statistics[0].names
    gains = [number for number, (_, name) in enumerate(names) if name == "gain"]

    def rows(one: Array, other: Array) -> Array:
        return np.concatenate([one, other, one[gains] - other[gains]])

    drawn = resampled(
        [len(first), len(second)],
        bootstrap,
        lambda *counts: rows(*map(ResampledCorrelations.of_counts, statistics, counts)),
    )
    own = [
        statistic.of_counts(np.ones((1, len(sample))))
        for statistic, sample in zip(statistics, (first, second), strict=True)
    ]
    moved = [influences(statistic.without_each()) for statistic in statistics]
    still = [np.zeros_like(part) for part in moved]
    values = [[found[name][key] for key, name in names] for found in points if found is not None]
    differ = [values[0][number] - values[1][number] for number in gains]
    found = bca(
        [*values[0], *values[1], *differ],
        rows(own[0], own[1])[:, 0],
        drawn,
        [rows(moved[0], still[0]), rows(still[1], moved[1])],
        bootstrap,
    )
    size = len(names)
    parts = [
        by_name(dict(zip(names, found[start : start + size], strict=True))) for start in (0, size)
    ]
    difference = Correlations(**dict(zip(layout.COEFFICIENTS, found[2 * size :], strict=True)))
    return parts[0], parts[1], difference if difference.is_finite else None


def _points(sample: Sample) -> dict[str, dict[Coefficient, float]] | None:
    base, finetuned = (correlation(sample.gold, scores) for scores in sample.predictions.values())
    if base is None or finetuned is None:
        return None
    return {"base": base, "finetuned": finetuned, "gain": _minus(finetuned, base)}


def _minus(
    first: dict[Coefficient, float], second: dict[Coefficient, float]
) -> dict[Coefficient, float]:
    return {key: first[key] - second[key] for key in layout.COEFFICIENTS}


def by_name(found: dict[tuple[Coefficient, str], Estimate]) -> dict[str, Correlations]:
    """The estimates by name, without those of which a coefficient has no interval."""
    made = {
        name: Correlations(**{key: found[key, name] for key in layout.COEFFICIENTS})
        for _, name in found
    }
    return {name: both for name, both in made.items() if both.is_finite}


def resampled(
    sizes: Sequence[int], bootstrap: Bootstrap, statistic: Callable[..., Array], pairs: int = 0
) -> Array:
    """A statistic in every resample: (rows, resamples).

    Batches of resamples are drawn one after the other, and counted and looked at in threads. The
    values do not depend on how many there are.

    Args:
        sizes: units of each sample (pairs or clusters). They are drawn from independently, and with
            replacement, as many units as each has.
        bootstrap: the settings.
        statistic: what is made of a batch. It is given, for each sample, how often each unit is
            drawn, float (resamples, units), and gives (rows, resamples).
        pairs: where units are clusters, how many pairs they hold: it bounds a batch, and changes no
            number.
    """
    rows = max(1, WORKED // max(sizes))

    def of(indices: list[NDArray[np.int64]]) -> Array:
        parts = [
            statistic(
                *(
                    counted(one[at : at + rows], size)
                    for one, size in zip(indices, sizes, strict=True)
                )
            )
            for at in range(0, len(indices[0]), rows)
        ]
        return np.concatenate(parts, axis=1)

    return np.concatenate([*in_threads(of, _drawn(sizes, bootstrap, pairs))], axis=1)


def _drawn(
    sizes: Sequence[int], bootstrap: Bootstrap, pairs: int
) -> Iterator[list[NDArray[np.int64]]]:
    """The drawn units of batches of resamples, for each sample (resamples, units)."""
    generator = np.random.default_rng(bootstrap.seed)
    batch = max(1, min(BATCH, CELLS // max(*sizes, pairs)))
    for start in range(0, bootstrap.resamples, batch):
        count = min(batch, bootstrap.resamples - start)
        yield [generator.integers(0, size, (count, size)) for size in sizes]


def influences(without_each: Array) -> Array:
    """How much each pair moves each row of a statistic, by the jackknife.

    Args:
        without_each: the rows without each pair in turn, (rows, pairs).

    Returns:
        (pairs - 1) times their mean less themselves: (rows, pairs).
    """
    with np.errstate(invalid="ignore"):  # infinite where no correlation is left: no BCa interval
        mean = without_each.mean(axis=1, keepdims=True)
        found: Array = (without_each.shape[1] - 1) * (mean - without_each)
    return found


def bca(
    points: Sequence[float],
    own: Array,
    drawn: Array,
    moved: Sequence[Array],
    bootstrap: Bootstrap,
) -> list[Estimate]:
    """BCa intervals (Efron 1987, "Better Bootstrap Confidence Intervals"), as
    `scipy.stats.bootstrap` computes them; and percentile intervals of the same resamples, which
    stand for BCa's too where these have no value because every resample agrees.

    SciPy takes the statistic anew without each pair, which is quadratic in the pairs. Here `moved`
    says what that comes to.

    Args:
        points: the estimates, one for each row of the statistic.
        own: the rows for the samples themselves, computed as those of resamples, (rows,).
        drawn: the rows in each resample, (rows, resamples).
        moved: for each sample the influence of each of its units (`influences`), (rows, units).
        bootstrap: the settings.
    """
    below = np.count_nonzero(drawn < own[:, None], axis=1)
    below += np.count_nonzero(drawn <= own[:, None], axis=1)
    tail = (1 - bootstrap.confidence) / 2
    ends = stats.norm.ppf([tail, 1 - tail])
    with np.errstate(invalid="ignore", divide="ignore"):
        cubes = sum(np.sum(part**3, axis=1) / part.shape[1] ** 3 for part in moved)
        squares = sum(np.sum(part**2, axis=1) / part.shape[1] ** 2 for part in moved)
        acceleration = (cubes / squares**1.5 / 6)[:, None]
        bias = stats.norm.ppf(below / (2 * drawn.shape[1]))[:, None]
        levels = stats.norm.cdf(bias + (bias + ends) / (1 - acceleration * (bias + ends)))
        found = stats.quantile(drawn, levels, axis=-1)
        percentile = stats.quantile(drawn, np.tile([tail, 1 - tail], (len(drawn), 1)), axis=-1)
        spread = np.std(drawn, axis=1, ddof=1)
    return [
        _estimate(
            point,
            tuple(found[row].tolist()),
            tuple(percentile[row].tolist()),
            monte_carlo_error(float(spread[row]), bootstrap),
        )
        for row, point in enumerate(points)
    ]


def _estimate(
    value: float,
    bca: tuple[float, float],
    percentile: tuple[float, float],
    error: float,
) -> Estimate:
    if all(map(math.isfinite, bca)):
        return Estimate(value, *bca, *percentile, method="bca", error=error)
    return Estimate(value, *percentile, *percentile, method="percentile", error=error)


def monte_carlo_error(spread: float, bootstrap: Bootstrap) -> float:
    """Standard error of an end of a BCa interval that comes from the finite number of resamples.

    An end is the quantile at Φ(2 z₀ + z) of the resamples (Efron 1987, without acceleration), and
    z₀ is estimated from the same resamples. In units of `spread`, with p = Φ(z), the errors of both
    have the variance [p (1 - p) / φ(z)² + 4 · ¼ / φ(0)² - 2 · 2 · p / (2 φ(z) φ(0))] / resamples:
    variances and covariance of empirical quantiles (Serfling 1980, "Approximation Theorems of
    Mathematical Statistics", section 2.3.3), for resamples that are close to normal.

    Args:
        spread: standard deviation of the resampled values.
        bootstrap: the settings.
    """
    tail = (1 - bootstrap.confidence) / 2
    at_end, at_centre = stats.norm.pdf(stats.norm.ppf(tail)), stats.norm.pdf(0)
    variance = tail * (1 - tail) / at_end**2 + 1 / at_centre**2 - 2 * tail / (at_end * at_centre)
    return spread * math.sqrt(variance / bootstrap.resamples)
