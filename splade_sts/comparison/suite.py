"""The models on test and on further test sets: every set and their mean, as published tables have
them, and what is left of that without what train holds.
"""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from splade_sts import layout
from splade_sts.comparison.evidence import LEVELS, GenreResult, Level, LevelResult, SetResult, Suite
from splade_sts.comparison.slices import MINIMUM_SLICE
from splade_sts.comparison.statistics import (
    BATCH,
    GAIN,
    Array,
    Bootstrap,
    Correlations,
    Estimate,
    ResampledCorrelations,
    Scores,
    correlation,
    counted,
    monte_carlo_error,
)
from splade_sts.controls.scores import DENSE, ControlScores
from splade_sts.data.pairs import Pairs, unseen
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions
from splade_sts.layout import Coefficient


@dataclass(frozen=True, eq=False)
class SetScores:
    """The pairs of a set and, by the name of a model or control, its score for each of them: float
    (pairs,). `base` and `finetuned` are among them.
    """

    pairs: Pairs
    scores: Scores

    @classmethod
    def read(cls, name: str, words: str | None) -> "SetScores":
        """What the stages before wrote of a held-out split or test set: both models, the control
        `words` and the dense encoder, where there are such.

        Raises:
            UserError: they are of different pairs.
        """
        pairs = Pairs.read(layout.normalized(name))
        base, finetuned = (
            Predictions.read(layout.prediction(model, name)) for model in layout.MODELS
        )
        controls = ControlScores.read(layout.control(name))
        if not all(table.same_as(pairs) for table in (base.pairs, finetuned.pairs, controls.pairs)):
            raise UserError(
                f"{name}: predictions or controls are of other pairs than "
                f"{layout.normalized(name)}; run dvc repro, which scores the same data with all"
            )
        shown = {key: one for key, one in controls.scores.items() if key in (words, DENSE)}
        return cls(pairs, {"base": base.cosine, "finetuned": finetuned.cosine, **shown})


def make_suite(
    sets: Mapping[str, SetScores], train: Pairs, words: str | None, bootstrap: Bootstrap
) -> Suite:
    """Measure all models on all sets.

    A set is resampled by itself, with the same resamples for all models and independently of the
    other sets. The mean is taken within each resample.

    Args:
        sets: by name; the scores have the same names in each.
        train: the pairs that training saw.
        words: see `Suite`.
        bootstrap: how intervals are made.
    """
    masks = {name: kept(found.pairs, train) for name, found in sets.items()}
    resampled: dict[Level, dict[str, Resampled]] = {level: {} for level in LEVELS}
    for name, found in sets.items():
        for level in LEVELS:
            chosen = masks[name][level]
            same = [other for other in resampled if name in resampled[other]]
            same = [other for other in same if np.array_equal(masks[name][other], chosen)]
            if same:
                resampled[level][name] = resampled[same[0]][name]
            elif level == "all" or chosen.sum() >= MINIMUM_SLICE:
                resampled[level][name] = Resampled.of(
                    found.pairs.score[chosen],
                    {key: scores[chosen] for key, scores in found.scores.items()},
                    bootstrap,
                    seed=(bootstrap.seed, zlib.crc32(name.encode())),
                )
    levels = {}
    for level in LEVELS:
        drawn = resampled[level]
        levels[level] = LevelResult(
            sets={
                name: SetResult(
                    int(masks[name][level].sum()),
                    correlations([drawn[name]], bootstrap) if name in drawn else {},
                )
                for name in sets
            },
            mean=correlations(list(drawn.values()), bootstrap) if len(drawn) == len(sets) else {},
        )
    return Suite(
        words=words,
        levels=levels,
        left_out={
            level: {name: np.flatnonzero(~masks[name][level]).tolist() for name in sets}
            for level in LEVELS
        },
        genres={name: by_genre(found) for name, found in sets.items() if found.pairs.genre},
    )


def kept(pairs: Pairs, train: Pairs) -> dict[Level, NDArray[np.bool_]]:
    """Which pairs count at each level: bool (pairs,)."""
    known = set(train.keys)
    return {
        "all": np.full(len(pairs), True),
        "without_pairs": np.array([key not in known for key in pairs.keys], dtype=bool),
        "without_sentences": unseen(pairs, train),
    }


def by_genre(found: SetScores) -> dict[str, GenreResult]:
    """Correlations within each genre; without those of what does not vary there."""
    genres = np.array(found.pairs.genre)
    results = {}
    for name in sorted(set(found.pairs.genre or ())):
        chosen = genres == name
        gold = found.pairs.score[chosen]
        by_model = {key: correlation(gold, scores[chosen]) for key, scores in found.scores.items()}
        both = {key: value for key, value in by_model.items() if value is not None}
        results[name] = GenreResult(int(chosen.sum()), both)
    return results


