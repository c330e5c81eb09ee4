"""How many digits a number carries."""

from dataclasses import replace

import pytest

from splade_sts.comparison.randomisation import Test as Result
from splade_sts.comparison.statistics import Estimate
from splade_sts.report import names


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (0.0, 4),
        (1e-9, 4),
        (0.00004, 4),
        (0.00029, 3),
        (0.0005, 3),
        (0.00051, 2),
        (0.003, 2),
        (0.2, 1),
    ],
)
def test_decimals(error, expected):
    """Half a unit of the last one is at least the error."""
    assert names.decimals(error) == expected
    assert expected == 4 or 0.5 * 10 ** -(expected + 1) < error
    assert expected == 1 or 0.5 * 10**-expected >= error


def test_ends():
    """With the digits of their error, signed where it is a change; marked where it is no BCa."""
    found = Estimate(0.0548, 0.03847, 0.07224, 0.038, 0.071, method="bca", error=0.0003)
    assert names.ends(found) == ("0.038", "0.072")
    assert names.ends(replace(found, low=-0.1, error=0.003), "+") == ("-0.10", "+0.07")
    assert names.mark(found) == ""
    assert names.mark(replace(found, method="percentile")) == " †"


@pytest.mark.parametrize(
    ("p", "resamples", "expected"),
    [
        (1 / 10001, 10000, "p ≤ 0.0001"),
        (1 / 201, 200, "p ≤ 0.005"),
        (2 / 10001, 10000, "p = 0.0002"),
        (13 / 10001, 10000, "p = 0.001"),
        (0.0312, 10000, "p = 0.03"),
        (0.4987, 10000, "p = 0.50"),
        (0.4987, 100, "p = 0.5"),
        (1.0, 100, "p = 1"),
    ],
)
def test_p_value(p, resamples, expected):
    """No p below what the resamples can say, and no digits that they do not carry."""
    assert names.p_value(Result(p, resamples)) == expected
