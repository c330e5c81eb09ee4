"""Parts of a split: by gold score, length, overlap and genre."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splade_sts.data.pairs import Pairs
from splade_sts.text import words

# Fewest pairs of a part of a split of which correlations are compared. The difference of two
# correlations r with the same gold scores, of scores that correlate with q, has the standard
# deviation σ / √n with σ² = 2 (1 - r²)² - 2 q (1 - 2 r²) + r² (1 - 2 r² - q²) (from the covariance
# of two correlations that share a variable; Steiger 1980, "Tests for comparing elements of a
# correlation matrix"). In the bands of gold scores of the STS benchmark's test split σ is largest
# with r = 0.3 and q = 0.6: 0.84. With 100 pairs the interval of one difference is then ± 0.17, and
# as one of twelve that hold together (2.9 σ / √n) ± 0.24. With fewer, the loss of half of a
# correlation of 0.5 could not be told from chance.
MINIMUM_SLICE = 100
# In percent of the range; a band holds its lower edge, the last one both.
GOLD_BANDS = ((0, 20), (20, 40), (40, 60), (60, 80), (80, 100))
OVERLAP_BANDS = ((0, 25), (25, 50), (50, 75), (75, 100))
# In words; a band holds both edges.
LENGTH_BANDS = ((0, 8, "1-8"), (9, 16, "9-16"), (17, None, "17+"))


@dataclass(frozen=True, eq=False)
class Members:
    """The pairs of the slice `name` among those `by` something: `chosen`, bool (pairs,)."""

    by: str
    name: str
    chosen: NDArray[np.bool_]


def slices(pairs: Pairs, overlap: NDArray[np.float64]) -> Iterator[Members]:
    """Cut `pairs` in each way, in the order of the bands; every pair belongs to one slice of each
    way.

    Args:
        pairs: the pairs of a split.
        overlap: Jaccard index of the words of each pair, in [0, 1]: (pairs,).
    """
    yield from gold_bands(pairs.score)
    sides = zip(pairs.sentence1, pairs.sentence2, strict=True)
    longest = np.array([max(len(words(first)), len(words(second))) for first, second in sides])
    for low, high, name in LENGTH_BANDS:
        yield Members("length", name, (longest >= low) & (longest <= (high or np.inf)))
    yield from _percent("overlap", overlap, OVERLAP_BANDS)
    if pairs.genre is not None:
        genres = np.array(pairs.genre)
        for name in sorted(set(pairs.genre)):
            yield Members("genre", name, genres == name)


def gold_bands(score: NDArray[np.float64]) -> Iterator[Members]:
    """The slices by gold score, (pairs,) in [0, 1]."""
    yield from _percent("gold", score, GOLD_BANDS)


def _percent(
    by: str, values: NDArray[np.float64], bands: tuple[tuple[int, int], ...]
) -> Iterator[Members]:
    last = bands[-1]
    for band in bands:
        low, high = band
        below = np.full(len(values), True) if band == last else values < high / 100
        yield Members(by, f"{low}-{high}", (values >= low / 100) & below)
