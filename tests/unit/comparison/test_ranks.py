"""Ranks in many resamples at once."""

import numpy as np
import pytest
from scipy import stats

from splade_sts.comparison.ranks import Ranks, beside_each_other
from splade_sts.comparison.statistics import Bootstrap, counted, resampled


@pytest.mark.parametrize("pairs", [1, 2, 63, 64, 5000])
@pytest.mark.parametrize("values", [3, 2000])
def test_ranks_of_resamples(pairs, values):
    """To the last bit what SciPy gives for the drawn values, with and without ties."""
    dice = np.random.default_rng(pairs)
    variable = dice.integers(0, values, pairs) / 7
    drawn = dice.integers(0, pairs, (4, pairs))
    ranks = Ranks(variable)
    copies, found = ranks.of(beside_each_other(counted(drawn, pairs)))
    squares = ranks.inner(copies * found, found)
    for number, places in enumerate(drawn):
        expected = stats.rankdata(variable[places]) - (pairs + 1) / 2
        assert (found[ranks.row, number][places] == expected).all()
        assert squares[number] == np.sum(expected**2)


def test_threads_change_no_value(monkeypatch):
    """Nor does how many resamples are looked at in one go."""

    def total(counts):
        return np.stack([counts @ np.arange(500.0), counts.max(axis=1)])

    def found(threads, worked):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        monkeypatch.setattr("splade_sts.comparison.statistics.WORKED", worked)
        return resampled([500], Bootstrap(700, 0.95, 1), total)

    one = found("1", 2**20)
    assert one.shape == (2, 700)
    assert np.array_equal(one, found("3", 2**10))
