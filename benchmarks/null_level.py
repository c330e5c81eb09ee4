"""Are the test and the intervals of `compare` what they promise, on the scores of a real run?

    python -m benchmarks.null_level WORKSPACE [--simulations 4000] [--resamples 499]
                                    [--coverage 400] [--results FOLDER]

WORKSPACE is a project with data/normalized and predictions/. The first table is how often a test at
5 % finds a difference where there is none: Williams' test, which assumes normal variables, and the
paired randomisation test of `splade_sts.comparison.randomisation`. There is no difference because

- `swapped`: the two cosines of every pair of the split are swapped at random;
- `drawn, swapped`: the same, with pairs drawn from the split with replacement;
- `drawn, unlike`: pairs are drawn from a population in which base and fine-tuned model differ, but
  have the same coefficient, because the fine-tuned scores got as much noise as that takes.

The second table is how often a 95 % interval holds the truth, where pairs are drawn from the split
with replacement and the truth is the value of the whole split: that of the gain (BCa), of the gain
on seen minus that on unseen pairs, and of the gains in all slices together.

The bar is a level of the randomisation test within three standard errors of 5 % for all pairs of a
split, where the models are alike.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, stats

from benchmarks.common import report
from splade_sts import layout
from splade_sts.comparison.randomisation import randomisation_test
from splade_sts.comparison.simultaneous import simultaneous_gains
from splade_sts.comparison.slices import MINIMUM_SLICE, slices
from splade_sts.comparison.statistics import (
    CORRELATE,
    GAIN,
    Array,
    Bootstrap,
    Sample,
    correlation,
    estimates,
    two_samples,
)
from splade_sts.controls.lexical import overlap
from splade_sts.data.pairs import Pairs, unseen
from splade_sts.evaluation.results import Predictions

LEVEL = 0.05
SMALL = 100  # pairs of the small sample
COPIES = 20  # of every pair in the population of unlike models, each with noise of its own
INTERVAL_RESAMPLES = 1000


def read_sample(workspace: Path, split: layout.Split) -> Sample:
    """Gold scores and both models' cosines."""
    base, finetuned = (
        Predictions.read(workspace / layout.prediction(model, split)) for model in layout.MODELS
    )
    return Sample(base.pairs.score, base.cosine, finetuned.cosine)


def williams(sample: Sample, coefficient: layout.Coefficient) -> float:
    """The p value of Williams' test (Steiger 1980, "Tests for comparing elements of a correlation
    matrix", equation 7).
    """
    correlate = CORRELATE[coefficient]
    r12, r13, r23 = (
        float(correlate(one, other)[0])
        for one, other in (
            (sample.gold, sample.finetuned),
            (sample.gold, sample.base),
            (sample.base, sample.finetuned),
        )
    )
    determinant = 1 - r12**2 - r13**2 - r23**2 + 2 * r12 * r13 * r23
    mean_square, pairs = ((r12 + r13) / 2) ** 2, len(sample)
    spread = 2 * determinant * (pairs - 1) / (pairs - 3) + mean_square * (1 - r23) ** 3
    t = (r12 - r13) * math.sqrt((pairs - 1) * (1 + r23) / spread)
    return float(2 * stats.t.sf(abs(t), pairs - 3))


def drawn(sample: Sample, pairs: int, generator: np.random.Generator) -> Sample:
    """`pairs` pairs with replacement."""
    chosen = generator.integers(0, len(sample), pairs)
    return Sample(sample.gold[chosen], sample.base[chosen], sample.finetuned[chosen])


def swapped(sample: Sample, generator: np.random.Generator) -> Sample:
    """The two cosines of every pair swapped with probability 1/2."""
    swap = generator.random(len(sample)) < 0.5
    return Sample(
        sample.gold,
        np.where(swap, sample.finetuned, sample.base),
        np.where(swap, sample.base, sample.finetuned),
    )


def drawn_and_swapped(sample: Sample, pairs: int, generator: np.random.Generator) -> Sample:
    """`swapped` of pairs that were `drawn`."""
    return swapped(drawn(sample, pairs, generator), generator)


def unlike(sample: Sample, coefficient: layout.Coefficient) -> Sample:
    """A population in which both models have the same coefficient: the better one with noise."""
    generator = np.random.default_rng(7)
    correlate = CORRELATE[coefficient]
    gold, worse, better = (
        np.tile(values, COPIES) for values in (sample.gold, sample.base, sample.finetuned)
    )
    if correlate(gold, worse)[0] > correlate(gold, better)[0]:
        worse, better = better, worse
    noise = better.std() * generator.normal(size=len(gold))
    bar = correlate(gold, worse)[0]
    share = optimize.brentq(lambda s: correlate(gold, better + s * noise)[0] - bar, 0, 10)
    return Sample(gold, worse, better + share * noise)


