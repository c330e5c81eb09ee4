"""Two settings over the same seeds: what one gains over the other, and whether that matters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from splade_sts.comparison.crossed import OverBoth, over_seeds
from splade_sts.comparison.margin import Verdict, verdict
from splade_sts.comparison.statistics import Array, Bootstrap
from splade_sts.errors import UserError
from splade_sts.runs.record import Record
from splade_sts.runs.scores import SplitScores, Without, check_same_pairs
from splade_sts.runs.seeds import (
    SEED,
    CountedPairs,
    Measured,
    both_ways,
    check_only_seeds_differ,
    differences,
    measured,
    seeds_of,
)

# What runs are compared with beside other runs: the base model and the dense encoder that they
# have in common.
Model = Literal["base", "dense"]
MODELS: tuple[Model, ...] = ("base", "dense")


@dataclass(frozen=True)
class Difference:
    """One metric on one split, the first setting minus the second.

    Attributes:
        first, second: means over the seeds.
        value: the mean difference.
        low, high: its interval: that of `both`, where that is there, else Student's over the seeds
            alone.
        both: the difference over seeds and pairs; None for metrics that are no correlation.
        clustered: over seeds and clusters of pairs that share sentences; None where `both` is,
            where no pairs share any, and where all pairs are one cluster.
        verdict: of Spearman by `both`, where there is a margin, see `verdict`.
        clustered_verdict: the same by `clustered`.
    """

    first: float
    second: float
    value: float
    low: float
    high: float
    both: OverBoth | None
    clustered: OverBoth | None
    verdict: Verdict | None
    clustered_verdict: Verdict | None


@dataclass(frozen=True)
class Settings:
    """Two settings, compared.

    Attributes:
        first: the seed of each run, by name.
        second: the same with the same seeds in the same order; or the model that takes its place.
        differs: what they differ in, with both values, see `differences`.
        confidence: level of the intervals.
        margin: the largest loss in Spearman that does not matter; None: nothing is said of it.
        metrics: by split and name (`test.spearman`).
        pairs: by split.
        without: what of train the pairs are without, of both settings; None: all count.
    """

    first: dict[str, int]
    second: dict[str, int] | Model
    differs: dict[str, tuple[Any, Any]]
    confidence: float
    margin: float | None
    metrics: dict[str, Difference]
    pairs: dict[str, CountedPairs]
    without: Without | None


def paired(first: Mapping[str, Record], second: Mapping[str, Record]) -> dict[str, Record]:
    """The runs of the second setting in the order of those of the first with the same seeds.

    Raises:
        UserError: the runs of one setting differ in more than their seed, a run is in both
            settings, or the settings have other seeds: then they would have to be compared
            unpaired, and a shared part of the seeds would make that wrong.
    """
    if twice := [name for name in first if name in second]:
        raise UserError(f"in both settings: {', '.join(twice)}")
    for runs in (first, second):
        check_only_seeds_differ(runs)
    one, other = seeds_of(first), seeds_of(second)
    by_seed = {seed: name for name, seed in other.items()}
    alone = [
        f"{name} (seed {seed})"
        for mine, theirs in ((one, other), (other, one))
        for name, seed in mine.items()
        if seed not in theirs.values()
    ]
    if alone:
        raise UserError(
            "the two settings are compared seed by seed, but no run of the other setting has the "
            f"seed of: {', '.join(alone)}; leave these out, or run the others with these seeds "
            f"(dvc exp run -S {SEED}=…)"
        )
    return {by_seed[seed]: second[by_seed[seed]] for seed in one.values()}


def compare_settings(
    first: Mapping[str, Record],
    second: Mapping[str, Record],
    scores: Mapping[str, tuple[SplitScores, SplitScores]],
    bootstrap: Bootstrap,
    margin: float | None,
    without: Without | None = None,
) -> Settings:
    """Compare two settings, seed by seed.

    Args:
        first: records by name.
        second: those of the other setting in the order of the same seeds, see `paired`.
        scores: of both, for the splits to show.
        bootstrap: how the intervals are made.
        margin: the largest loss in Spearman that does not matter.
        without: what of train was left out of the scores.

    Raises:
        UserError: the settings were evaluated on other pairs.
    """
    for split, (mine, theirs) in scores.items():
        check_same_pairs(split, {next(iter(first)): mine.pairs, next(iter(second)): theirs.pairs})
    metrics: dict[str, Difference] = {}
    pairs: dict[str, CountedPairs] = {}
    for split, (mine, theirs) in scores.items():
        *ways, pairs[split] = both_ways(mine, bootstrap, theirs.finetuned)
        other = measured(second, split, theirs)
        for metric, found in measured(first, split, mine).items():
            if metric in other:
                values = np.array([*other[metric].values.values()])
                metrics[f"{split}.{metric}"] = _difference(
                    metric, found, values, ways, bootstrap, margin
                )
    one, two = next(iter(first.values())), next(iter(second.values()))
    return Settings(
        seeds_of(first),
        seeds_of(second),
        differences(one, two),
        bootstrap.confidence,
        margin,
        metrics,
        pairs,
        without,
    )


def compare_with_model(
    runs: Mapping[str, Record],
    model: Model,
    scores: Mapping[str, SplitScores],
    bootstrap: Bootstrap,
    margin: float | None,
    without: Without | None = None,
) -> Settings:
    """Compare runs that differ in their seed with a model that they have in common.

    Args:
        runs: records by name.
        model: which one. The dense encoder has no costs.
        scores: of the runs, for the splits to show.
        bootstrap: how the intervals are made.
        margin: the largest loss in Spearman that does not matter.
        without: what of train was left out of the scores.

    Raises:
        UserError: the runs differ in more than their seed, or have no dense encoder.
    """
    check_only_seeds_differ(runs)
    metrics: dict[str, Difference] = {}
    pairs: dict[str, CountedPairs] = {}
    for split, found in scores.items():
        against = found.base if model == "base" else found.dense
        if against is None:
            raise UserError(
                f"{', '.join(runs)} were not compared with a dense encoder; controls.dense_model "
                "in params.yaml names one"
            )
        *ways, pairs[split] = both_ways(found, bootstrap, against[None])
        for metric, one in measured(runs, split, found).items():
            value = one.base if model == "base" else one.dense
            if value is not None:
                metrics[f"{split}.{metric}"] = _difference(
                    metric, one, np.array([value]), ways, bootstrap, margin
                )
    return Settings(
        seeds_of(runs), model, {}, bootstrap.confidence, margin, metrics, pairs, without
    )


def _difference(
    metric: str,
    first: Measured,
    second: Array,
    ways: Sequence[Mapping[str, OverBoth]],
    bootstrap: Bootstrap,
    margin: float | None,
) -> Difference:
    """Of a metric: `second` is (seeds,) in the order of the first setting's, or (1,); `ways` are
    pairs drawn and clusters drawn.
    """
    mine = np.array([*first.values.values()])
    alone = over_seeds(mine - second, bootstrap.confidence)
    crossed, clustered = (way.get(metric) for way in ways)
    shown = crossed or alone

    def judged(found: OverBoth | None) -> Verdict | None:
        if found is None or margin is None or metric != "spearman":
            return None
        return verdict(found.low, found.high, margin)

    return Difference(
        float(mine.mean()),
        float(second.mean()),
        alone.value,
        shown.low,
        shown.high,
        crossed,
        clustered,
        judged(crossed),
        judged(clustered),
    )
