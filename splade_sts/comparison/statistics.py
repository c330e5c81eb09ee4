"""Is a difference between two correlations with the same gold scores more than chance? Intervals
and a test.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from splade_sts import layout
from splade_sts.layout import Coefficient
from splade_sts.params import CompareParams

BATCH = 256  # resamples computed at once: their counts fit into the processor's cache

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
    """A correlation, or a difference of two, with its BCa interval and the percentile interval of
    the same resamples.
    """

    value: float
    low: float
    high: float
    percentile_low: float
    percentile_high: float

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


@dataclass(frozen=True)
class Test:
    """A test of the equality of two correlations: its statistic, and the two-sided p value."""

    statistic: float
    p: float


class Ranks:
    """Average ranks of a variable in resamples, without sorting the resamples.

    A resample is a count for every pair. With the pairs in order of the variable, a running sum of
    the counts is the number of drawn values that are not larger; tied values share the middle of
    their places.
    """

    def __init__(self, values: np.ndarray):
        self.order = np.argsort(values, kind="stable")
        _, self.starts, group = np.unique(
            values[self.order], return_index=True, return_inverse=True
        )
        self.place = np.empty_like(group)
        self.place[self.order] = group
        self.tied = len(self.starts) < len(values)

    def of(self, counts: np.ndarray) -> np.ndarray:
        """Ranks of all pairs in the resamples whose `counts` (resamples, pairs) are given, less
        their mean.
        """
        copies = counts.take(self.order, axis=1)
        if self.tied:
            copies = np.add.reduceat(copies, self.starts, axis=1)
        ranks = np.cumsum(copies, axis=1)
        ranks -= (copies + ranks[:, -1:]) / 2
        return ranks.take(self.place, axis=1)


class ResampledCorrelations:
    """Pearson and Spearman of every prediction with gold, and differences between them, on
    resamples given as indices.

    Called with indices of shape (..., drawn) it gives an array of shape (rows, ...): Pearson of the
    predictions and their differences, then Spearman of the same.
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
        self.differences = [
            (names.index(first), names.index(second)) for first, second in differences.values()
        ]

    def __call__(self, indices: np.ndarray, axis: int = -1) -> np.ndarray:
        drawn = indices.reshape(-1, indices.shape[-1])
        pairs = len(self.values[0])
        counts = np.stack([np.bincount(row, minlength=pairs) for row in drawn]).astype(np.float64)
        with np.errstate(
            invalid="ignore", divide="ignore"
        ):  # no correlation where all drawn values are equal: NaN
            rows = [*self._pearson(counts, drawn.shape[1]), *self._spearman(counts)]
        return np.stack(rows).reshape(-1, *indices.shape[:-1])

    def _and_differences(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        return rows + [rows[first] - rows[second] for first, second in self.differences]

    def _pearson(self, counts: np.ndarray, drawn: int) -> list[np.ndarray]:
        gold, *others = self.values
        means = [_dot(counts, values) / drawn for values in self.values]
        spreads = [
            np.sqrt(_dot(counts, values * values) / drawn - mean * mean)
            for values, mean in zip(self.values, means, strict=True)
        ]
        products = [_dot(counts, gold * values) / drawn for values in others]
        return self._and_differences(
            [
                (product - means[0] * mean) / (spreads[0] * spread)
                for product, mean, spread in zip(products, means[1:], spreads[1:], strict=True)
            ]
        )

    def _spearman(self, counts: np.ndarray) -> list[np.ndarray]:
        gold, *others = (ranks.of(counts) for ranks in self.ranks)
        weighted = counts * gold
        spread = np.sqrt(_dot(weighted, gold))
        return self._and_differences(
            [
                _dot(weighted, ranks) / (spread * np.sqrt(_dot(counts * ranks, ranks)))
                for ranks in others
            ]
        )


def _dot(rows: Array, values: Array) -> Array:
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
    gold: Array, predictions: Scores, differences: Differences, bootstrap: Bootstrap
) -> dict[str, Correlations]:
    """Correlations with gold, and differences between them, with paired bootstrap intervals.

    Pairs are drawn with replacement, each with its gold and all its predicted scores.
    `scipy.stats.bootstrap` with method BCa (Efron 1987, "Better Bootstrap Confidence Intervals"),
    and the percentile interval from the same resamples, which stands for BCa too where that has no
    value because every resample agrees.

    Args:
        gold: float (pairs,), finite.
        predictions: scores to correlate with gold, by name, each float (pairs,), finite.
        differences: differences of those correlations.
        bootstrap: the settings.

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
    bounds = _intervals(gold, {name: predictions[name] for name in values}, differences, bootstrap)
    for name, (first, second) in differences.items():
        values[name] = {
            key: values[first][key] - values[second][key] for key in layout.COEFFICIENTS
        }
    made = {
        name: Correlations(
            **{key: Estimate(point[key], *bounds[key, name]) for key in layout.COEFFICIENTS}
        )
        for name, point in values.items()
    }
    return {name: found for name, found in made.items() if found.is_finite}


def _intervals(
    gold: Array, predictions: Scores, differences: Differences, bootstrap: Bootstrap
) -> dict[tuple[Coefficient, str], tuple[float, float, float, float]]:
    """Low and high of BCa, then of the percentile interval, by coefficient and name; NaN where
    there is none.
    """
    settings: dict[str, Any] = {
        "vectorized": True,
        "axis": -1,
        "confidence_level": bootstrap.confidence,
    }
    data, statistic = (np.arange(len(gold)),), ResampledCorrelations(gold, predictions, differences)
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", stats.DegenerateDataWarning
        )  # a constant difference: handled below
        bca = stats.bootstrap(
            data,
            statistic,
            n_resamples=bootstrap.resamples,
            batch=BATCH,
            method="BCa",
            rng=np.random.default_rng(bootstrap.seed),
            **settings,
        )
        percentile = stats.bootstrap(
            data, statistic, n_resamples=0, method="percentile", bootstrap_result=bca, **settings
        )
    names = [(key, name) for key in layout.COEFFICIENTS for name in (*predictions, *differences)]
    result = {}
    for number, name in enumerate(names):
        low, high = (float(bound[number]) for bound in bca.confidence_interval)
        percentile_low, percentile_high = (
            float(bound[number]) for bound in percentile.confidence_interval
        )
        if not (math.isfinite(low) and math.isfinite(high)):
            low, high = percentile_low, percentile_high
        result[name] = (low, high, percentile_low, percentile_high)
    return result


def williams(r12: float, r13: float, r23: float, pairs: int) -> Test:
    """Williams' test of r12 = r13, two correlations with the same variable 1.

    Williams 1959, "The comparison of regression variables"; Steiger 1980, "Tests for comparing
    elements of a correlation matrix", equation 7, which recommends it. It assumes normal variables,
    so for rank correlations it is an approximation.

    Args:
        r12: the correlation of variables 1 and 2.
        r13: the correlation of variables 1 and 3.
        r23: the correlation of variables 2 and 3.
        pairs: number of observations, at least 4.

    Returns:
        t with `pairs` - 3 degrees of freedom (positive where r12 is larger), and p; (0, 1) where
        variables 2 and 3 are the same up to a linear map.
    """
    if r12 == r13:
        return Test(0.0, 1.0)
    determinant = 1 - r12**2 - r13**2 - r23**2 + 2 * r12 * r13 * r23
    mean_square = ((r12 + r13) / 2) ** 2
    spread = 2 * determinant * (pairs - 1) / (pairs - 3) + mean_square * (1 - r23) ** 3
    t = (r12 - r13) * math.sqrt((pairs - 1) * (1 + r23) / spread)
    return Test(t, float(2 * stats.t.sf(abs(t), pairs - 3)))


def compare_correlations(gold: Array, first: Array, second: Array) -> dict[Coefficient, Test]:
    """Williams' test of the correlations of `first` and `second` with `gold`, for both
    coefficients.
    """

    def test(correlate: Callable[..., Any]) -> Test:
        r12, r13, r23 = (
            float(correlate(x, y)[0]) for x, y in ((gold, first), (gold, second), (first, second))
        )
        return williams(r12, r13, r23, len(gold))

    return {name: test(correlate) for name, correlate in CORRELATE.items()}
