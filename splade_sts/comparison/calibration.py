"""Is the cosine itself the gold score, and not only in the same order? Errors, biases, scales."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from splade_sts.comparison.slices import gold_bands
from splade_sts.comparison.statistics import Array, Bootstrap, Estimate, bca, dot, resampled
from splade_sts.data.pairs import MINIMUM_PAIRS

Key = TypeVar("Key", bound=Hashable)

BINS = 10  # of a reliability curve, at most; each of at least MINIMUM_PAIRS pairs


@dataclass(frozen=True)
class Bin:
    """Pairs of neighbouring cosines: how many, and the means of their cosines and gold scores.

    `low` and `high` are Student's interval of the mean gold score.
    """

    pairs: int
    cosine: float
    gold: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelCalibration:
    """How near the cosines of one model are to the gold scores.

    Attributes:
        name: `base`, `finetuned` or `dense`.
        squared_error: mean of (cosine - gold)².
        finetuned_minus: that of the fine-tuned model minus this one's, on the same resamples; None
            for the fine-tuned model.
        bias: mean of cosine - gold.
        reliability: the pairs in order of their cosine, cut into bins of equal size.
    """

    name: str
    squared_error: Estimate
    finetuned_minus: Estimate | None
    bias: Estimate
    reliability: tuple[Bin, ...]


@dataclass(frozen=True)
class BandBias:
    """Mean of cosine - gold among the pairs of one band of gold scores, by model; empty where these
    are fewer than `MINIMUM_PAIRS`. The pairs of the band are resampled alone.
    """

    band: str
    pairs: int
    bias: dict[str, Estimate]


@dataclass(frozen=True)
class Calibration:
    """All of it for one split."""

    models: tuple[ModelCalibration, ...]
    bands: tuple[BandBias, ...]


@dataclass(frozen=True)
class Recalibration:
    """Mean squared errors of one model on test: of its cosines, and of what a straight line and a
    monotone curve make of them that are fitted on validation.

    `finetuned_minus` is that of the fine-tuned model minus this one's, both with their straight
    lines; None for the fine-tuned model.
    """

    name: str
    plain: Estimate
    linear: Estimate
    isotonic: Estimate
    finetuned_minus: Estimate | None


def calibration(gold: Array, cosines: Mapping[str, Array], bootstrap: Bootstrap) -> Calibration:
    """Errors and biases of each model, with paired bootstrap intervals.

    Args:
        gold: float (pairs,) in [0, 1].
        cosines: by model, `finetuned` among them, float (pairs,).
        bootstrap: the settings.
    """
    errors = {name: cosine - gold for name, cosine in cosines.items()}
    squared = {name: error**2 for name, error in errors.items()}
    apart = {name: squared["finetuned"] - values for name, values in squared.items()}
    found = mean_estimates(
        {
            (kind, name): values
            for kind, columns in (("square", squared), ("apart", apart), ("bias", errors))
            for name, values in columns.items()
        },
        bootstrap,
    )
    models = tuple(
        ModelCalibration(
            name,
            found["square", name],
            None if name == "finetuned" else found["apart", name],
            found["bias", name],
            reliability(gold, cosine, bootstrap.confidence),
        )
        for name, cosine in cosines.items()
    )
    bands = []
    for band in gold_bands(gold):
        pairs = int(band.chosen.sum())
        within = {name: error[band.chosen] for name, error in errors.items()}
        biases = mean_estimates(within, bootstrap) if pairs >= MINIMUM_PAIRS else {}
        bands.append(BandBias(band.name, pairs, biases))
    return Calibration(models, tuple(bands))


def mean_estimates(values: Mapping[Key, Array], bootstrap: Bootstrap) -> dict[Key, Estimate]:
    """Means with paired bootstrap intervals (`statistics.bca`): by key, of float (pairs,) each.

    A pair moves a mean by its value less that mean, which is what the jackknife gives.
    """
    columns = np.stack(list(values.values()))
    pairs = columns.shape[1]
    drawn = resampled(
        [pairs],
        bootstrap,
        lambda counts: np.stack([dot(counts, column) / pairs for column in columns]),
    )
    own = np.stack([dot(np.ones((1, pairs)), column)[0] / pairs for column in columns])
    moved = columns - columns.mean(axis=1, keepdims=True)
    found = bca(columns.mean(axis=1).tolist(), own, drawn, [moved], bootstrap)
    return dict(zip(values, found, strict=True))


def reliability(gold: Array, cosine: Array, confidence: float) -> tuple[Bin, ...]:
    """The curve that lies on the diagonal where the mean gold score of pairs of the same cosine is
    that cosine (scikit-learn, "Probability calibration", calibration curves, strategy `quantile`).

    Equal cosines are in one bin; bins may so be larger, and fewer.

    Args:
        gold, cosine: float (pairs,).
        confidence: level of the intervals, between 0 and 1.
    """
    order = np.argsort(cosine, kind="stable")
    gold, cosine, pairs = gold[order], cosine[order], len(gold)
    size = pairs // max(1, min(BINS, pairs // MINIMUM_PAIRS))
    made, start = [], 0
    while start < pairs:
        end = int(np.searchsorted(cosine, cosine[start + size - 1], side="right"))
        end = pairs if pairs - end < size else end
        within = gold[start:end]
        mean = float(within.mean())
        half = float(stats.t.ppf((1 + confidence) / 2, len(within) - 1) * stats.sem(within))
        own = float(cosine[start:end].mean())
        made.append(Bin(len(within), own, mean, mean - half, mean + half))
        start = end
    return tuple(made)


def recalibration(
    validation: tuple[Array, Mapping[str, Array]],
    test: tuple[Array, Mapping[str, Array]],
    bootstrap: Bootstrap,
) -> tuple[Recalibration, ...]:
    """How much of each model's error on test is a matter of scale: what is left once its cosines
    are mapped to gold scores, by a map that was fitted on validation.

    Args:
        validation, test: gold scores and, by model, cosines, float (pairs,) each.
        bootstrap: the settings.
    """
    (fit_gold, fit_cosines), (gold, cosines) = validation, test

    def squares(name: str) -> dict[str, Array]:
        cosine, seen = cosines[name], fit_cosines[name]
        mapped = {
            "plain": cosine,
            "linear": linear(seen, fit_gold)(cosine),
            "isotonic": isotonic(seen, fit_gold)(cosine),
        }
        return {kind: (values - gold) ** 2 for kind, values in mapped.items()}

    columns = {(kind, name): one for name in cosines for kind, one in squares(name).items()}
    columns |= {
        ("apart", name): columns["linear", "finetuned"] - columns["linear", name]
        for name in cosines
    }
    found = mean_estimates(columns, bootstrap)
    return tuple(
        Recalibration(
            name,
            **{kind: found[kind, name] for kind in ("plain", "linear", "isotonic")},
            finetuned_minus=None if name == "finetuned" else found["apart", name],
        )
        for name in cosines
    )


def linear(cosine: Array, gold: Array) -> Callable[[Array], Array]:
    """The straight line of least squares."""
    line = stats.linregress(cosine, gold)
    slope, intercept = float(line.slope), float(line.intercept)
    return lambda values: intercept + slope * values


def isotonic(cosine: Array, gold: Array) -> Callable[[Array], Array]:
    """The curve of least squares that never falls; straight between the cosines that it was fitted
    on, and level beyond them (Zadrozny & Elkan 2002, "Transforming Classifier Scores into Accurate
    Multiclass Probability Estimates").
    """
    at, place, counts = np.unique(cosine, return_inverse=True, return_counts=True)
    means: NDArray[np.float64] = np.bincount(place, gold) / counts
    curve = optimize.isotonic_regression(means, weights=counts).x
    return lambda values: np.interp(values, at, curve)
