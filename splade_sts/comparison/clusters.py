"""Pairs that share sentences, as clusters that are drawn together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splade_sts.data.linked import groups_of
from splade_sts.data.pairs import Pairs

# Fewest effective clusters of which an interval is to be trusted. With unequal clusters, tests at
# 5 % from 50 of them reject too often (MacKinnon & Webb 2017, "Wild Bootstrap Inference for Wildly
# Different Cluster Sizes"); where "few" ends is between 20 and 50 (Cameron & Miller 2015, "A
# Practitioner's Guide to Cluster-Robust Inference").
ENOUGH = 30


@dataclass(frozen=True)
class Clusters:
    """How the pairs of a split hang together.

    Attributes:
        number: clusters.
        largest: pairs of the largest one.
        effective: as many clusters of equal size would give the mean over pairs the same variance,
            if pairs of a cluster were all alike: (Σ n)² / Σ n² of their sizes n.
    """

    number: int
    largest: int
    effective: float

    @classmethod
    def of(cls, cluster: NDArray[np.int64]) -> "Clusters":
        """Of the number of each pair's cluster."""
        sizes = np.bincount(cluster)
        return cls(len(sizes), int(sizes.max()), float(sizes.sum() ** 2 / np.sum(sizes**2)))

    @property
    def enough(self) -> bool:
        """Whether an interval from resampled clusters is to be trusted."""
        return self.effective >= ENOUGH


def cluster_of(pairs: Pairs) -> NDArray[np.int64]:
    """The number of each pair's cluster, from 0: (pairs,).

    Two pairs are in one cluster where they share a sentence (`pairs.sentence_key`), or where a
    chain of pairs leads from one to the other in which every two neighbours do.
    """
    first, second = pairs.sentence_keys
    numbers: dict[str, int] = {}
    rows, columns = (
        [numbers.setdefault(key, len(numbers)) for key in side] for side in (first, second)
    )
    return groups_of(rows, (rows, columns), len(numbers))
