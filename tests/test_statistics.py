"""Intervals and tests, against worked examples and by simulation."""

import numpy as np
import pytest
from scipy import stats

from hypothesis import given, settings
from hypothesis import strategies as st

from splade_sts.comparison.statistics import _Correlations, correlation, estimates, evidence, in_words, intervals, williams


@pytest.mark.parametrize(
    ("r12", "r13", "r23", "pairs", "t", "p"),
    [
        # Howell, Statistical Methods for Psychology, 6th edition, page 262
        (0.80, 0.72, 0.89, 26, 1.361, 0.187),
        # Steiger's example as in the documentation of R's psych::r.test
        (0.5, 0.4, 0.1, 103, 0.89, 0.37),
    ],
)
def test_williams_worked_examples(r12, r13, r23, pairs, t, p):
    """Published values, to the digits they were published with."""
    found_t, found_p = williams(r12, r13, r23, pairs)
    digits = 3 if t == 1.361 else 2
    assert round(found_t, digits) == t and round(found_p, digits) == p
    assert williams(r13, r12, r23, pairs)[0] == -found_t


def draw(generator: np.random.Generator, pairs: int, noise1: float = 0.5, noise2: float = 0.5) -> tuple[np.ndarray, ...]:
    gold = generator.normal(size=pairs)
    shared = generator.normal(size=pairs)
    return gold, gold + noise1 * (shared + generator.normal(size=pairs)), gold + noise2 * (shared + generator.normal(size=pairs))


def model_intervals(gold, base, finetuned, **settings):
    return intervals(gold, {"base": base, "finetuned": finetuned}, {"delta": ("finetuned", "base")}, **settings)


def sorted_correlations(gold, base, finetuned, axis=-1):
    """The six statistics by scipy, every resample ranked anew."""
    rows = []
    for correlate in (stats.pearsonr, stats.spearmanr):
        if correlate is stats.spearmanr:
            gold, base, finetuned = (stats.rankdata(values, axis=axis) for values in (gold, base, finetuned))
        first, second = (stats.pearsonr(gold, values, axis=axis).statistic for values in (base, finetuned))
        rows += [first, second, second - first]
    return np.stack(rows)


def test_intervals_are_those_of_scipy():
    """Counts instead of sorting: the same resamples give the same BCa and percentile bounds as scipy's own correlations."""
    gold, base, finetuned = draw(np.random.default_rng(7), 60)
    gold = np.round(gold, 1)  # ties
    found = model_intervals(gold, base, finetuned, resamples=500, confidence=0.9, seed=11)
    settings = {"paired": True, "vectorized": True, "confidence_level": 0.9}
    rng = np.random.default_rng(11)
    bca = stats.bootstrap((gold, base, finetuned), sorted_correlations, n_resamples=500, rng=rng, method="BCa", batch=256, **settings)
    percentile = stats.bootstrap(
        (gold, base, finetuned), sorted_correlations, n_resamples=0, method="percentile", bootstrap_result=bca, **settings
    )
    rows = [found[key][name] for key in ("pearson_cosine", "spearman_cosine") for name in ("base", "finetuned", "delta")]
    for bounds, expected in (("low", bca.confidence_interval.low), ("high", bca.confidence_interval.high),
                             ("percentile_low", percentile.confidence_interval.low),
                             ("percentile_high", percentile.confidence_interval.high)):
        assert [row[bounds] for row in rows] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_correlations_of_a_resample(data):
    """Any resample, with ties on either side: what scipy gives for the drawn pairs; undefined where they are all the same."""
    pairs = data.draw(st.integers(3, 12))
    values = st.lists(st.integers(-3, 3).map(float) | st.floats(-5, 5, width=16), min_size=pairs, max_size=pairs)
    gold, predicted = (np.array(data.draw(values)) for _ in range(2))
    drawn = np.array(data.draw(st.lists(st.integers(0, pairs - 1), min_size=pairs, max_size=pairs)))
    pearson, spearman = _Correlations(gold, {"x": predicted}, {})(drawn[None])[:, 0]
    expected = correlation(gold[drawn], predicted[drawn])
    if expected is None:
        assert np.isnan(spearman)
    else:
        assert spearman == pytest.approx(expected["spearman_cosine"], abs=1e-9)
        if np.ptp(gold[drawn]) > 1e-3 and np.ptp(predicted[drawn]) > 1e-3:
            assert pearson == pytest.approx(expected["pearson_cosine"], abs=1e-6)


