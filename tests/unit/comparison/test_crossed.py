"""Means over seeds, with intervals over seeds, and over seeds and pairs."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from splade_sts.comparison.crossed import over_both, over_seeds
from splade_sts.comparison.statistics import CORRELATE, Bootstrap

Array = NDArray[np.float64]
BOOTSTRAP = Bootstrap(resamples=600, confidence=0.9, seed=3)
PAIRS = 80


def made(seeds: int = 4, noise: float = 0.3, pairs: int = PAIRS) -> tuple[Array, Array]:
    """Gold scores with ties, and the scores of seeds that are unlike."""
    generator = np.random.default_rng(0)
    gold = np.round(generator.uniform(size=pairs), 1)
    own = noise * (1 + 0.3 * np.arange(seeds)[:, None]) * generator.normal(size=(seeds, pairs))
    return gold, gold + 0.2 * generator.normal(size=pairs) + own


def test_over_seeds() -> None:
    """Student's interval, as SciPy computes it."""
    values = np.array([0.79, 0.81, 0.80])
    found = over_seeds(values, 0.9)
    assert (found.value, found.sd) == pytest.approx((0.8, 0.01))
    assert (found.low, found.high) == pytest.approx(
        stats.t.interval(0.9, 2, 0.8, stats.sem(values))
    )


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
@pytest.mark.parametrize("against", ["nothing", "one", "seeds"])
def test_over_both(metric: str, against: str) -> None:
    """The two parts, from SciPy's correlations on the same resamples; their half-widths add up as
    squares.
    """
    gold, scores = made()
    others = {"nothing": None, "one": made(1, 0.6)[1], "seeds": made(4, 0.5)[1]}[against]
    found = over_both(gold, scores, BOOTSTRAP, others)[metric]

    def values(drawn: NDArray[np.int64]) -> Array:
        def of(some: Array) -> Array:
            return np.array([CORRELATE[metric](gold[drawn], one[drawn])[0] for one in some])  # type: ignore[index]

        return of(scores) if others is None else of(scores) - of(others)

    mine = values(np.arange(PAIRS))
    generator, drawn = np.random.default_rng(BOOTSTRAP.seed), []
    for count in (256, 256, 88):
        drawn += [*generator.integers(0, PAIRS, (count, PAIRS))]
    resampled = np.array([values(one) for one in drawn])
    means = resampled.mean(axis=1)
    both = (resampled - means[:, None]).var(axis=0, ddof=1).mean() * 4 / 3
    of_seeds, of_pairs = mine.var(ddof=1) / 4, means.var(ddof=1) - both / 4
    assert of_pairs > 0
    half = np.hypot(
        stats.t.ppf(0.95, 3) * np.sqrt(of_seeds), stats.t.ppf(0.95, PAIRS - 1) * np.sqrt(of_pairs)
    )
    assert found.value == pytest.approx(mine.mean())
    assert (found.seed_error, found.pair_error) == pytest.approx(
        (np.sqrt(of_seeds), np.sqrt(of_pairs))
    )
    assert (found.low, found.high) == pytest.approx((mine.mean() - half, mine.mean() + half))
    chosen = np.random.default_rng([BOOTSTRAP.seed, 4]).integers(0, 4, (4, len(drawn)))
    crossed = [one[some].mean() for one, some in zip(resampled, chosen.T, strict=True)]
    assert (found.bootstrap_low, found.bootstrap_high) == pytest.approx(
        np.quantile(crossed, (0.05, 0.95))
    )
    assert over_both(gold, scores, BOOTSTRAP, others)[metric] == found


def test_its_error() -> None:
    """What it says of the ends is what other resamples show."""
    gold, scores = made()
    ends = [
        over_both(gold, scores, Bootstrap(600, 0.9, seed))["spearman"].high for seed in range(40)
    ]
    said = over_both(gold, scores, BOOTSTRAP)["spearman"].error
    assert 0.6 * said < np.std(ends) < 1.6 * said


