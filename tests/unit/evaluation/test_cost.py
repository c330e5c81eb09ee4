"""What storing and scoring costs."""

import numpy as np
import torch

from splade_sts.data.pairs import Pairs
from splade_sts.evaluation.cost import cost
from splade_sts.evaluation.encoded import EncodedSentences
from splade_sts.evaluation.results import Cost


def test_by_hand():
    """Shares of active entries, multiplied and summed; 8 bytes for each active entry."""
    vectors = torch.tensor([[1.0, 0, 2], [0.0, 3, 0], [1.0, 1, 1]]).to_sparse()
    encoded = EncodedSentences(["a", "b", "c"], vectors, 0.0)
    pairs = Pairs(["a", "b"], ["b", "c"], np.array([0.0, 0.5]))
    # first sentences a, b: shares 1/2, 1/2, 1/2; second b, c: 1/2, 1, 1/2
    expected = Cost(flops=0.25 + 0.5 + 0.25, index_bytes=8 * (2 + 1 + 1 + 3) / 4)
    assert cost(pairs, encoded) == expected
