"""Several runs that differ in their seed alone, summed up: what yet another seed would give."""

import json
import math
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from splade_sts import layout
from splade_sts.errors import UserError
from splade_sts.report import names
from splade_sts.runs.record import FREE_PARAMS, OUTPUT_TAG, Record
from splade_sts.text import markdown_table

SEED = "train.seed"
SHOWN = ("spearman", "pearson", "active_dims", "flops", "index_bytes")
# Outputs that runs which differ in their seed have in common.
COMMON = (layout.NORMALIZED, layout.model("base"))


@dataclass(frozen=True)
class MetricSummary:
    """One metric of the fine-tuned models on one split.

    Attributes:
        base: of the model that all runs start from.
        values: of each run, by name.
        mean, sd: over the runs; the standard deviation is that of a sample.
        low, high: Student's interval for the mean (t with runs - 1 degrees of freedom).
    """

    base: float
    values: dict[str, float]
    mean: float
    sd: float
    low: float
    high: float


@dataclass(frozen=True)
class SeedSummary:
    """Runs that differ in their seed.

    Attributes:
        seeds: the seed of each run, by name.
        confidence: level of the intervals.
        metrics: by split and name (`test.spearman`).
    """

    seeds: dict[str, int]
    confidence: float
    metrics: dict[str, MetricSummary]


def check_only_seeds_differ(runs: dict[str, Record]) -> None:
    """Check that the runs make a summary over seeds.

    Raises:
        UserError: fewer than two runs, other parameters than the seed differ, the data or the base
            model differ, or two runs have the same seed.
    """
    if len(runs) < 2:
        raise UserError("one run has no spread: name at least two that differ in train.seed")
    first, *others = runs
    for other in others:
        if different := _differences(runs[first], runs[other]):
            raise UserError(
                f"{first} and {other} differ in more than {SEED}, so their spread is not that of "
                "seeds:\n  " + "\n  ".join(different)
            )
    seeds = {name: record.params[SEED] for name, record in runs.items()}
    if len(set(seeds.values())) < len(seeds):
        raise UserError(
            "the same seed twice: "
            + ", ".join(f"{name} has {seed}" for name, seed in seeds.items())
        )


def _differences(one: Record, other: Record) -> list[str]:
    mine, theirs = one.params, other.params
    different = [
        f"{name}: {mine.get(name)!r} and {theirs.get(name)!r}"
        for name in sorted({*mine, *theirs})
        if mine.get(name) != theirs.get(name) and name != SEED and not name.startswith(FREE_PARAMS)
    ]
    tags = [f"{OUTPUT_TAG}{path}" for path in COMMON]
    different += [
        f"the content of {tag.removeprefix(OUTPUT_TAG)}"
        for tag in tags
        if one.tags.get(tag) != other.tags.get(tag)
    ]
    return different


def summarize(runs: dict[str, Record], confidence: float) -> SeedSummary:
    """Mean, standard deviation and interval over seeds of every metric in `SHOWN` that all records
    hold: headlines in any case, the others where their evidence was read.

    The interval speaks of other seeds on the same pairs, as the bootstrap of `compare` speaks of
    other pairs with the same model.

    Args:
        runs: records by name, see `check_only_seeds_differ`.
        confidence: level of the interval, between 0 and 1.

    Raises:
        UserError: the runs make no summary over seeds.
    """
    check_only_seeds_differ(runs)
    return SeedSummary(
        {name: record.params[SEED] for name, record in runs.items()},
        confidence,
        {
            f"{split}.{metric}": _summary(runs, confidence, split, metric)
            for split in layout.HELD_OUT
            for metric in SHOWN
            if all(record.holds(split, metric) for record in runs.values())
        },
    )


def _summary(
    runs: dict[str, Record], confidence: float, split: layout.Split, metric: str
) -> MetricSummary:
    values = {name: record.measured("finetuned", split, metric) for name, record in runs.items()}
    base = next(iter(runs.values())).measured("base", split, metric)
    mean, sd = float(np.mean(list(values.values()))), float(np.std(list(values.values()), ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * sd / math.sqrt(len(values))
    return MetricSummary(base, values, mean, sd, mean - half, mean + half)


def as_text(summary: SeedSummary) -> str:
    """A table with a column for each run, and a sentence on how to read it."""
    rows = []
    for name, found in summary.metrics.items():
        split, metric = name.split(".")
        numbers = (found.base, found.mean, found.sd, found.low, found.high, *found.values.values())
        base, mean, sd, low, high, *values = (names.number(metric, value) for value in numbers)
        rows.append(
            [f"{split} {names.METRICS[metric]}", base, mean, sd, f"{low} to {high}", *values]
        )
    runs = [f"{name} (seed {seed})" for name, seed in summary.seeds.items()]
    table = markdown_table(
        [
            "fine-tuned",
            "base",
            "mean",
            "sd",
            f"{names.percent(summary.confidence)} interval",
            *runs,
        ],
        rows,
    )
    return (
        f"{table}\n\nThe result is the mean over {len(runs)} seeds, whichever of them did best; "
        "the interval is for that "
        "mean (Student's t), over seeds and not over pairs."
    )


def as_json(summary: SeedSummary) -> str:
    """`{seeds, confidence, metrics: {name: {base, values, mean, sd, low, high}}}`."""
    return json.dumps(asdict(summary), indent=2, ensure_ascii=False)