def test_seeds_that_are_alike() -> None:
    """Then only the pairs are chance; no seed makes the interval wider."""
    gold, scores = made(1)
    found = over_both(gold, np.repeat(scores, 3, axis=0), BOOTSTRAP)["spearman"]
    assert found.seed_error == pytest.approx(0, abs=1e-12)
    half = stats.t.ppf(0.95, PAIRS - 1) * found.pair_error
    assert found.high - found.value == pytest.approx(half)


def test_it_is_never_narrower_than_over_seeds() -> None:
    """However the two parts are."""
    for noise in (0.01, 0.3, 3.0):
        gold, scores = made(3, noise)
        both = over_both(gold, scores, BOOTSTRAP)["spearman"]
        alone = over_seeds(np.array([CORRELATE["spearman"](gold, one)[0] for one in scores]), 0.9)
        assert both.low <= alone.low < alone.high <= both.high


def test_scores_that_hardly_vary() -> None:
    """They have no interval: constant ones, gold too, and those that are so in some resample."""
    gold, scores = made(2)
    flat, rare = np.zeros(PAIRS), np.zeros(PAIRS)
    rare[0] = 1.0
    assert over_both(flat, scores, BOOTSTRAP) == {}
    for one in (flat, rare):
        assert over_both(gold, np.stack([scores[0], one]), BOOTSTRAP) == {}
        assert over_both(gold, scores, BOOTSTRAP, one[None]) == {}


def test_clusters_are_drawn() -> None:
    """Every pair three times over: the interval from clusters is that of the pairs once, the one
    from pairs is too narrow. Clusters of one pair are pairs; one cluster says nothing.
    """
    gold, scores = made(4, 0.5)
    cluster = np.tile(np.arange(PAIRS), 3)
    many, tripled = np.tile(gold, 3), np.tile(scores, 3)
    for against in (None, made(1, 0.6)[1]):
        others = None if against is None else np.tile(against, 3)
        once = over_both(gold, scores, BOOTSTRAP, against)["spearman"]
        plain = over_both(many, tripled, BOOTSTRAP, others)["spearman"]
        found = over_both(many, tripled, BOOTSTRAP, others, cluster)["spearman"]
        assert found.value == plain.value == pytest.approx(once.value, abs=1e-2)
        assert found.pair_error == pytest.approx(once.pair_error, rel=0.02)
        assert (found.low, found.high) == pytest.approx((once.low, once.high), abs=1e-2)
        assert plain.pair_error == pytest.approx(found.pair_error / np.sqrt(3), rel=0.1)
        assert plain.high - plain.low < found.high - found.low
        alone = over_both(gold, scores, BOOTSTRAP, against, np.arange(PAIRS))["spearman"]
        assert alone == once
    assert over_both(gold, scores, BOOTSTRAP, cluster=np.zeros(PAIRS, dtype=np.int64)) == {}


def coverage(seeds: int, simulations: int = 300) -> tuple[float, float]:
    """How often the intervals hold the truth where seeds matter most: that of `over_both`, and
    that of percentiles.
    """
    generator = np.random.default_rng(0)
    pairs, held = 60, np.zeros(2)
    x = generator.normal(size=pairs)

    def scores(count: int) -> Array:
        noise = generator.normal(size=(count, pairs))
        quality = 0.5 + 0.2 * generator.normal(size=(count, 1))
        found: Array = quality * x + 0.05 * noise + 0.4 * common
        return found

    common = generator.normal(size=pairs)
    truth = np.mean([CORRELATE["pearson"](x, one)[0] for one in scores(4000)])
    for number in range(simulations):
        drawn = generator.integers(0, pairs, pairs)
        found = over_both(x[drawn], scores(seeds)[:, drawn], Bootstrap(100, 0.95, number))
        one = found["pearson"]
        held += (one.low <= truth <= one.high, one.bootstrap_low <= truth <= one.bootstrap_high)
    return held[0] / simulations, held[1] / simulations


def test_coverage() -> None:
    """Three seeds: 95 % within the error of the simulations; percentiles of resampled seeds hold
    the truth too rarely, which is why they are not the interval.
    """
    used, percentiles = coverage(3)
    assert used > 0.92
    assert percentiles < 0.92
