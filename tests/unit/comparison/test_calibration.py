"""Errors, biases, reliability and recalibration of cosines."""

import numpy as np
import pytest
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from splade_sts.comparison.calibration import (
    calibration,
    isotonic,
    linear,
    mean_estimates,
    recalibration,
    reliability,
)
from splade_sts.comparison.statistics import Bootstrap

BOOTSTRAP = Bootstrap(1000, 0.9, 3)


def scores(pairs: int = 300, seed: int = 0):
    """Gold scores in [0, 1] and a noisy view of them."""
    generator = np.random.default_rng(seed)
    gold = np.round(generator.uniform(size=pairs), 2)
    return gold, np.clip(gold + 0.2 * generator.normal(size=pairs), 0, 1)


def test_means_are_those_of_scipy():
    """The same resamples give SciPy's BCa and percentile bounds."""
    values = np.random.default_rng(1).exponential(size=80)
    found = mean_estimates({"x": values, "constant": np.full(80, 2.0)}, BOOTSTRAP)
    ends = {"BCa": ("low", "high"), "percentile": ("percentile_low", "percentile_high")}
    for method, names in ends.items():
        expected = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=1000,
            confidence_level=0.9,
            method=method,
            batch=256,
            rng=np.random.default_rng(3),
        )
        bounds = [getattr(found["x"], name) for name in names]
        assert bounds == pytest.approx(list(expected.confidence_interval), abs=1e-12)
    assert found["x"].value == values.mean()
    constant = found["constant"]
    assert (constant.low, constant.value, constant.high) == (2, 2, 2)


def test_errors_and_their_differences():
    """Mean squared errors and biases are what they are called; a shifted model is worse, by its
    shift squared, and its bias is the shift in every band.
    """
    gold, good = scores()
    found = calibration(gold, {"base": gold + 0.3, "finetuned": good, "dense": good}, BOOTSTRAP)
    base, finetuned, dense = found.models
    assert base.squared_error.value == pytest.approx(0.09)
    assert base.bias.value == pytest.approx(0.3)
    assert finetuned.squared_error.value == pytest.approx(np.mean((good - gold) ** 2))
    assert finetuned.finetuned_minus is None
    assert base.finetuned_minus.value == pytest.approx(np.mean((good - gold) ** 2) - 0.09)
    assert base.finetuned_minus.high < 0
    same = dense.finetuned_minus
    assert (same.low, same.value, same.high) == (0, 0, 0)
    assert [band.band for band in found.bands] == ["0-20", "20-40", "40-60", "60-80", "80-100"]
    assert sum(band.pairs for band in found.bands) == 300
    for band in found.bands:
        assert band.bias["base"].value == pytest.approx(0.3)
    low, high = found.bands[0].bias["finetuned"], found.bands[-1].bias["finetuned"]
    assert low.low > 0 > high.high  # cut off at 0 and 1


def test_small_bands_say_nothing():
    """Fewer than ten pairs, or none: no numbers, and no warning of a mean of nothing."""
    gold = np.repeat([0.1, 0.5, 0.9], [15, 9, 15])
    found = calibration(gold, {"base": gold, "finetuned": 1 - gold}, BOOTSTRAP)
    assert [band.pairs for band in found.bands] == [15, 0, 9, 0, 15]
    assert [sorted(band.bias) for band in found.bands] == [
        ["base", "finetuned"],
        *([], [], []),
        ["base", "finetuned"],
    ]


def test_reliability():
    """Ten bins of equal size; a model that is right on average lies on the diagonal, one that is
    too sure does not.
    """
    generator = np.random.default_rng(2)
    right = generator.uniform(size=5000)
    gold = np.clip(right + 0.1 * generator.normal(size=5000), 0, 1)
    curve = reliability(gold, right, 0.999)
    assert [one.pairs for one in curve] == [500] * 10
    for one in curve[3:-3]:  # where no noise is cut off
        assert one.low <= one.cosine <= one.high
    sure = reliability(gold, np.clip(0.5 + 2 * (right - 0.5), 0, 1), 0.999)
    assert not any(one.low <= one.cosine <= one.high for one in (sure[1], sure[-2]))
    assert sum(one.pairs for one in sure) == 5000
    assert sure[0].pairs > 1000  # all zeros are in one bin


@pytest.mark.parametrize(("pairs", "bins"), [(10, 1), (19, 1), (20, 2), (99, 9), (137, 10)])
def test_bins_of_few_pairs(pairs, bins):
    """No bin of fewer than ten pairs, and all pairs in one."""
    curve = reliability(*scores(pairs), 0.95)
    assert len(curve) == bins
    assert sum(one.pairs for one in curve) == pairs
    assert min(one.pairs for one in curve) >= 10


def test_ties_leave_no_bin_too_small():
    """One value that fills almost two bins: the rest of the second one is not a bin."""
    cosine = np.sort(np.concatenate([np.linspace(0, 0.4, 15), np.full(24, 0.5), np.ones(61)]))
    curve = reliability(np.linspace(0, 1, 100), cosine, 0.95)
    assert [one.pairs for one in curve] == [10, 29, 61]
    assert all(np.isfinite([one.low, one.high]).all() for one in curve)


def test_isotonic_is_that_of_scikit_learn():
    """With ties, between the cosines that it was fitted on, and beyond them."""
    gold, cosine = scores(120)
    cosine = np.round(cosine, 1)
    expected = IsotonicRegression(out_of_bounds="clip").fit(cosine, gold)
    values = np.linspace(-0.5, 1.5, 77)
    assert isotonic(cosine, gold)(values) == pytest.approx(expected.predict(values))


def test_what_is_a_matter_of_scale():
    """A model that is another one stretched and shifted is as good with its line; the raw error
    says otherwise. The maps see nothing of test.
    """
    validation, test = scores(400, seed=1), scores(500, seed=2)
    views = [{"finetuned": cosine, "base": 0.4 * cosine + 0.5} for _, cosine in (validation, test)]
    finetuned, base = recalibration((validation[0], views[0]), (test[0], views[1]), BOOTSTRAP)
    assert (finetuned.name, base.name) == ("finetuned", "base")
    assert base.plain.value > 2 * finetuned.plain.value
    assert base.linear.value == pytest.approx(finetuned.linear.value)
    assert base.isotonic.value == pytest.approx(finetuned.isotonic.value)
    assert finetuned.finetuned_minus is None
    assert base.finetuned_minus.value == pytest.approx(0, abs=1e-12)
    line = np.polyfit(validation[1], validation[0], 1)
    assert linear(validation[1], validation[0])(test[1]) == pytest.approx(np.polyval(line, test[1]))
    expected = np.mean((np.polyval(line, test[1]) - test[0]) ** 2)
    assert finetuned.linear.value == pytest.approx(expected)