def test_estimates_leave_out_what_says_nothing():
    """A constant prediction, an almost constant one, and constant gold scores have no estimate; the others keep theirs."""
    gold, base, _ = draw(np.random.default_rng(5), 40)
    lone = np.zeros(40)
    lone[3] = 1.0
    scores = {"base": base, "constant": np.ones(40), "lone": lone}
    differences = {"gain": ("base", "constant"), "other": ("base", "lone")}
    found = estimates(gold, scores, differences, 200, 0.95, 0)
    assert set(found) == {"base"}
    assert found["base"]["spearman_cosine"]["value"] == stats.spearmanr(gold, base)[0]
    assert found["base"]["pearson_cosine"]["low"] < stats.pearsonr(gold, base)[0] < found["base"]["pearson_cosine"]["high"]
    assert estimates(np.ones(40), scores, differences, 200, 0.95, 0) == {}


def test_williams_keeps_its_level():
    """Where there is no difference, 5 % of the samples are called significant (Monte Carlo, 2,000 samples)."""
    generator = np.random.default_rng(0)
    rejected = 0
    for _ in range(2000):
        samples = draw(generator, 80)
        r = np.corrcoef(samples)
        rejected += williams(r[0, 1], r[0, 2], r[1, 2], 80)[1] < 0.05
    assert rejected / 2000 == pytest.approx(0.05, abs=0.015)


def test_bootstrap_covers():
    """95 % intervals of the difference hold the truth (zero) about 95 times in a hundred (Monte Carlo, 200 samples)."""
    generator = np.random.default_rng(1)
    held = 0
    for number in range(200):
        interval = model_intervals(*draw(generator, 100), resamples=400, confidence=0.95, seed=number)["spearman_cosine"]["delta"]
        held += interval["low"] <= 0 <= interval["high"]
    assert 0.90 <= held / 200 <= 0.99


def test_evidence():
    """A real difference is found; the intervals hold scipy's point values; the seed decides."""
    gold, base, finetuned = draw(np.random.default_rng(2), 300, noise1=1.0, noise2=0.3)
    found = evidence(gold, base, finetuned, 1000, 0.95, seed=3)
    spearman = found["spearman_cosine"]
    assert spearman["base"]["low"] < stats.spearmanr(gold, base)[0] < spearman["base"]["high"]
    assert spearman["delta"]["low"] > 0 and spearman["williams_p"] < 1e-4 and spearman["williams_t"] > 0
    assert found == evidence(gold, base, finetuned, 1000, 0.95, seed=3)
    assert found != evidence(gold, base, finetuned, 1000, 0.95, seed=4)


def test_no_difference_at_all():
    """Two models with the same predictions: an interval of zero width, p = 1, and words that say so."""
    gold, base, _ = draw(np.random.default_rng(4), 50)
    found = evidence(gold, base, base.copy(), 200, 0.95, seed=0)["spearman_cosine"]
    assert found["delta"]["low"] == found["delta"]["high"] == 0 and found["williams_p"] == 1
    assert in_words(0.0, found["delta"], 1.0, 0.95).endswith("no significant difference at the 95% level")


def test_words():
    """What a reader sees."""
    assert in_words(0.0472, {"low": 0.0333, "high": 0.0611}, 1e-9, 0.95) == "+0.0472 [+0.0333, +0.0611], p < 0.0001"
