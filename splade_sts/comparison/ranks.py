"""Average ranks of a variable in many resamples at once."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST_STEPS = 64  # of a running sum within a block: with more, a step is less than the call for it


class Ranks:
    """Average ranks of a variable in resamples, without sorting the resamples.

    A resample is a count for every pair. With the pairs in order of the variable, a running sum of
    the counts is the number of drawn values that are not larger; tied values share the middle of
    their places.

    The resamples stand beside each other, so that all that is done for a pair is done for a row of
    them: copied, or added to another one. For the running sum, the order is cut into `blocks` of
    `steps` places. Row s * blocks + b holds place s of block b: one addition takes all blocks a
    step further. Places that hold no pair are put in front, one at least.

    Attributes:
        pair: the pair in each row, (rows,); the number of pairs where it holds none.
        row: the row of each pair, (pairs,).
    """

    def __init__(self, values: Array):
        pairs = len(values)
        self.steps = min(MOST_STEPS, math.isqrt(pairs) + 1)
        self.blocks = pairs // self.steps + 1
        places = self.steps * self.blocks
        empty = places - pairs
        order = np.argsort(values, kind="stable")
        inverse = np.empty_like(order)
        inverse[order] = np.arange(pairs)
        ordered = values[order]
        last, first = (np.searchsorted(ordered, ordered, side) for side in ("right", "left"))
        at = np.arange(places)
        row = at % self.steps * self.blocks + at // self.steps
        place = at.reshape(self.blocks, self.steps).T.ravel()  # of each row
        front = np.zeros(empty, dtype=np.intp)
        self.pair = np.concatenate([front + pairs, order])[place]
        self.row = row[empty + inverse]
        # the last place of the values tied with it, and the place before the first of them
        self._upto = row[np.concatenate([front, empty + last - 1])[place]]
        self._below = row[np.concatenate([front, empty + first - 1])[place]]

    def of(self, counts: Array) -> tuple[Array, Array]:
        """How often the pair in each row is drawn, and its rank less the mean of all ranks.

        Args:
            counts: how often each pair is drawn, and zeros: (pairs + 1, resamples).

        Returns:
            (rows, resamples) each. What stands where no pair is drawn is of no use.
        """
        copies = counts.take(self.pair, axis=0)
        sums = copies.copy()
        for before, after in itertools.pairwise(sums.reshape(self.steps, -1)):
            after += before
        by_step = sums.reshape(self.steps, self.blocks, -1)
        so_far = np.cumsum(by_step[-1], axis=0)
        by_step[:, 1:] += so_far[:-1]
        ranks = sums.take(self._upto, axis=0)
        ranks += sums.take(self._below, axis=0)
        ranks -= so_far[-1]
        ranks /= 2
        return copies, ranks

    def inner(self, one: Array, other: Array) -> Array:
        """Inner products over the rows: (rows, resamples) twice -> (resamples,).

        Ranks are multiples of 1/2. So such sums of products of two ranks are exact, in any order,
        up to 10⁵ pairs.
        """
        shape = (self.steps, -1)
        sums = np.einsum("sr,sr->r", one.reshape(shape), other.reshape(shape))
        found: Array = sums.reshape(self.blocks, -1).sum(axis=0)
        return found


def beside_each_other(counts: NDArray[np.float64 | np.bool_]) -> Array:
    """Counts of pairs as `Ranks.of` takes them: (resamples, pairs) -> (pairs + 1, resamples)."""
    resamples, pairs = counts.shape
    found = np.zeros((pairs + 1, resamples))
    found[:pairs] = counts.T
    return found
