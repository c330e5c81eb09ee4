"""Intervals, against SciPy's own and by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from splade_sts import params
from splade_sts.comparison.statistics import (
    GAIN,
    Bootstrap,
    ResampledCorrelations,
    Sample,
    correlation,
    counted,
    estimates,
    monte_carlo_error,
    two_samples,
)
from tests.support.tiny import tiny_params


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
    found = ResampledCorrelations(gold, {"x": predicted}, {}).of_counts(counted(drawn[None], pairs))
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
    assert found == of_models(gold, base, finetuned, Bootstrap(1000, 0.95, 3))
    assert found != of_models(gold, base, finetuned, Bootstrap(1000, 0.95, 4))


def test_no_difference_at_all():
    """Two models with the same predictions: an interval of zero width, which is no BCa interval."""
    gold, base, _ = draw(np.random.default_rng(4), 50)
    found = of_models(gold, base, base.copy(), Bootstrap(200, 0.95, 0))
    gain = found["gain"].spearman
    assert (gain.low, gain.high, gain.error, gain.method) == (0, 0, 0, "percentile")
    assert found["base"].spearman.method == "bca"


def test_monte_carlo_error():
    """The ends of an interval differ between seeds as much as is said."""
    gold, base, finetuned = draw(np.random.default_rng(6), 200)
    found = [
        of_models(gold, base, finetuned, Bootstrap(500, 0.95, seed))["gain"].spearman
        for seed in range(60)
    ]
    said = found[0].error
    for end in ("low", "high"):
        assert np.std([getattr(one, end) for one in found]) == pytest.approx(said, rel=0.35)
    halved = monte_carlo_error(1.0, Bootstrap(400, 0.95, 0))
    assert monte_carlo_error(1.0, Bootstrap(100, 0.95, 0)) == pytest.approx(2 * halved)


def test_two_samples_by_themselves():
    """Each has its own values; the difference of the gains is theirs, and its interval is that of
    independent samples: its width is the root of the sum of squares.
    """
    generator = np.random.default_rng(8)
    first = Sample(*draw(generator, 300, noise1=1.0, noise2=0.3))
    second = Sample(*draw(generator, 500))
    one, other, difference = two_samples(first, second, Bootstrap(2000, 0.95, 0))
    for sample, found in ((first, one), (second, other)):
        alone = of_models(sample.gold, sample.base, sample.finetuned, Bootstrap(2000, 0.95, 1))
        for name, both in alone.items():
            assert found[name].spearman.value == both.spearman.value
            assert found[name].spearman.low == pytest.approx(both.spearman.low, abs=0.01)
    expected = one["gain"].spearman.value - other["gain"].spearman.value
    assert difference.spearman.value == expected
    assert difference.spearman.low > 0
    widths = [
        found.spearman.percentile_high - found.spearman.percentile_low
        for found in (one["gain"], other["gain"], difference)
    ]
    assert np.hypot(*widths[:2]) == pytest.approx(widths[2], rel=0.1)
    assert difference.pearson.value == one["gain"].pearson.value - other["gain"].pearson.value


def test_two_samples_of_which_one_says_nothing():
    """No difference where a part's scores do not vary; the other part keeps its values."""
    good = Sample(*draw(np.random.default_rng(9), 60))
    flat = Sample(np.ones(60), good.base, good.finetuned)
    lone = Sample(np.eye(60)[0], good.base, good.finetuned)
    bootstrap = Bootstrap(200, 0.95, 0)
    for bad in (flat, lone):
        one, other, difference = two_samples(bad, good, bootstrap)
        assert (one, difference) == ({}, None)
        assert set(other) == {"base", "finetuned", "gain"}
    alone = estimates(good.gold, good.predictions, GAIN, bootstrap)
    assert two_samples(flat, good, bootstrap)[1] == alone


def test_settings():
    """They are those of params.yaml."""
    changed = tiny_params().compare.model_dump() | {"resamples": 123, "confidence": 0.9, "seed": 7}
    assert Bootstrap.of(params.CompareParams(**changed)) == Bootstrap(123, 0.9, 7)
