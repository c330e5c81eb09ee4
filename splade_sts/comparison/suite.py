"""The models on test and on further test sets: every set and their mean, as published tables have
them, and what is left of that without what train holds.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from splade_sts import layout
from splade_sts.comparison.evidence import LEVELS, GenreResult, Level, LevelResult, SetResult, Suite
from splade_sts.comparison.slices import MINIMUM_SLICE
from splade_sts.comparison.statistics import (
    GAIN,
    Array,
    Bootstrap,
    Correlations,
    ResampledCorrelations,
    Scores,
    bca,
    by_name,
    correlation,
    influences,
    resampled,
)
from splade_sts.controls.scores import DENSE, ControlScores
from splade_sts.data.pairs import InParts, Pairs, unseen
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
    sets: Mapping[str, SetScores], train: InParts, words: str | None, bootstrap: Bootstrap
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
                    replace(bootstrap, seed=bootstrap.seed + (zlib.crc32(name.encode()) << 32)),
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


def kept(pairs: Pairs, train: InParts) -> dict[Level, NDArray[np.bool_]]:
    """Which pairs count at each level: bool (pairs,)."""
    return {
        "all": np.full(len(pairs), True),
        "without_pairs": ~pairs.same_as_one_of(train),
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
    def of(cls, gold: Array, scores: Scores, bootstrap: Bootstrap) -> "Resampled":
        """Resample pairs, each with its gold and all other scores: float (pairs,), finite. Scores
        that hold a single value have no rows.
        """
        varied = {name: one for name, one in scores.items() if correlation(gold, one) is not None}
        differences = {name: pair for name, pair in GAIN.items() if set(pair) <= set(varied)}
        if not varied:
            return cls([], *(np.empty((0,) * depth) for depth in (1, 2, 2)))
        statistic = ResampledCorrelations(gold, varied, differences)
        return cls(
            statistic.names,
            statistic.of_counts(np.ones((1, len(gold))))[:, 0],
            resampled([len(gold)], bootstrap, statistic.of_counts),
            statistic.without_each(),
        )


def correlations(samples: Sequence[Resampled], bootstrap: Bootstrap) -> dict[str, Correlations]:
    """Means over samples of what all of them have, with intervals; without what has no interval."""
    rows = [name for name in samples[0].names if all(name in one.names for one in samples)]
    if not rows:
        return {}
    own = [(one, [one.names.index(row) for row in rows]) for one in samples]
    values = np.mean([one.values[places] for one, places in own], axis=0)
    drawn = np.mean([one.drawn[places] for one, places in own], axis=0)
    moved = [influences(one.without[places]) / len(samples) for one, places in own]
    found = bca(values.tolist(), values, drawn, moved, bootstrap)
    return by_name(dict(zip(rows, found, strict=True)))