@dataclass(frozen=True, eq=False)
class Resampled:
    """Correlations of one sample of pairs, and of what the bootstrap and the jackknife make of it.

    Attributes:
        names: coefficient and name of each row.
        values: of the pairs themselves, (rows,).
        drawn: of resamples with replacement, (rows, resamples).
        without: of all pairs but one, for each pair: (rows, pairs).
    """

    names: list[tuple[Coefficient, str]]
    values: Array
    drawn: Array
    without: Array

    @classmethod
    def of(
        cls, gold: Array, scores: Scores, bootstrap: Bootstrap, seed: Sequence[int]
    ) -> "Resampled":
        """Resample pairs, each with its gold and all other scores: float (pairs,), finite. Scores
        that hold a single value have no rows.
        """
        varied = {name: one for name, one in scores.items() if correlation(gold, one) is not None}
        differences = {name: pair for name, pair in GAIN.items() if set(pair) <= set(varied)}
        if not varied:
            return cls([], *(np.empty((0,) * depth) for depth in (1, 2, 2)))
        statistic = ResampledCorrelations(gold, varied, differences)
        generator, pairs = np.random.default_rng(seed), len(gold)
        drawn = [
            statistic.of_counts(counted(generator.integers(pairs, size=(count, pairs)), pairs))
            for _, count in _batches(bootstrap.resamples)
        ]
        without = []
        for start, count in _batches(pairs):
            counts = np.ones((count, pairs))
            counts[np.arange(count), start + np.arange(count)] = 0
            without.append(statistic.of_counts(counts))
        return cls(
            statistic.names,
            statistic.of_counts(np.ones((1, pairs)))[:, 0],
            np.concatenate(drawn, axis=1),
            np.concatenate(without, axis=1),
        )


def _batches(total: int) -> Iterator[tuple[int, int]]:
    """Start and size of each batch."""
    for start in range(0, total, BATCH):
        yield start, min(BATCH, total - start)


def correlations(samples: Sequence[Resampled], bootstrap: Bootstrap) -> dict[str, Correlations]:
    """Means over samples of what all of them have, with intervals; without what has no interval.

    BCa (Efron 1987, "Better Bootstrap Confidence Intervals") for several samples, as
    `scipy.stats.bootstrap` does it, which would compute every sample again for each pair that the
    jackknife leaves out of another one.
    """
    rows = [name for name in samples[0].names if all(name in one.names for one in samples)]
    found: dict[tuple[Coefficient, str], Estimate] = {}
    for row in rows:
        places = [one.names.index(row) for one in samples]
        own = list(zip(samples, places, strict=True))
        value = float(np.mean([one.values[place] for one, place in own]))
        drawn = np.mean([one.drawn[place] for one, place in own], axis=0)
        without = [one.without[place] / len(samples) for one, place in own]
        with np.errstate(invalid="ignore"):  # no correlation in some resample: no interval either
            found[row] = estimate(value, drawn, without, bootstrap)
    made = {
        name: Correlations(pearson=found["pearson", name], spearman=found["spearman", name])
        for name in dict.fromkeys(name for _, name in rows)
    }
    return {name: both for name, both in made.items() if both.is_finite}


def estimate(
    value: float, drawn: Array, without: Sequence[Array], bootstrap: Bootstrap
) -> Estimate:
    """A value with its BCa and percentile intervals.

    Args:
        value: of the samples themselves.
        drawn: of resamples, (resamples,).
        without: for each sample what its pairs, one left out each time, contribute to the value:
            (pairs,).
        bootstrap: the settings.
    """
    tail = (1 - bootstrap.confidence) / 2
    ends = np.array([tail, 1 - tail])
    percentile = _quantiles(drawn, ends)
    error = monte_carlo_error(float(np.std(drawn, ddof=1)), bootstrap)
    below = (np.mean(drawn < value) + np.mean(drawn <= value)) / 2
    influence = [(len(one) - 1) * (one.mean() - one) for one in without]
    cubes = sum(float((one**3).sum()) / len(one) ** 3 for one in influence)
    squares = sum(float((one**2).sum()) / len(one) ** 2 for one in influence)
    if not 0 < below < 1 or not squares > 0 or not math.isfinite(squares):
        return Estimate(value, *percentile, *percentile, method="percentile", error=error)
    bias, acceleration = stats.norm.ppf(below), cubes / (6 * squares**1.5)
    normal = bias + stats.norm.ppf(ends)
    bca = _quantiles(drawn, stats.norm.cdf(bias + normal / (1 - acceleration * normal)))
    return Estimate(value, *bca, *percentile, method="bca", error=error)


def _quantiles(drawn: Array, ends: Array) -> tuple[float, float]:
    low, high = np.quantile(drawn, ends)
    return float(low), float(high)
