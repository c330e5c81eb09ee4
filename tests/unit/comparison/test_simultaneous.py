"""Intervals that hold together."""

import numpy as np
import pytest
from scipy import stats

from splade_sts.comparison.simultaneous import simultaneous_gains
from splade_sts.comparison.statistics import Bootstrap, Sample

BOOTSTRAP = Bootstrap(500, 0.95, 0)


def draw(generator: np.random.Generator, pairs: int, noise: float = 0.5) -> Sample:
    """The fine-tuned model has `noise` of its own, the base 0.5."""
    gold, shared, own1, own2 = generator.normal(size=(4, pairs))
    return Sample(gold, gold + 0.5 * (shared + own1), gold + 0.5 * shared + noise * own2)


def thirds(pairs: int) -> list[np.ndarray]:
    return [np.arange(pairs) % 3 == number for number in range(3)]


def width(found, key="spearman") -> float:
    return found[key].high - found[key].low


def test_values():
    """Those of SciPy within the part; the gain lies in the middle of its interval."""
    whole = draw(np.random.default_rng(1), 240)
    for chosen, found in zip(
        thirds(240), simultaneous_gains(whole, thirds(240), BOOTSTRAP), strict=True
    ):
        for key, correlate in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
            one = found[key]
            for name in ("base", "finetuned"):
                expected = correlate(whole.gold[chosen], getattr(whole, name)[chosen])[0]
                assert getattr(one, name) == pytest.approx(expected, abs=1e-12)
            assert one.gain == pytest.approx(one.finetuned - one.base, abs=1e-12)
            assert one.gain - one.low == pytest.approx(one.high - one.gain)
            assert one.low < one.gain


def test_they_hold_together():
    """No part has a gain; in about 95 of a hundred samples all intervals hold zero, where intervals
    of one part each would in 81 (Monte Carlo, 200 samples).
    """
    generator = np.random.default_rng(2)
    parts = [np.arange(800) % 4 == number for number in range(4)]
    held = 0
    for number in range(200):
        gains = simultaneous_gains(draw(generator, 800), parts, Bootstrap(300, 0.95, number))
        held += all(found["spearman"].low <= 0 <= found["spearman"].high for found in gains)
    assert 0.90 <= held / 200 <= 0.995


def test_more_parts_make_wider_intervals():
    """Of independent parts; the same part twice costs nothing."""
    whole, parts = draw(np.random.default_rng(3), 600), thirds(600)
    alone, *_ = simultaneous_gains(whole, parts[:1], BOOTSTRAP)
    among, *_ = simultaneous_gains(whole, parts, BOOTSTRAP)
    twice = simultaneous_gains(whole, parts[:1] * 2, BOOTSTRAP)
    assert width(among) > 1.1 * width(alone)
    assert twice == [alone, alone]


def test_error_is_that_of_other_seeds():
    """The ends differ between seeds as much as is said."""
    whole = draw(np.random.default_rng(4), 300)
    found = [
        simultaneous_gains(whole, thirds(300), Bootstrap(300, 0.95, seed)) for seed in range(40)
    ]
    for part in range(3):
        low = np.std([gains[part]["spearman"].low for gains in found])
        said = np.mean([gains[part]["spearman"].error for gains in found])
        assert low == pytest.approx(said, rel=0.4)


def test_parts_that_say_nothing():
    """Constant scores, in the part or in some resample of it: no values, and no other interval
    changes.
    """
    whole = draw(np.random.default_rng(5), 300)
    parts = thirds(300)
    gold = whole.gold.copy()
    gold[parts[1]] = 0.5
    gold[parts[2]] = 0.5
    gold[2] = 0.6
    odd = Sample(gold, whole.base, whole.finetuned)
    first, constant, lone = simultaneous_gains(odd, parts, BOOTSTRAP)
    assert (constant, lone) == (None, None)
    assert [first] == simultaneous_gains(odd, parts[:1], BOOTSTRAP)
    assert simultaneous_gains(odd, parts[1:], BOOTSTRAP) == [None, None]
    assert simultaneous_gains(odd, [], BOOTSTRAP) == []


def test_a_model_that_did_not_change():
    """Gains and intervals of zero."""
    whole = draw(np.random.default_rng(6), 300)
    same = Sample(whole.gold, whole.base, whole.base)
    for found in simultaneous_gains(same, thirds(300), BOOTSTRAP):
        one = found["spearman"]
        assert (one.low, one.gain, one.high, one.error) == (0, 0, 0, 0)
