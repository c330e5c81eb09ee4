"""Do the intervals over seeds and pairs of `seeds` hold the truth as often as they say?

    python -m benchmarks.seeds_and_pairs WORKSPACE RUN RUN... [--simulations 400]
                                         [--resamples 300] [--results FOLDER]

WORKSPACE is a project that holds runs which differ in their seed. Their scores on test give a
population: all its pairs, and endlessly many seeds. The scores of a seed are the mean scores of the
runs; plus their residuals from a line through the gold scores times a normal number of the seed,
which makes whole seeds better or worse; plus normal noise of each seed and pair with the standard
deviation that the runs have. A simulation draws seeds, and pairs with replacement. The truth is the
mean over 3,000 seeds of Spearman of all pairs.

Three quantities: the mean over seeds; its difference from the base model (`over base`); and the
difference of two settings (`over setting`), the second of which is the first with seed effects and
noise of its own, so that the truth is 0.

Four intervals at 95 %:

- `seeds alone`: Student's over the seeds alone, which is for other seeds on the same pairs;
- `bootstrap`: percentiles of resamples of seeds and pairs;
- `Satterthwaite`: Student's t of the two variances' sum, with the degrees of freedom of
  Satterthwaite (1946, "An approximate distribution of estimates of variance components");
- `used`: that of `splade_sts.comparison.crossed`.

The bar: `used` holds the truth in at least 95 % less three standard errors of the simulations, for
three and more seeds and for all pairs.
"""

import argparse
import math
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from scipy import stats

from benchmarks.common import report
from splade_sts.comparison.crossed import OverBoth, over_both, over_seeds
from splade_sts.comparison.statistics import CORRELATE, Array, Bootstrap
from splade_sts.runs.experiments import open_runs
from splade_sts.runs.scores import read_predictions

LEVEL = 0.95
TRUE_SEEDS = 3000
SEEDS = (2, 3, 5, 10)
SPREADS = (0.0, 0.005, 0.015)  # standard deviation of Spearman that the seed effect gives
SMALL = 100


@dataclass(frozen=True)
class Population:
    """Pairs and seeds: gold, base and mean scores, residuals (each float (pairs,)), the factor of
    the seed effect, and the standard deviation of the noise.
    """

    gold: Array
    base: Array
    middle: Array
    residual: Array
    factor: float
    noise: float

    def seeds(self, count: int, generator: Generator) -> Array:
        """Scores of new seeds: (count, pairs)."""
        effect = self.factor * generator.normal(size=(count, 1)) * self.residual
        noise = self.noise * generator.normal(size=(count, len(self.gold)))
        scores: Array = self.middle + effect + noise
        return scores


def spearman(gold: Array, scores: Array) -> float:
    return float(CORRELATE["spearman"](gold, scores)[0])


def population(workspace: Path, runs: list[str], spread: float) -> Population:
    """That of the runs, with seed effects of a given size."""
    opened = [*open_runs(workspace, runs).values()]
    found = [read_predictions(files, "finetuned", "test") for files in opened]
    base = read_predictions(opened[0], "base", "test")
    if base is None or None in found:
        sys.exit("the runs' predictions on test are not in the cache")
    gold = base.pairs.score
    scores = np.stack([one.cosine for one in found if one is not None])
    middle = scores.mean(axis=0)
    line = np.polynomial.Polynomial.fit(gold, middle, 1)
    residual = middle - line(gold)
    step = 0.05
    slope = (
        spearman(gold, middle - step * residual) - spearman(gold, middle + step * residual)
    ) / (2 * step)
    noise = float(np.sqrt(scores.var(axis=0, ddof=1).mean()))
    return Population(gold, base.cosine, middle, residual, spread / slope, noise)


def truths(whole: Population) -> dict[str, float]:
    """What the intervals shall hold, by quantity."""
    scores = whole.seeds(TRUE_SEEDS, np.random.default_rng(0))
    mean = float(np.mean([spearman(whole.gold, one) for one in scores]))
    base = spearman(whole.gold, whole.base)
    return {"mean": mean, "over base": mean - base, "over setting": 0.0}


def satterthwaite(found: OverBoth, seeds: int, pairs: int) -> tuple[float, float]:
    of_seeds, of_pairs = found.seed_error**2, found.pair_error**2
    freedom = (of_seeds + of_pairs) ** 2 / (of_seeds**2 / (seeds - 1) + of_pairs**2 / (pairs - 1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(of_seeds + of_pairs)
    return found.value - half, found.value + half


def row(
    whole: Population, quantity: str, truth: float, seeds: int, pairs: int, arguments: Any
) -> dict[str, Any]:
    """Coverage of each interval, and the mean widths of two of them."""
    generator = np.random.default_rng([seeds, pairs])
    held: dict[str, int] = defaultdict(int)
    widths: dict[str, float] = defaultdict(float)
    for number in range(arguments.simulations):
        drawn = generator.integers(0, len(whole.gold), pairs)
        gold, scores = whole.gold[drawn], whole.seeds(seeds, generator)[:, drawn]
        against = None
        if quantity == "over base":
            against = whole.base[None, drawn]
        elif quantity == "over setting":
            against = whole.seeds(seeds, generator)[:, drawn]
        settings = Bootstrap(arguments.resamples, LEVEL, number)
        both = over_both(gold, scores, settings, against)
        found = both["spearman"]
        values = np.array([spearman(gold, one) for one in scores])
        if against is not None:
            values = values - np.array([spearman(gold, one) for one in against])
        alone = over_seeds(values, LEVEL)
        intervals = {
            "seeds alone": (alone.low, alone.high),
            "bootstrap": (found.bootstrap_low, found.bootstrap_high),
            "Satterthwaite": satterthwaite(found, seeds, pairs),
            "used": (found.low, found.high),
        }
        for name, (low, high) in intervals.items():
            held[name] += low <= truth <= high
            widths[name] += high - low
    count = arguments.simulations
    return {
        "quantity": quantity,
        "pairs": pairs,
        "seeds": seeds,
        **{name: float(held[name] / count) for name in held},
        **{f"width {name}": float(widths[name] / count) for name in ("bootstrap", "used")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path)
    parser.add_argument("run", nargs="+")
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON")
    arguments = parser.parse_args()
    started, rows = time.perf_counter(), []
    for spread in SPREADS:
        whole = population(arguments.workspace, arguments.run, spread)
        for pairs, (quantity, truth), seeds in product(
            (len(whole.gold), SMALL), truths(whole).items(), SEEDS
        ):
            found = row(whole, quantity, truth, seeds, pairs, arguments)
            rows.append({"seed sd": spread, **found, "simulations": arguments.simulations})
            print(f"{rows[-1]} {time.perf_counter() - started:.0f} s", flush=True)
    report("seeds-and-pairs", rows, arguments.results)
    error = math.sqrt(LEVEL * (1 - LEVEL) / arguments.simulations)
    wrong = [
        one
        for one in rows
        if one["seeds"] >= 3 and one["pairs"] > SMALL and one["used"] < LEVEL - 3 * error
    ]
    if wrong:
        sys.exit(f"too narrow: {wrong}")


if __name__ == "__main__":
    main()
