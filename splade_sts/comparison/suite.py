"""The models on test and on further test sets: every set and their mean, as published tables have
them, and what is left of that without what train holds.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from splade_sts import layout
from splade_sts.comparison.clusters import Clusters, cluster_of
from splade_sts.comparison.evidence import (
    LEVELS,
    ClusteredSet,
    GenreResult,
    Level,
    LevelResult,
    Mean,
    MeanResult,
    SetResult,
    Suite,
)
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
)
from splade_sts.controls.scores import DENSE, ControlScores
from splade_sts.data.pairs import InParts, Pairs, unseen
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions
from splade_sts.layout import Coefficient

DIFFERENCES = {**GAIN, "over_dense": ("finetuned", DENSE)}
# The seven sets of most published tables (Gao, Yao & Chen 2021, "SimCSE"), in small letters and
# without marks; the last is the STS benchmark's test split, under any of its names.
USUAL = ("sts12", "sts13", "sts14", "sts15", "sts16", "sickr")
STS_BENCHMARK = ("stsb", "stsbenchmark")
STS_BENCHMARK_TEST = 1379  # its pairs


@dataclass(frozen=True, eq=False)
class SetScores:
    """The pairs of a set and, by the name of a model or control, its score for each of them: float
    (pairs,). `base` and `finetuned` are among them.
    """

    pairs: Pairs
    scores: Scores

    def select(self, chosen: NDArray[np.bool_]) -> "SetScores":
        """The pairs for which `chosen`, bool (pairs,), is true."""
        scores = {name: one[chosen] for name, one in self.scores.items()}
        return SetScores(self.pairs.select(chosen), scores)

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
    other sets: its pairs, and beside that its clusters of pairs that share sentences. A mean is
    taken within each resample.

    Args:
        sets: by name; the scores have the same names in each.
        train: the pairs that training saw.
        words: see `Suite`.
        bootstrap: how intervals are made.
    """
    masks = {name: kept(found.pairs, train) for name, found in sets.items()}
    drawn: dict[Level, dict[str, Drawn]] = {level: {} for level in LEVELS}
    for name, found in sets.items():
        own = replace(bootstrap, seed=bootstrap.seed + (zlib.crc32(name.encode()) << 32))
        for level in LEVELS:
            chosen = masks[name][level]
            same = [other for other in drawn if name in drawn[other]]
            same = [other for other in same if np.array_equal(masks[name][other], chosen)]
            if same:
                drawn[level][name] = drawn[same[0]][name]
            elif level == "all" or chosen.sum() >= MINIMUM_SLICE:
                drawn[level][name] = Drawn.of(found.select(chosen), own)
    found_of = {
        level: {
            name: set_result(int(masks[name][level].sum()), drawn[level].get(name), bootstrap)
            for name in sets
        }
        for level in LEVELS
    }
    over = means(
        {name: len(one.pairs) for name, one in sets.items()},
        [
            name
            for name in sets
            if all({*layout.MODELS} <= {*found_of[level][name].found} for level in LEVELS)
        ],
    )
    levels = {
        level: LevelResult(
            sets=found_of[level],
            means={
                which: mean_of(names, [drawn[level].get(name) for name in names], bootstrap)
                for which, names in over.items()
            },
        )
        for level in LEVELS
    }
    return Suite(
        words=words,
        levels=levels,
        left_out={
            level: {name: np.flatnonzero(~masks[name][level]).tolist() for name in sets}
            for level in LEVELS
        },
        genres={name: by_genre(found) for name, found in sets.items() if found.pairs.genre},
    )


def means(sizes: Mapping[str, int], enough: Sequence[str]) -> dict[Mean, tuple[str, ...]]:
    """Which sets each mean is over.

    Args:
        sizes: the pairs of each set, by name.
        enough: the sets that have numbers at every level.
    """
    found: dict[Mean, tuple[str, ...]] = {"all": tuple(sizes)}
    if usual := usual_sets(sizes):
        found["usual"] = usual
    if len(enough) > 1:
        found["enough"] = tuple(enough)
    first: dict[tuple[str, ...], Mean] = {}
    for which, names in found.items():
        first.setdefault(names, which)
    return {which: names for names, which in first.items()}


