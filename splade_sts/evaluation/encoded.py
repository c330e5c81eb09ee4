"""The sparse vectors of an evaluation, kept for what else is asked of them: retrieval, cost."""

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from sentence_transformers import SparseEncoder

# A posting of an inverted index as it is counted here: the document's number (32 bits) and the weight (float32), as they
# are, without the compression that real engines add.
POSTING_BYTES = 4 + 4


class Vectors:
    """Vectors of sentences, each float32 (vocabulary,); `seconds` is how long it took to encode `encoded`."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, int]] = {}
        self.blocks: list[sparse.csr_array] = []
        self.encoded: list[str] = []
        self.seconds = 0.0

    def add(self, sentences: list[str], vectors: torch.Tensor, seconds: float = 0.0) -> None:
        """Keep `vectors`, a sparse tensor with a row for each of `sentences`, which took `seconds` to encode."""
        vectors = vectors.coalesce().cpu()
        entries = (vectors.values().float().numpy(), tuple(vectors.indices().numpy()))
        self.blocks.append(sparse.csr_array(entries, shape=tuple(vectors.shape)))
        self.rows |= {sentence: (len(self.blocks) - 1, row) for row, sentence in enumerate(sentences)}
        self.encoded += sentences
        self.seconds += seconds

    def matrix(self, sentences: list[str]) -> sparse.csr_array:
        """Their vectors as rows."""
        starts = np.cumsum([0, *(block.shape[0] for block in self.blocks)])
        stacked = sparse.vstack(self.blocks, format="csr")
        return stacked[[starts[block] + row for block, row in (self.rows[sentence] for sentence in sentences)]]

    def of(self, sentences: list[str]) -> torch.Tensor:
        """Their vectors as a sparse tensor (sentences, vocabulary)."""
        matrix = self.matrix(sentences).tocoo()
        indices = torch.from_numpy(np.stack(matrix.coords).astype(np.int64))
        return torch.sparse_coo_tensor(indices, torch.from_numpy(matrix.data), matrix.shape).coalesce()


def cost(pairs: pd.DataFrame, vectors: Vectors) -> dict[str, float]:
    """What storing and scoring the sentences of `pairs` costs.

    Returns:
        `flops`: expected number of multiplications for the score of a pair, sum_j p_j q_j, where p_j and q_j are the
        shares of first and second sentences with entry j active (Paria et al. 2020, "Minimizing FLOPs to Learn Efficient
        Sparse Representations", section 3; SPLADE, Formal et al. 2021, section 4); `index_bytes`: mean bytes of a sentence
        in an inverted index, `POSTING_BYTES` for each active entry.
    """
    matrices = [vectors.matrix(pairs[column].tolist()) for column in ("sentence1", "sentence2")]
    first, second = ((matrix != 0).sum(axis=0) / matrix.shape[0] for matrix in matrices)
    active = sum(matrix.count_nonzero() for matrix in matrices) / (2 * len(pairs))
    return {"flops": float(first @ second), "index_bytes": float(POSTING_BYTES * active)}


def tokens_per_second(model: SparseEncoder, vectors: Vectors) -> float:
    """Tokens of the encoded sentences, special ones included and cut at the model's longest input, by the seconds it took."""
    tokens = model.tokenizer(vectors.encoded, truncation=True, max_length=model.max_seq_length)["input_ids"]
    return sum(map(len, tokens)) / vectors.seconds
