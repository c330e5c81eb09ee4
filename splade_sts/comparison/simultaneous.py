"""Gains within parts of a split, with intervals that hold for all parts together."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splade_sts import layout
from splade_sts.comparison.statistics import (
    GAIN,
    Array,
    Bootstrap,
    ResampledCorrelations,
    Sample,
    resampled,
)
from splade_sts.layout import Coefficient


@dataclass(frozen=True)
class PartGain:
    """One coefficient within a part of a split.

    Attributes:
        base, finetuned: before and after.
        gain: fine-tuned minus base.
        low, high: its interval; those of all parts hold together at the level of the comparison.
        error: standard error of `low` and `high` that other resamples would show: digits below it
            mean nothing.
    """

    base: float
    finetuned: float
    gain: float
    low: float
    high: float
    error: float


def simultaneous_gains(
    whole: Sample, parts: list[NDArray[np.bool_]], bootstrap: Bootstrap
) -> list[dict[Coefficient, PartGain] | None]:
    """The gain in each part, with intervals that are one family for each coefficient.

    All pairs are resampled together, so that what the parts have in common counts. The interval of
    a part is its gain ± c times the standard deviation of its resampled gains. c is the quantile,
    at the wanted confidence, of the largest |resampled gain - gain| / standard deviation among the
    parts (sup-t band: Montiel Olea & Plagborg-Møller 2019, "Simultaneous Confidence Bands: Theory,
    Implementation, and an Application to SVARs").

    Args:
        whole: all pairs of the split.
        parts: which pairs are in each part, bool (pairs,); none is empty.
        bootstrap: the settings.

    Returns:
        For each part its gains; None where scores do not vary in it, or not in some resample.
    """
    statistics = [
        ResampledCorrelations(part.gold, part.predictions, GAIN)
        for part in (whole.select(chosen) for chosen in parts)
    ]
    drawn = _resampled(statistics, parts, len(whole), bootstrap)
    points = [
        found.of_counts(np.ones((1, int(chosen.sum()))))[:, 0]
        for found, chosen in zip(statistics, parts, strict=True)
    ]
    kept = [
        number
        for number, point in enumerate(points)
        if np.isfinite(point).all() and np.isfinite(drawn[number]).all()
    ]
    gains: list[dict[Coefficient, PartGain]] = [{} for _ in parts]
    for key in layout.COEFFICIENTS if kept else ():
        base, finetuned, gain = (
            statistics[0].names.index((key, name)) for name in ("base", "finetuned", "gain")
        )
        middle = np.array([points[number][gain] for number in kept])
        halves, errors = _half_widths(
            np.stack([drawn[number][gain] for number in kept]) - middle[:, None], bootstrap
        )
        for number, half, error in zip(kept, halves, errors, strict=True):
            point = points[number]
            gains[number][key] = PartGain(
                base=float(point[base]),
                finetuned=float(point[finetuned]),
                gain=float(point[gain]),
                low=float(point[gain] - half),
                high=float(point[gain] + half),
                error=float(error),
            )
    return [found or None for found in gains]


def _resampled(
    statistics: list[ResampledCorrelations],
    parts: list[NDArray[np.bool_]],
    pairs: int,
    bootstrap: Bootstrap,
) -> list[Array]:
    """The rows of each statistic for its part in the same resamples of all pairs."""
    places = [np.flatnonzero(chosen) for chosen in parts]

    def rows(counts: Array) -> Array:
        own = (counts.take(place, axis=1) for place in places)
        return np.concatenate([*map(ResampledCorrelations.of_counts, statistics, own)])

    if not parts:
        return []
    return np.split(resampled([pairs], bootstrap, rows), len(parts))


def _half_widths(deviations: Array, bootstrap: Bootstrap) -> tuple[Array, Array]:
    """Half the width of each part's interval, and the Monte-Carlo error of that.

    The error has two sources: that of a standard deviation, σ / √(2 resamples), and that of the
    quantile c, half the distance between the quantiles one binomial standard error to both sides.

    Args:
        deviations: resampled gains minus the gain, (parts, resamples).
        bootstrap: the settings.
    """
    spread = deviations.std(axis=1, ddof=1)
    scale = np.where(spread > 0, spread, 1)[:, None]  # no deviation at all: 0 of anything
    largest = np.max(np.abs(deviations) / scale, axis=0)
    level, count = bootstrap.confidence, bootstrap.resamples
    step = math.sqrt(level * (1 - level) / count)
    low, critical, high = np.quantile(largest, [level - step, level, min(level + step, 1)])
    error = math.hypot((high - low) / 2, critical / math.sqrt(2 * count))
    return critical * spread, error * spread