def usual_sets(sizes: Mapping[str, int]) -> tuple[str, ...]:
    """The seven sets of most published tables, in the order of `sizes`; empty where one is missing.

    They are known by their names (`STS12`, `SICK-R`), in any case and with any marks. The STS
    benchmark is a set of that name (`STSb`, `STSBenchmark`), or else test, where that has as many
    pairs.
    """
    by_plain_name = {re.sub(r"[\W_]", "", name.lower()): name for name in sizes}
    benchmark = [by_plain_name[name] for name in STS_BENCHMARK if name in by_plain_name]
    if not benchmark and sizes.get("test") == STS_BENCHMARK_TEST:
        benchmark = ["test"]
    usual = {*(by_plain_name.get(name) for name in USUAL), *benchmark[:1]}
    if len(usual) < len(USUAL) + 1 or None in usual:
        return ()
    return tuple(name for name in sizes if name in usual)


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
        moved: how much each unit that is drawn, a pair or a cluster, moves them: (rows, units).
    """

    names: list[tuple[Coefficient, str]]
    values: Array
    drawn: Array
    moved: Array

    @classmethod
    def of(
        cls,
        gold: Array,
        scores: Scores,
        bootstrap: Bootstrap,
        cluster: NDArray[np.int64] | None = None,
    ) -> "Resampled":
        """Resample pairs, each with its gold and all other scores: float (pairs,), finite; or whole
        clusters of them (`splade_sts.comparison.statistics.estimates`). Scores that hold a single
        value have no rows.
        """
        varied = {name: one for name, one in scores.items() if correlation(gold, one) is not None}
        differences = {name: pair for name, pair in DIFFERENCES.items() if set(pair) <= set(varied)}
        if not varied:
            return cls([], *(np.empty((0,) * depth) for depth in (1, 2, 2)))
        statistic = ResampledCorrelations(gold, varied, differences)
        return cls(
            statistic.names,
            statistic.of_counts(np.ones((1, len(gold))))[:, 0],
            statistic.resampled(bootstrap, cluster),
            statistic.influences(cluster),
        )


@dataclass(frozen=True, eq=False)
class Drawn:
    """Some pairs of a set, resampled in both ways.

    Attributes:
        pairs: pairs drawn.
        clusters: how the pairs hang together.
        clustered: clusters drawn; None where there is only one.
    """

    pairs: Resampled
    clusters: Clusters
    clustered: Resampled | None

    @classmethod
    def of(cls, found: SetScores, bootstrap: Bootstrap) -> "Drawn":
        """Resample all pairs of `found`."""
        gold, cluster = found.pairs.score, cluster_of(found.pairs)
        pairs, clusters = Resampled.of(gold, found.scores, bootstrap), Clusters.of(cluster)
        if clusters.number == 1:
            return cls(pairs, clusters, None)
        if clusters.largest == 1:  # clusters are pairs
            return cls(pairs, clusters, pairs)
        return cls(pairs, clusters, Resampled.of(gold, found.scores, bootstrap, cluster))


def set_result(pairs: int, drawn: Drawn | None, bootstrap: Bootstrap) -> SetResult:
    """Of a set of which `pairs` count; nothing is found where they were not drawn."""
    if drawn is None:
        return SetResult(pairs, {})
    return SetResult(
        pairs,
        correlations([drawn.pairs], bootstrap),
        ClusteredSet(drawn.clusters, correlations([drawn.clustered], bootstrap)),
    )


def mean_of(
    names: tuple[str, ...], drawn: Sequence[Drawn | None], bootstrap: Bootstrap
) -> MeanResult:
    """The mean of the sets `names`; nothing is found where some were not drawn (None)."""
    return MeanResult(
        names,
        correlations([None if one is None else one.pairs for one in drawn], bootstrap),
        correlations([None if one is None else one.clustered for one in drawn], bootstrap),
    )


def correlations(
    samples: Sequence[Resampled | None], bootstrap: Bootstrap
) -> dict[str, Correlations]:
    """Means over samples of what all of them have, with intervals; without what has no interval.
    Nothing where a sample is not there (None).
    """
    there = [one for one in samples if one is not None]
    if len(there) < len(samples):
        return {}
    rows = [name for name in there[0].names if all(name in one.names for one in there)]
    if not rows:
        return {}
    own = [(one, [one.names.index(row) for row in rows]) for one in there]
    values = np.mean([one.values[places] for one, places in own], axis=0)
    drawn = np.mean([one.drawn[places] for one, places in own], axis=0)
    moved = [one.moved[places] / len(samples) for one, places in own]
    found = bca(values.tolist(), values, drawn, moved, bootstrap)
    return by_name(dict(zip(rows, found, strict=True)))
