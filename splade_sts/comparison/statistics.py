"""Is a difference between two correlations with the same gold scores more than chance? Intervals and a test."""

import math
import warnings
from collections.abc import Sized
from typing import Any

import numpy as np
from scipy import stats

from splade_sts.errors import UserError

COEFFICIENTS = ("pearson_cosine", "spearman_cosine")
MINIMUM_PAIRS = 10
BATCH = 256  # resamples computed at once: their counts fit into the processor's cache

Scores = dict[str, np.ndarray]


class _Ranks:
    """Average ranks of a variable in resamples, without sorting the resamples.

    A resample is a count for every pair. With the pairs in order of the variable, a running sum of the counts is the number
    of drawn values that are not larger; tied values share the middle of their places.
    """

    def __init__(self, values: np.ndarray):
        self.order = np.argsort(values, kind="stable")
        _, self.starts, group = np.unique(values[self.order], return_index=True, return_inverse=True)
        self.place = np.empty_like(group)
        self.place[self.order] = group
        self.tied = len(self.starts) < len(values)

    def of(self, counts: np.ndarray) -> np.ndarray:
        """Ranks of all pairs in the resamples whose `counts` (resamples, pairs) are given, less their mean."""
        copies = counts.take(self.order, axis=1)
        if self.tied:
            copies = np.add.reduceat(copies, self.starts, axis=1)
        ranks = np.cumsum(copies, axis=1)
        ranks -= (copies + ranks[:, -1:]) / 2
        return ranks.take(self.place, axis=1)


class _Correlations:
    """Pearson and Spearman of every prediction with gold, and differences between them, on resamples given as indices.

    Called with indices of shape (..., drawn) it gives an array of shape (rows, ...): Pearson of the predictions and their
    differences, then Spearman of the same.
    """

    def __init__(self, gold: np.ndarray, predictions: Scores, differences: dict[str, tuple[str, str]]):
        variables = [np.asarray(values, dtype=np.float64) for values in (gold, *predictions.values())]
        self.values = [values - values.mean() for values in variables]  # so that sums of squares lose no digits
        self.ranks = [_Ranks(values) for values in variables]
        names = list(predictions)
        self.differences = [(names.index(first), names.index(second)) for first, second in differences.values()]

    def __call__(self, indices: np.ndarray, axis: int = -1) -> np.ndarray:
        drawn = indices.reshape(-1, indices.shape[-1])
        pairs = len(self.values[0])
        counts = np.stack([np.bincount(row, minlength=pairs) for row in drawn]).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):  # no correlation where all drawn values are equal: NaN
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
        return self._and_differences([
            (product - means[0] * mean) / (spreads[0] * spread)
            for product, mean, spread in zip(products, means[1:], spreads[1:], strict=True)
        ])

    def _spearman(self, counts: np.ndarray) -> list[np.ndarray]:
        gold, *others = (ranks.of(counts) for ranks in self.ranks)
        weighted = counts * gold
        spread = np.sqrt(_dot(weighted, gold))
        return self._and_differences([
            _dot(weighted, ranks) / (spread * np.sqrt(_dot(counts * ranks, ranks))) for ranks in others
        ])


