"""What storing and scoring the sentences of a split costs."""

import numpy as np

from splade_sts.data.pairs import Pairs
from splade_sts.evaluation.encoded import EncodedSentences
from splade_sts.evaluation.results import POSTING_BYTES, Cost


def cost(pairs: Pairs, encoded: EncodedSentences) -> Cost:
    """Expected multiplications for the score of a pair, and mean bytes of a sentence in an index.

    The first is sum_j p_j q_j, where p_j and q_j are the shares of first and second sentences with
    entry j active (Paria et al. 2020, "Minimizing FLOPs to Learn Efficient Sparse Representations",
    section 3; SPLADE, Formal et al. 2021, section 4); the second is `POSTING_BYTES` for each active
    entry.
    """
    matrices = [encoded.matrix(side) for side in (pairs.sentence1, pairs.sentence2)]
    # Counts are whole numbers, so that their product has the same digits on every machine.
    first, second = (np.asarray((matrix != 0).sum(axis=0), dtype=np.int64) for matrix in matrices)
    sentences = matrices[0].shape[0] * matrices[1].shape[0]
    active = sum(matrix.count_nonzero() for matrix in matrices) / (2 * len(pairs))
    return Cost(flops=int(first @ second) / sentences, index_bytes=float(POSTING_BYTES * active))