def level(
    draw: Callable[[np.random.Generator], Sample],
    coefficients: tuple[layout.Coefficient, ...],
    simulations: int,
    resamples: int,
) -> dict[str, float]:
    """Share of the simulations in which each test finds a difference."""
    generator = np.random.default_rng(0)
    found = {f"{test} {name}": 0 for test in ("Williams", "randomisation") for name in coefficients}
    for number in range(simulations):
        sample = draw(generator)
        settings = Bootstrap(resamples, 0.95, number)
        for name in coefficients:
            found[f"Williams {name}"] += williams(sample, name) <= LEVEL
            scores = (sample.gold, sample.finetuned, sample.base)
            found[f"randomisation {name}"] += randomisation_test(name, *scores, settings).p <= LEVEL
    return {name: count / simulations for name, count in found.items()}


def levels(workspace: Path, simulations: int, resamples: int) -> Iterator[dict[str, Any]]:
    """The first table, row by row."""
    for split in layout.HELD_OUT:
        sample = read_sample(workspace, split)
        for pairs in (len(sample), SMALL):
            row = {"split": str(split), "pairs": pairs}
            if pairs == len(sample):
                found = level(partial(swapped, sample), layout.COEFFICIENTS, simulations, resamples)
                yield {**row, "null": "swapped", **found}
            found = level(
                partial(drawn_and_swapped, sample, pairs),
                layout.COEFFICIENTS,
                simulations,
                resamples,
            )
            yield {**row, "null": "drawn, swapped", **found}
            both: dict[str, float] = {}
            for name in layout.COEFFICIENTS:
                population = unlike(sample, name)
                both |= level(partial(drawn, population, pairs), (name,), simulations, resamples)
            yield {**row, "null": "drawn, unlike", **{key: both[key] for key in found}}


def coverage(workspace: Path, split: layout.Split, simulations: int) -> dict[str, Any]:
    """The row of the second table for one split."""
    sample = read_sample(workspace, split)
    pairs = Pairs.read(workspace / layout.normalized(split))
    new = unseen(pairs, Pairs.read(workspace / layout.normalized("train")))
    members = [part.chosen for part in slices(pairs, overlap(pairs))]
    gain, difference = gain_of(sample), gain_of(sample.select(~new)) - gain_of(sample.select(new))
    within = [gain_of(sample.select(chosen)) for chosen in members]
    generator = np.random.default_rng(0)
    held = {"gain pearson": 0, "gain spearman": 0, "seen minus unseen": 0, "all slices": 0}
    for number in range(simulations):
        rows = generator.integers(0, len(sample), len(sample))
        settings = Bootstrap(INTERVAL_RESAMPLES, 0.95, number)
        again = Sample(sample.gold[rows], sample.base[rows], sample.finetuned[rows])
        found = estimates(again.gold, again.predictions, GAIN, settings)["gain"]
        held["gain pearson"] += found.pearson.low <= gain[0] <= found.pearson.high
        held["gain spearman"] += found.spearman.low <= gain[1] <= found.spearman.high
        fresh = new[rows]
        *_, differ = two_samples(again.select(~fresh), again.select(fresh), settings)
        assert differ is not None
        held["seen minus unseen"] += differ.spearman.low <= difference[1] <= differ.spearman.high
        large = [
            (chosen[rows], truth[1])
            for chosen, truth in zip(members, within, strict=True)
            if chosen[rows].sum() >= MINIMUM_SLICE
        ]
        gains = simultaneous_gains(again, [chosen for chosen, _ in large], settings)
        held["all slices"] += all(
            one is not None and one["spearman"].low <= truth <= one["spearman"].high
            for one, (_, truth) in zip(gains, large, strict=True)
        )
    shares = {name: float(count / simulations) for name, count in held.items()}
    return {"split": str(split), "pairs": len(sample), "simulations": simulations, **shares}


def gain_of(sample: Sample) -> Array:
    """Pearson and Spearman of the fine-tuned model minus those of the base."""
    base, finetuned = (correlation(sample.gold, found) for found in sample.predictions.values())
    assert base is not None
    assert finetuned is not None
    return np.array([finetuned[key] - base[key] for key in layout.COEFFICIENTS])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--simulations", type=int, default=4000)
    parser.add_argument("--resamples", type=int, default=499)
    parser.add_argument(
        "--coverage", type=int, default=400, help="simulations of the intervals; 0: none"
    )
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON")
    arguments = parser.parse_args()
    started, rows = time.perf_counter(), []
    for row in levels(arguments.workspace, arguments.simulations, arguments.resamples):
        rows.append(row)
        print(f"{row} {time.perf_counter() - started:.0f} s", flush=True)
    report("null-level", rows, arguments.results)
    held = []
    for split in layout.HELD_OUT if arguments.coverage else ():
        held.append(coverage(arguments.workspace, split, arguments.coverage))
        print(f"{held[-1]} {time.perf_counter() - started:.0f} s", flush=True)
    if held:
        report("coverage", held, arguments.results)
    error = math.sqrt(LEVEL * (1 - LEVEL) / arguments.simulations)
    wrong = [
        (row["split"], row["null"], name, row[name])
        for row in rows
        for name in ("randomisation pearson", "randomisation spearman")
        if row["pairs"] > SMALL
        and row["null"] != "drawn, unlike"
        and abs(row[name] - LEVEL) > 3 * error
    ]
    if wrong:
        sys.exit(f"not level: {wrong}")


if __name__ == "__main__":
    main()