def _dot(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Inner product of every row with `values`, or with the same row of it; without the threads of BLAS."""
    return np.einsum("rp,rp->r" if values.ndim == 2 else "rp,p->r", rows, values)


def intervals(
    gold: np.ndarray, predictions: Scores, differences: dict[str, tuple[str, str]],
    resamples: int, confidence: float, seed: int,
) -> dict[str, dict[str, dict[str, float]]]:
    """Paired bootstrap intervals: pairs are drawn with replacement, each with its gold and all its predicted scores.

    `scipy.stats.bootstrap` with method BCa (Efron 1987, "Better Bootstrap Confidence Intervals"), and the percentile
    interval from the same resamples.

    Args:
        gold: float (pairs,), finite.
        predictions: scores to correlate with gold, by name, each float (pairs,), finite.
        differences: differences of those correlations: name -> (first, second), standing for first - second.
        resamples: number of resamples.
        confidence: level of the intervals, between 0 and 1.
        seed: of the resampling.

    Returns:
        `{coefficient: {name of a prediction or difference: {low, high, percentile_low, percentile_high}}}`. Bounds are NaN
        where a correlation is undefined in some resample, which happens where almost all scores are the same.
    """
    settings = {"vectorized": True, "axis": -1, "confidence_level": confidence}
    data, statistic = (np.arange(len(gold)),), _Correlations(gold, predictions, differences)
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # a constant difference: handled below
        bca = stats.bootstrap(
            data, statistic, n_resamples=resamples, batch=BATCH, method="BCa", rng=np.random.default_rng(seed), **settings
        )
        percentile = stats.bootstrap(
            data, statistic, n_resamples=0, method="percentile", bootstrap_result=bca, **settings
        ).confidence_interval
    result: dict[str, dict[str, dict[str, float]]] = {}
    names = [*predictions, *differences]
    for number, (coefficient, name) in enumerate((c, n) for c in COEFFICIENTS for n in names):
        low, high = (float(bound[number]) for bound in bca.confidence_interval)
        percentile_low, percentile_high = (float(bound[number]) for bound in percentile)
        if not (math.isfinite(low) and math.isfinite(high)):  # BCa has no value where every resample agrees
            low, high = percentile_low, percentile_high
        result.setdefault(coefficient, {})[name] = {
            "low": low, "high": high, "percentile_low": percentile_low, "percentile_high": percentile_high,
        }
    return result


def check_size(pairs: Sized, split: str) -> None:
    """Raise `UserError` where a split has fewer than `MINIMUM_PAIRS` pairs."""
    if len(pairs) < MINIMUM_PAIRS:
        raise UserError(f"{split} has {len(pairs)} pairs; intervals need at least {MINIMUM_PAIRS}: use a larger split")


def correlation(gold: np.ndarray, predicted: np.ndarray) -> dict[str, float] | None:
    """Both coefficients of `predicted` with `gold`; None where one of the two holds a single value, so that there is none."""
    if np.ptp(gold) == 0 or np.ptp(predicted) == 0:
        return None
    return {
        name: float(correlate(gold, predicted)[0])
        for name, correlate in zip(COEFFICIENTS, (stats.pearsonr, stats.spearmanr), strict=True)
    }


def estimates(
    gold: np.ndarray, predictions: Scores, differences: dict[str, tuple[str, str]],
    resamples: int, confidence: float, seed: int,
) -> dict[str, dict[str, dict[str, float]]]:
    """Correlations and their differences with BCa intervals, for the arguments of `intervals`.

    Returns:
        `{name of a prediction or difference: {coefficient: {value, low, high}}}`, without the names that have no interval:
        their scores or the gold scores are constant, or so nearly that they are in some resample.
    """
    points = {name: point for name, values in predictions.items() if (point := correlation(gold, values)) is not None}
    differences = {name: pair for name, pair in differences.items() if set(pair) <= set(points)}
    if not points:
        return {}
    found = intervals(gold, {name: predictions[name] for name in points}, differences, resamples, confidence, seed)
    points |= {
        name: {key: points[first][key] - points[second][key] for key in COEFFICIENTS}
        for name, (first, second) in differences.items()
    }
    return {
        name: {
            key: {"value": point[key], "low": found[key][name]["low"], "high": found[key][name]["high"]} for key in COEFFICIENTS
        }
        for name, point in points.items()
        if all(math.isfinite(bound) for key in COEFFICIENTS for bound in found[key][name].values())
    }


def williams(r12: float, r13: float, r23: float, pairs: int) -> tuple[float, float]:
    """Williams' test of r12 = r13, two correlations with the same variable 1.

    Williams 1959, "The comparison of regression variables"; Steiger 1980, "Tests for comparing elements of a correlation
    matrix", equation 7, which recommends it. It assumes normal variables, so for rank correlations it is an approximation.

    Args:
        r12, r13: the correlations compared.
        r23: the correlation of variables 2 and 3.
        pairs: number of observations, at least 4.

    Returns:
        t with `pairs` - 3 degrees of freedom (positive where r12 is larger), and the two-sided p value; (0, 1) where
        variables 2 and 3 are the same up to a linear map.
    """
    if r12 == r13:
        return 0.0, 1.0
    determinant = 1 - r12**2 - r13**2 - r23**2 + 2 * r12 * r13 * r23
    mean_square = ((r12 + r13) / 2) ** 2
    spread = 2 * determinant * (pairs - 1) / (pairs - 3) + mean_square * (1 - r23) ** 3
    t = (r12 - r13) * math.sqrt((pairs - 1) * (1 + r23) / spread)
    return t, float(2 * stats.t.sf(abs(t), pairs - 3))


def evidence(
    gold: np.ndarray, base: np.ndarray, finetuned: np.ndarray, resamples: int, confidence: float, seed: int
) -> dict[str, Any]:
    """Intervals and tests for both coefficients.

    Returns:
        `{coefficient: {base, finetuned, delta: {low, high, ...}, williams_t, williams_p}}`.
    """
    scores = {"base": base, "finetuned": finetuned}
    result: dict[str, Any] = intervals(gold, scores, {"delta": ("finetuned", "base")}, resamples, confidence, seed)
    for coefficient, correlate in zip(COEFFICIENTS, (stats.pearsonr, stats.spearmanr), strict=True):
        r12, r13, r23 = (float(correlate(x, y)[0]) for x, y in ((gold, finetuned), (gold, base), (finetuned, base)))
        result[coefficient]["williams_t"], result[coefficient]["williams_p"] = williams(r12, r13, r23, len(gold))
    return result


def in_words(delta: float, interval: dict[str, float], p: float, confidence: float) -> str:
    """A difference with its interval and p value, and whether that is more than chance."""
    p_text = "p < 0.0001" if p < 1e-4 else f"p = {p:.4f}"
    numbers = f"{delta:+.4f} [{interval['low']:+.4f}, {interval['high']:+.4f}], {p_text}"
    if interval["low"] <= 0 <= interval["high"]:
        return f"{numbers}: no significant difference at the {confidence:.0%} level"
    return numbers
