"""The test of a difference, against a count of all swaps and by simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from splade_sts.comparison import randomisation
from splade_sts.comparison.randomisation import DIFFERENCES, SwappedPearson, randomisation_tests
from splade_sts.comparison.statistics import Bootstrap

COEFFICIENTS = ("pearson", "spearman")


def bootstrap(resamples: int, seed: int = 0) -> Bootstrap:
    return Bootstrap(resamples, 0.95, seed)


def draw(generator: np.random.Generator, pairs: int, noise: float = 0.5):
    """Gold scores and two predictions of them that share half of their errors; the second one on
    another scale, with `noise` of its own.
    """
    gold, shared, own1, own2 = generator.normal(size=(4, pairs))
    return gold, gold + 0.5 * (shared + own1), 7 + 3 * (gold + 0.5 * shared + noise * own2)


@pytest.mark.parametrize(
    ("name", "prepared", "correlate"),
    [("pearson", stats.zscore, stats.pearsonr), ("spearman", stats.rankdata, stats.spearmanr)],
)
def test_a_swap_is_a_swap(name, prepared, correlate):
    """Without loops and sorting: SciPy's correlations after the swaps, with ties."""
    gold, first, second = (np.round(v, 1) for v in draw(np.random.default_rng(1), 40))
    swaps = np.random.default_rng(2).choice([-1.0, 1.0], size=(20, 40))
    x, y = prepared(first), prepared(second)
    expected = [
        correlate(gold, np.where(row > 0, x, y))[0] - correlate(gold, np.where(row > 0, y, x))[0]
        for row in swaps
    ]
    assert DIFFERENCES[name](gold, first, second)(swaps) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_p_is_that_of_all_swaps(name):
    """With ten pairs all 1,024 swaps can be counted: p comes as near as its resamples allow."""
    columns = draw(np.random.default_rng(3), 10, noise=1.0)
    every = np.array(list(itertools.product([1.0, -1.0], repeat=10)))
    found = np.abs(DIFFERENCES[name](*columns)(every))
    exact = np.mean(found >= found[0] - 1e-12)
    assert 0.05 < exact < 0.95  # else nothing is tested
    test = randomisation_tests(*columns, bootstrap(5000))[name]
    assert test.p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 5000))


def test_level():
    """Where there is no difference, 5 % of the samples are called significant (Monte Carlo, 2,000
    samples); and no less, so that a real difference is found.
    """
    generator = np.random.default_rng(0)
    rejected = dict.fromkeys(COEFFICIENTS, 0)
    for number in range(2000):
        tests = randomisation_tests(*draw(generator, 80), bootstrap(99, number))
        for name in COEFFICIENTS:
            rejected[name] += tests[name].p <= 0.05
    for count in rejected.values():
        assert count / 2000 == pytest.approx(0.05, abs=0.015)


def test_level_of_unequal_errors():
    """It keeps its level where errors grow with the gold score.

    There Williams' test rejects in 12 % of the samples for Spearman, and this test in 7 % if the
    columns are not ranked anew after the swaps.
    """
    generator = np.random.default_rng(5)
    rejected = dict.fromkeys(COEFFICIENTS, 0)
    for number in range(2000):
        gold = generator.random(80)
        shared, *own = generator.normal(size=(3, 80))
        first, second = (gold + 0.6 * gold * (shared + errors) for errors in own)
        tests = randomisation_tests(gold, first, second, bootstrap(99, number))
        for name in COEFFICIENTS:
            rejected[name] += tests[name].p <= 0.05
    for count in rejected.values():
        assert count / 2000 == pytest.approx(0.05, abs=0.015)


def test_no_p_below_what_the_resamples_say():
    """A difference beyond all resamples has the smallest p that there is; the seed decides."""
    columns = draw(np.random.default_rng(4), 300, noise=3.0)
    for resamples in (99, 1000):
        found = randomisation_tests(*columns, bootstrap(resamples))
        assert found["spearman"] == randomisation.Test(1 / (resamples + 1), resamples)
    near = draw(np.random.default_rng(4), 300, noise=0.55)
    one, same, other = (randomisation_tests(*near, bootstrap(500, seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_scale_and_place_do_not_matter():
    """A correlation does not depend on them, so p does not either; nor on which model is first."""
    gold, first, second = draw(np.random.default_rng(6), 60)
    found, scaled, turned = (
        randomisation_tests(gold, *models, bootstrap(500))
        for models in ((first, second), (first, 100 * second - 3), (second, first))
    )
    assert found == scaled
    assert found == turned


@pytest.mark.parametrize("moved", [0, 1])
def test_models_that_are_almost_the_same(moved):
    """The same predictions, or one pair moved by one float32 ulp: nothing breaks, and no p says
    that the models differ.
    """
    gold, first, _ = draw(np.random.default_rng(7), 200)
    first = first.astype(np.float32)
    second = first.copy()
    for row in range(moved):
        second[row] = np.nextafter(second[row], np.float32(np.inf))
    found = randomisation_tests(
        gold, *(v.astype(np.float64) for v in (first, second)), bootstrap(200)
    )
    assert found["spearman"].p == 1
    assert found["pearson"].p == 1 if not moved else found["pearson"].p > 0.3


def test_swaps_without_a_correlation_count_as_extreme():
    """A column that a swap makes constant says nothing for a difference."""
    gold = np.arange(10.0)
    first = np.array([1.0] * 9 + [0.0])
    second = np.array([0.0] + [1.0] * 9)
    swaps = np.ones((1, 10))
    swaps[0, 9] = -1
    difference = SwappedPearson(gold, first, second)
    assert np.isfinite(difference(np.ones((1, 10)))).all()
    assert not np.isfinite(difference(swaps)).all()
    assert randomisation_tests(gold, first, second, bootstrap(500))["pearson"].p > 0.4
