"""The terms that two sentences share, and what each adds to their cosine."""

import torch
from sentence_transformers import SparseEncoder
from torch import Tensor


def shared_terms(
    model: SparseEncoder, first: Tensor, second: Tensor
) -> list[list[tuple[str, float]]]:
    """Terms active in both sentences of each pair with their shares of the cosine.

    The share of term j is x_j y_j / (|x| |y|): the shares of a pair sum to its cosine.

    Args:
        model: whose vocabulary names the terms.
        first: vectors of the first sentences, coalesced sparse float32 (pairs, vocabulary).
        second: those of the second sentences.

    Returns:
        For each pair its terms, largest share first, ties in vocabulary order.
    """
    norms = [torch.sparse.sum(side * side, dim=1).to_dense().sqrt() for side in (first, second)]
    product = (first * second).coalesce()
    (rows, columns), values = product.indices(), product.values()
    shares = values / (norms[0] * norms[1])[rows]
    tokens = model.tokenizer.convert_ids_to_tokens(columns.tolist())
    entries = sorted(zip(rows.tolist(), (-shares).tolist(), columns.tolist(), tokens, strict=True))
    found: list[list[tuple[str, float]]] = [[] for _ in range(first.shape[0])]
    for row, negative, _, token in entries:
        if negative < 0:
            found[row].append((token, -negative))
    return found
