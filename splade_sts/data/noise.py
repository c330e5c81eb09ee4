"""What correlation the gold scores allow, as far as pairs with several of them tell."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splade_sts import layout
from splade_sts.data.facts import Facts, repeated_scores
from splade_sts.data.pairs import MINIMUM_PAIRS

# Quantile of the normal distribution for intervals of 95 %.
Z = 1.96


@dataclass(frozen=True)
class Ceiling:
    """Pearson with the gold scores of one split that a perfect model would have: expected value,
    and at both ends of the interval of the deviation (none where that has none).
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Noise:
    """How far gold scores of the same pair are apart, and what that allows.

    Attributes:
        groups: pairs with several scores that this comes from.
        deviation: standard deviation of a score within its pair, in [0, 1]: the root of the squared
            deviations from the pairs' means over (scores - pairs).
        low, high: its interval at 95 %, with the pairs as the sample; None for fewer than
            `MINIMUM_PAIRS` pairs, or where all agree.
        ceilings: by held-out split.
    """

    groups: int
    deviation: float
    low: float | None
    high: float | None
    ceilings: dict[str, Ceiling]


@dataclass(frozen=True)
class LabelNoise:
    """The noise of gold scores by all pairs that stand in several rows of all splits together, and
    by those of them whose scores differ; None where there is no such pair.

    The first is too low where equal scores are copies of one judgement, the second too high since
    pairs that two judgements agree on are left out.
    """

    repeated: Noise | None
    disagreeing: Noise | None


def label_noise(splits: Mapping[str, Facts]) -> LabelNoise:
    """Compare the gold scores of the same pair (`Pairs.keys`) in any split.

    With noise of the variance s² in scores of the variance v, the correlation of the true scores
    with them is √(1 - s²/v), the root of the reliability (Spearman 1904, "The Proof and Measurement
    of Association between Two Things"; Lord & Novick 1968, "Statistical Theories of Mental Test
    Scores", chapter 3). This takes the noise to be the same for every pair, and independent.
    """
    repeated = repeated_scores(*splits.values())
    variances = {
        str(split): float(np.var(score, ddof=1))
        for split in layout.HELD_OUT
        if len(score := splits[split].score) > 1 and np.ptp(score) > 0
    }
    disagreeing = [found for found in repeated if np.ptp(found) > 0]
    return LabelNoise(_noise(repeated, variances), _noise(disagreeing, variances))


def _noise(groups: list[NDArray[np.float64]], variances: Mapping[str, float]) -> Noise | None:
    """The interval is that of a ratio of sums over groups (Cochran 1977, "Sampling Techniques",
    chapter 6), symmetric in the logarithm.
    """
    if not groups:
        return None
    # from the first score of each, so that equal scores give zero and no rounding
    apart = [found - found[0] for found in groups]
    squares = np.array([np.sum((values - values.mean()) ** 2) for values in apart])
    freedom = np.array([len(found) - 1 for found in groups])
    variance, count = float(squares.sum() / freedom.sum()), len(groups)
    low = high = None
    if count >= MINIMUM_PAIRS and variance > 0:
        residual = np.sum((squares - variance * freedom) ** 2) * count / (count - 1)
        factor = math.exp(Z * math.sqrt(residual) / freedom.sum() / variance)
        low, high = variance / factor, variance * factor
    return Noise(
        count,
        math.sqrt(variance),
        None if low is None else math.sqrt(low),
        None if high is None else math.sqrt(high),
        {
            split: Ceiling(
                _ceiling(variance, of_scores),
                None if high is None else _ceiling(high, of_scores),
                None if low is None else _ceiling(low, of_scores),
            )
            for split, of_scores in variances.items()
        },
    )


def _ceiling(noise: float, scores: float) -> float:
    return math.sqrt(max(0.0, 1 - noise / scores))
