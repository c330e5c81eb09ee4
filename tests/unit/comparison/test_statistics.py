"""Intervals and tests, against worked examples and by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from splade_sts import params
from splade_sts.comparison import statistics
from splade_sts.comparison.statistics import (
    Bootstrap,
    ResampledCorrelations,
    compare_correlations,
    correlation,
    estimates,
    williams,
)
from tests.support.tiny import tiny_params


@pytest.mark.parametrize(
    ("r12", "r13", "r23", "pairs", "t", "p", "digits"),
    [
        # Howell, Statistical Methods for Psychology, 6th edition, page 262
        (0.80, 0.72, 0.89, 26, 1.361, 0.187, 3),
        # Steiger's example as in the documentation of R's psych::r.test
        (0.5, 0.4, 0.1, 103, 0.89, 0.37, 2),
    ],
)
def test_williams_worked_examples(r12, r13, r23, pairs, t, p, digits):
    """Published values, to the digits they were published with."""
    found = williams(r12, r13, r23, pairs)
    assert (round(found.statistic, digits), round(found.p, digits)) == (t, p)
    assert williams(r13, r12, r23, pairs).statistic == -found.statistic


def draw(generator: np.random.Generator, pairs: int, noise1: float = 0.5, noise2: float = 0.5):
    """Gold scores and two predictions of them that share half of their errors."""
    gold, shared, own1, own2 = generator.normal(size=(4, pairs))
    return gold, gold + noise1 * (shared + own1), gold + noise2 * (shared + own2)


def of_models(gold, base, finetuned, bootstrap: Bootstrap):
    """Estimates for two models and their difference."""
    models = {"base": base, "finetuned": finetuned}
    return estimates(gold, models, {"gain": ("finetuned", "base")}, bootstrap)


def sorted_correlations(gold, base, finetuned, axis=-1):
    """The six statistics by SciPy, every resample ranked anew."""
    rows = []
    for correlate in (stats.pearsonr, stats.spearmanr):
        if correlate is stats.spearmanr:
            gold, base, finetuned = (
                stats.rankdata(values, axis=axis) for values in (gold, base, finetuned)
            )
        first, second = (
            stats.pearsonr(gold, values, axis=axis).statistic for values in (base, finetuned)
        )
        rows += [first, second, second - first]
    return np.stack(rows)


def test_intervals_are_those_of_scipy():
    """Counts instead of sorting: the same resamples give the same BCa and percentile bounds as
    SciPy's own correlations, with ties.
    """
    gold, base, finetuned = draw(np.random.default_rng(7), 60)
    gold = np.round(gold, 1)
    found = of_models(gold, base, finetuned, Bootstrap(500, 0.9, 11))
    options = {"paired": True, "vectorized": True, "confidence_level": 0.9}
    bca = stats.bootstrap(
        (gold, base, finetuned),
        sorted_correlations,
        n_resamples=500,
        rng=np.random.default_rng(11),
        method="BCa",
        batch=256,
        **options,
    )
    percentile = stats.bootstrap(
        (gold, base, finetuned),
        sorted_correlations,
        n_resamples=0,
        method="percentile",
        bootstrap_result=bca,
        **options,
    )
    names = ("base", "finetuned", "gain")
    rows = [getattr(found[name], key) for key in ("pearson", "spearman") for name in names]
    expected = {
        "low": bca.confidence_interval.low,
        "high": bca.confidence_interval.high,
        "percentile_low": percentile.confidence_interval.low,
        "percentile_high": percentile.confidence_interval.high,
    }
    for bound, values in expected.items():
        assert [getattr(row, bound) for row in rows] == pytest.approx(values, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_correlations_of_a_resample(data):
    """Any resample, with ties on either side: what SciPy gives for the drawn pairs; undefined where
    they are all the same.
    """
    pairs = data.draw(st.integers(3, 12))
    values = st.lists(
        st.integers(-3, 3).map(float) | st.floats(-5, 5, width=16), min_size=pairs, max_size=pairs
    )
    gold, predicted = (np.array(data.draw(values)) for _ in range(2))
    places = st.lists(st.integers(0, pairs - 1), min_size=pairs, max_size=pairs)
    drawn = np.array(data.draw(places))
    found = ResampledCorrelations(gold, {"x": predicted}, {})(drawn[None])
    pearson, spearman = found[:, 0]
    expected = correlation(gold[drawn], predicted[drawn])
    if expected is None:
        assert np.isnan(spearman)
        return
    assert spearman == pytest.approx(expected["spearman"], abs=1e-9)
    if np.ptp(gold[drawn]) > 1e-3 and np.ptp(predicted[drawn]) > 1e-3:
        assert pearson == pytest.approx(expected["pearson"], abs=1e-6)


def test_estimates_leave_out_what_says_nothing():
    """A constant prediction, an almost constant one, and constant gold scores have no estimate; the
    others keep theirs.
    """
    gold, base, _ = draw(np.random.default_rng(5), 40)
    lone = np.zeros(40)
    lone[3] = 1.0
    scores = {"base": base, "constant": np.ones(40), "lone": lone}
    differences = {"gain": ("base", "constant"), "other": ("base", "lone")}
    bootstrap = Bootstrap(200, 0.95, 0)
    found = estimates(gold, scores, differences, bootstrap)
    assert set(found) == {"base"}
    assert found["base"].spearman.value == stats.spearmanr(gold, base)[0]
    pearson = found["base"].pearson
    assert pearson.low < stats.pearsonr(gold, base)[0] < pearson.high
    assert estimates(np.ones(40), scores, differences, bootstrap) == {}


def test_williams_keeps_its_level():
    """Where there is no difference, 5 % of the samples are called significant (Monte Carlo, 2,000
    samples).
    """
    generator = np.random.default_rng(0)
    rejected = 0
    for _ in range(2000):
        r = np.corrcoef(draw(generator, 80))
        rejected += williams(r[0, 1], r[0, 2], r[1, 2], 80).p < 0.05
    assert rejected / 2000 == pytest.approx(0.05, abs=0.015)


def test_bootstrap_covers():
    """95 % intervals of the difference hold the truth (zero) about 95 times in a hundred (Monte
    Carlo, 200 samples).
    """
    generator = np.random.default_rng(1)
    held = 0
    for number in range(200):
        found = of_models(*draw(generator, 100), Bootstrap(400, 0.95, number))["gain"].spearman
        held += found.low <= 0 <= found.high
    assert 0.90 <= held / 200 <= 0.99


def test_a_real_difference():
    """It is found; the intervals hold SciPy's point values; the seed decides."""
    gold, base, finetuned = draw(np.random.default_rng(2), 300, noise1=1.0, noise2=0.3)
    found = of_models(gold, base, finetuned, Bootstrap(1000, 0.95, 3))
    spearman = found["base"].spearman
    assert spearman.low < stats.spearmanr(gold, base)[0] < spearman.high
    assert found["gain"].spearman.low > 0
    test = compare_correlations(gold, finetuned, base)["spearman"]
    assert test.p < 1e-4
    assert test.statistic > 0
    assert found == of_models(gold, base, finetuned, Bootstrap(1000, 0.95, 3))
    assert found != of_models(gold, base, finetuned, Bootstrap(1000, 0.95, 4))


def test_no_difference_at_all():
    """Two models with the same predictions: an interval of zero width, and p = 1."""
    gold, base, _ = draw(np.random.default_rng(4), 50)
    found = of_models(gold, base, base.copy(), Bootstrap(200, 0.95, 0))["gain"].spearman
    assert found.low == found.high == 0
    assert compare_correlations(gold, base, base.copy())["spearman"] == statistics.Test(0.0, 1.0)


def test_settings():
    """They are those of params.yaml."""
    changed = tiny_params().compare.model_dump() | {"resamples": 123, "confidence": 0.9, "seed": 7}
    assert Bootstrap.of(params.CompareParams(**changed)) == Bootstrap(123, 0.9, 7)
