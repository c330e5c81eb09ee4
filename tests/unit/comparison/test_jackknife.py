"""Correlations without each pair, against SciPy's on the pairs that are left."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from splade_sts.comparison.jackknife import pearson_without_each, spearman_without_each
from splade_sts.comparison.statistics import ResampledCorrelations


def one_by_one(correlate, gold, values) -> np.ndarray:
    """A pair taken out, the rest correlated, n times; NaN where that is constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return np.array(
            [
                correlate(np.delete(gold, number), np.delete(values, number))[0]
                for number in range(len(gold))
            ]
        )


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_spearman(data):
    """Any values, most of them tied: the same to 1e-12, and nothing where nothing is left."""
    pairs = data.draw(st.integers(3, 40))
    values = st.lists(st.integers(0, 4) | st.integers(0, 1000), min_size=pairs, max_size=pairs)
    gold, predicted = (np.array(data.draw(values), dtype=float) for _ in range(2))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = spearman_without_each(gold, predicted)
    expected = one_by_one(stats.spearmanr, gold, predicted)
    assert np.isfinite(found).tolist() == np.isfinite(expected).tolist()
    there = np.isfinite(expected)
    assert found[there] == pytest.approx(expected[there], abs=1e-12)


@pytest.mark.parametrize("steps", [2, 5, 26, 10**9])
@pytest.mark.parametrize("pairs", [255, 256, 257])
def test_many_ties(pairs, steps):
    """Both coefficients, from two values to none that tie, at a power of two and beside it."""
    generator = np.random.default_rng(pairs)
    gold = np.floor(steps * generator.uniform(size=pairs)) / steps
    predicted = np.floor(steps * (gold + generator.uniform(size=pairs))) / steps
    expected = one_by_one(stats.spearmanr, gold, predicted)
    assert spearman_without_each(gold, predicted) == pytest.approx(expected, abs=1e-12)
    found = pearson_without_each(gold - gold.mean(), predicted - predicted.mean())
    assert found == pytest.approx(one_by_one(stats.pearsonr, gold, predicted), abs=1e-12)


def test_rows_are_those_of_resamples():
    """All rows, differences among them, equal those of a resample without the pair."""
    gold, base, finetuned = np.round(np.random.default_rng(3).normal(size=(3, 60)), 1)
    models = {"base": base, "finetuned": finetuned}
    statistic = ResampledCorrelations(gold, models, {"gain": ("finetuned", "base")})
    expected = statistic.of_counts(1 - np.eye(60))
    assert statistic.without_each() == pytest.approx(expected, abs=1e-12)


def test_large_samples_lose_no_digits():
    """100,000 pairs, of which three are taken out one by one."""
    generator = np.random.default_rng(4)
    gold = generator.integers(0, 26, 100_000) / 25
    predicted = np.round(gold + generator.normal(size=len(gold)), 3)
    found = spearman_without_each(gold, predicted)
    for number in (0, 5, 99_999):
        left = stats.spearmanr(np.delete(gold, number), np.delete(predicted, number))[0]
        assert found[number] == pytest.approx(left, abs=1e-13)
