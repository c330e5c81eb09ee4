"""Is a difference between two correlations with the same gold scores more than chance? Intervals and a test."""

import math
from typing import Any

import numpy as np
from scipy import stats

COEFFICIENTS = ("pearson_cosine", "spearman_cosine")
MODELS = ("base", "finetuned", "delta")
MINIMUM_PAIRS = 10


def _pearson(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    x = x - x.mean(axis, keepdims=True)
    y = y - y.mean(axis, keepdims=True)
    return (x * y).sum(axis) / np.sqrt((x * x).sum(axis) * (y * y).sum(axis))


def _correlations(gold: np.ndarray, base: np.ndarray, finetuned: np.ndarray, axis: int = -1) -> np.ndarray:
    """Pearson of base, finetuned and their difference, then Spearman of the same: (6, ...)."""
    rows = []
    for values in ((gold, base, finetuned), [stats.rankdata(v, axis=axis) for v in (gold, base, finetuned)]):
        first, second = _pearson(values[0], values[1], axis), _pearson(values[0], values[2], axis)
        rows += [first, second, second - first]
    return np.stack(rows)


def bootstrap(
    gold: np.ndarray, base: np.ndarray, finetuned: np.ndarray, resamples: int, confidence: float, seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Paired bootstrap intervals: pairs are drawn with replacement, each with its gold and both predicted scores.

    `scipy.stats.bootstrap` with method BCa (Efron 1987, "Better Bootstrap Confidence Intervals"), and the percentile
    interval from the same resamples.

    Args:
        gold, base, finetuned: float (pairs,).
        resamples: number of resamples.
        confidence: level of the intervals, between 0 and 1.
        seed: of the resampling.

    Returns:
        `{coefficient: {base | finetuned | delta: {low, high, percentile_low, percentile_high}}}`.
    """
    samples = tuple(np.asarray(values, dtype=np.float64) for values in (gold, base, finetuned))
    settings = {"paired": True, "vectorized": True, "axis": -1, "confidence_level": confidence}
    bca = stats.bootstrap(
        samples, _correlations, n_resamples=resamples, batch=250, method="BCa", rng=np.random.default_rng(seed), **settings
    )
    percentile = stats.bootstrap(
        samples, _correlations, n_resamples=0, method="percentile", bootstrap_result=bca, **settings
    ).confidence_interval
    result: dict[str, dict[str, dict[str, float]]] = {}
    for number, (coefficient, model) in enumerate((c, m) for c in COEFFICIENTS for m in MODELS):
        low, high = (float(bound[number]) for bound in bca.confidence_interval)
        percentile_low, percentile_high = (float(bound[number]) for bound in percentile)
        if not (math.isfinite(low) and math.isfinite(high)):  # BCa has no value where every resample agrees
            low, high = percentile_low, percentile_high
        result.setdefault(coefficient, {})[model] = {
            "low": low, "high": high, "percentile_low": percentile_low, "percentile_high": percentile_high,
        }
    return result


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
    result: dict[str, Any] = bootstrap(gold, base, finetuned, resamples, confidence, seed)
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
