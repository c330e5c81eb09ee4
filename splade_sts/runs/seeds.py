"""Several runs that differ in their seed alone, summed up: what yet another seed would give."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from splade_sts import layout
from splade_sts.comparison.clusters import Clusters, cluster_of
from splade_sts.comparison.crossed import OverBoth, over_both, over_seeds
from splade_sts.comparison.statistics import Array, Bootstrap, correlation
from splade_sts.controls.scores import DENSE
from splade_sts.errors import UserError
from splade_sts.runs.record import OUTPUT_TAG, Record
from splade_sts.runs.scores import SplitScores, Without
from splade_sts.runs.table import varied_params

SEED, PRECISION = "train.seed", "train.precision"
SHOWN = ("spearman", "pearson", "active_dims", "flops", "index_bytes")
# Outputs that runs which differ in their seed have in common.
COMMON = (layout.NORMALIZED, layout.model("base"))
# By the name of a split; None where the runs' predictions are not in DVC's cache.
Scores = Mapping[str, SplitScores | None]


@dataclass(frozen=True)
class Measured:
    """One metric on one split: of the base model that all runs have, of the dense encoder (None
    where the runs have no such control, or the metric is none of it), and of the fine-tuned model
    of each run, by name.
    """

    base: float
    dense: float | None
    values: dict[str, float]


@dataclass(frozen=True)
class MetricSummary(Measured):
    """One metric on one split, summed up.

    Attributes:
        mean, sd: of the fine-tuned models, over the seeds; the standard deviation is that of a
            sample.
        low, high: Student's interval for the mean over seeds, on the same pairs.
        both: the mean with an interval over seeds and pairs; None for metrics that are no
            correlation, and where the predictions are not in DVC's cache or hardly vary.
        clustered: the mean with an interval over seeds and clusters of pairs that share sentences;
            None where `both` is, where no pairs share any, and where all pairs are one cluster.
    """

    mean: float
    sd: float
    low: float
    high: float
    both: OverBoth | None
    clustered: OverBoth | None


@dataclass(frozen=True)
class CountedPairs:
    """The pairs of a split that count.

    Attributes:
        pairs: how many there are.
        left_out: how many are left out, of what train holds; None where all were to count.
        clusters: how they hang together.
    """

    pairs: int
    left_out: int | None
    clusters: Clusters


@dataclass(frozen=True)
class SeedSummary:
    """Runs that differ in their seed.

    Attributes:
        seeds: the seed of each run, by name.
        confidence: level of the intervals.
        metrics: by split and name (`test.spearman`).
        pairs: by split; without splits whose predictions are not in DVC's cache.
        without: what of train the pairs are without; None: all count.
    """

    seeds: dict[str, int]
    confidence: float
    metrics: dict[str, MetricSummary]
    pairs: dict[str, CountedPairs]
    without: Without | None


def check_only_seeds_differ(runs: Mapping[str, Record]) -> None:
    """Check that the runs make a summary over seeds.

    Raises:
        UserError: fewer than two runs, other parameters than the seed differ, the data, the base
            model or the precision of the training differ, or two runs have the same seed.
    """
    if len(runs) < 2:
        raise UserError("one run has no spread: name at least two that differ in train.seed")
    for (first, one), (second, other) in combinations(runs.items(), 2):
        if different := differences(one, other):
            raise UserError(
                f"{first} and {second} differ in more than {SEED}, so their spread is not that of "
                "seeds:\n  "
                + "\n  ".join(f"{name}: {a!r} and {b!r}" for name, (a, b) in different.items())
            )
    seeds = seeds_of(runs)
    if len(set(seeds.values())) < len(seeds):
        raise UserError(
            "the same seed twice: "
            + ", ".join(f"{name} has {seed}" for name, seed in seeds.items())
        )


def differences(one: Record, other: Record) -> dict[str, tuple[Any, Any]]:
    """What two runs differ in apart from their seed, with both values: parameters that a result
    depends on; the precision of the training, where both records know it; and the content of the
    outputs in `COMMON`, as DVC's hashes.
    """
    found = {
        name: (one.params.get(name), other.params.get(name))
        for name in varied_params([one, other])
        if name != SEED
    }
    became = one.tags.get("precision"), other.tags.get("precision")
    if PRECISION not in found and None not in became and became[0] != became[1]:
        found[f"what {PRECISION}: {one.params[PRECISION]} became"] = became
    for path in COMMON:
        tag = f"{OUTPUT_TAG}{path}"
        if one.tags.get(tag) != other.tags.get(tag):
            found[f"the content of {path}"] = (one.tags.get(tag), other.tags.get(tag))
    return found


def unknown_precision(runs: Mapping[str, Record]) -> list[str]:
    """The runs of which it is not known what their training computed in: the hardware chose, and
    `evidence/train.json`, which says it, is not in DVC's cache or was not asked for.
    """
    return [
        name
        for name, record in runs.items()
        if record.params[PRECISION] == "auto" and "precision" not in record.tags
    ]


def seeds_of(runs: Mapping[str, Record]) -> dict[str, int]:
    """The seed of each run, by name."""
    return {name: record.params[SEED] for name, record in runs.items()}


def summarize(
    runs: Mapping[str, Record],
    scores: Scores,
    bootstrap: Bootstrap,
    without: Without | None = None,
) -> SeedSummary:
    """Mean, standard deviation and intervals of every metric in `SHOWN` that is known of all runs.

    The interval over seeds speaks of other seeds on the same pairs, as the bootstrap of `compare`
    speaks of other pairs with the same model; that over both speaks of other seeds on other pairs.

    Args:
        runs: records by name, see `check_only_seeds_differ`.
        scores: of these runs in this order, for the splits to show.
        bootstrap: how the intervals are made.
        without: what of train was left out of the scores.

    Raises:
        UserError: the runs make no summary over seeds.
    """
    check_only_seeds_differ(runs)
    metrics: dict[str, MetricSummary] = {}
    pairs: dict[str, CountedPairs] = {}
    for split, found in scores.items():
        both: dict[str, OverBoth] = {}
        clustered: dict[str, OverBoth] = {}
        if found is not None:
            both, clustered, pairs[split] = both_ways(found, bootstrap)
        for metric, one in measured(runs, split, found).items():
            alone = over_seeds(np.array([*one.values.values()]), bootstrap.confidence)
            metrics[f"{split}.{metric}"] = MetricSummary(
                one.base,
                one.dense,
                one.values,
                alone.value,
                alone.sd,
                alone.low,
                alone.high,
                both.get(metric),
                clustered.get(metric),
            )
    return SeedSummary(seeds_of(runs), bootstrap.confidence, metrics, pairs, without)


def both_ways(
    found: SplitScores, bootstrap: Bootstrap, against: Array | None = None
) -> tuple[dict[str, OverBoth], dict[str, OverBoth], CountedPairs]:
    """`over_both` with pairs drawn, with clusters drawn where pairs share sentences, and how they
    hang together.
    """
    gold, cluster = found.pairs.score, cluster_of(found.pairs)
    clusters = Clusters.of(cluster)
    return (
        over_both(gold, found.finetuned, bootstrap, against),
        over_both(gold, found.finetuned, bootstrap, against, cluster)
        if clusters.largest > 1
        else {},
        CountedPairs(len(gold), found.left_out, clusters),
    )


def measured(
    runs: Mapping[str, Record], split: str, scores: SplitScores | None
) -> dict[str, Measured]:
    """The metrics of `SHOWN` that are known of all runs, by name: from their scores, or, where all
    pairs of the split count, from their records.
    """
    whole = scores is None or scores.left_out is None
    found = _recorded(runs, split) if whole else {}
    if scores is not None:
        found |= _correlated(runs, scores)
    return {metric: found[metric] for metric in SHOWN if metric in found}


def _recorded(runs: Mapping[str, Record], split: str) -> dict[str, Measured]:
    first = next(iter(runs.values()))
    dense = first.metrics.get(f"controls.{split}.{DENSE}")
    return {
        metric: Measured(
            first.measured("base", split, metric),
            dense if metric == "spearman" else None,
            {name: record.measured("finetuned", split, metric) for name, record in runs.items()},
        )
        for metric in SHOWN
        if all(record.holds(split, metric) for record in runs.values())
    }


def _correlated(runs: Mapping[str, Record], scores: SplitScores) -> dict[str, Measured]:
    """Both coefficients, unless scores are constant."""
    gold = scores.pairs.score
    tuned = [correlation(gold, one) for one in scores.finetuned]
    base = correlation(gold, scores.base)
    dense = None if scores.dense is None else correlation(gold, scores.dense)
    if base is None or None in tuned:
        return {}
    return {
        key: Measured(
            base[key],
            dense[key] if dense else None,
            {name: one[key] for name, one in zip(runs, tuned, strict=True) if one is not None},
        )
        for key in layout.COEFFICIENTS
    }
