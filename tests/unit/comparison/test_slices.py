"""Parts of a split."""

from dataclasses import replace

import numpy as np
import pytest

from splade_sts.comparison.slices import MINIMUM_SLICE, slices
from splade_sts.data.pairs import Pairs

PAIRS = Pairs(
    ["a", "a " * 8, "a " * 9, "a " * 16, "a " * 17, "!"],
    ["b"] * 6,
    np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
)
OVERLAP = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 0.24])


def places(pairs: Pairs) -> dict[str, list[list[str]]]:
    """By each way of cutting: the slices that each pair is in."""
    found: dict[str, list[list[str]]] = {}
    for members in slices(pairs, OVERLAP):
        lists = found.setdefault(members.by, [[] for _ in range(len(pairs))])
        for row in np.flatnonzero(members.chosen):
            lists[row].append(members.name)
    return found


def test_every_pair_is_in_one_slice():
    """Bounds belong to the upper band, the last band is closed, and no pair falls out."""
    assert places(PAIRS) == {
        "gold": [["0-20"], ["20-40"], ["40-60"], ["60-80"], ["80-100"], ["80-100"]],
        "length": [["1-8"], ["1-8"], ["9-16"], ["9-16"], ["17+"], ["1-8"]],
        "overlap": [["0-25"], ["25-50"], ["50-75"], ["75-100"], ["75-100"], ["0-25"]],
    }
    genres = places(replace(PAIRS, genre=["x", "y"] * 3))["genre"]
    assert genres == [["x"], ["y"]] * 3


def test_the_smallest_slice_means_something():
    """The numbers behind the rule: the interval of a difference of two correlations of 0.3, of
    scores that correlate with 0.6, by formula and by simulation.
    """
    r, q = 0.3, 0.6
    spread = np.sqrt(2 * (1 - r**2) ** 2 - 2 * q * (1 - 2 * r**2) + r**2 * (1 - 2 * r**2 - q**2))
    assert spread == pytest.approx(0.84, abs=0.005)
    root = np.sqrt(MINIMUM_SLICE)
    assert 1.96 * spread / root == pytest.approx(0.17, abs=0.005)
    assert 2.9 * spread / root == pytest.approx(0.24, abs=0.01)
    generator = np.random.default_rng(0)
    matrix = [[1, r, r], [r, 1, q], [r, q, 1]]
    drawn = generator.multivariate_normal(np.zeros(3), matrix, size=(4000, MINIMUM_SLICE))
    found = [np.corrcoef(sample.T) for sample in drawn]
    assert np.std([one[0, 1] - one[0, 2] for one in found]) * root == pytest.approx(
        spread, rel=0.05
    )
