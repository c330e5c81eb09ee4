"""What hangs together by links, one over another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def groups_of(
    nodes: Sequence[int], links: tuple[Sequence[int], Sequence[int]], size: int
) -> NDArray[np.int64]:
    """The connected component in which each of `nodes` is, int64 (nodes,), numbered from 0 without
    gaps.

    Args:
        nodes: the nodes that are asked for.
        links: both ends of each link.
        size: number of all nodes.
    """
    graph = coo_array((np.ones(len(links[0])), links), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    _, group = np.unique(component[nodes], return_inverse=True)
    return group.astype(np.int64)
