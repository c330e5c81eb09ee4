"""What fewer active dims and 8-bit weights of `python -m splade_sts encode` lose, on validation.

python -m benchmarks.weights --json docs/results/apply/weights.json
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse, stats
from sentence_transformers.util import select_max_active_dims

from benchmarks.common import machine, read_pairs, report, write
from splade_sts import layout
from splade_sts.apply.formats import HUNDREDTHS, Vectors
from splade_sts.data.pairs import Pairs
from splade_sts.evaluation.encoded import encode
from splade_sts.model.encoder import load_encoder
from splade_sts.model.head.swap import fused

PART = 256  # vectors that are dense at once


def with_dims(matrix: sparse.csr_array, dims: int | None) -> sparse.csr_array:
    """The `dims` largest weights of each vector, as the library chooses them."""
    if dims is None:
        return matrix
    parts = []
    for start in range(0, matrix.shape[0], PART):
        dense = torch.from_numpy(matrix[start : start + PART].toarray())
        parts.append(sparse.csr_array(select_max_active_dims(dense, dims).numpy()))
    return sparse.vstack(parts, format="csr")


def in_8_bits(matrix: sparse.csr_array) -> sparse.csr_array:
    """Weights as `--weights uint8` writes them."""
    vectors = Vectors(matrix.indptr.astype(np.int64), matrix.indices, matrix.data)
    rounded, _ = vectors.in_8_bits()
    return sparse.csr_array(
        (rounded.weights(), rounded.indices, rounded.starts), shape=matrix.shape
    )


def in_hundredths(matrix: sparse.csr_array) -> sparse.csr_array:
    """Weights as the format of Anserini has them."""
    found = matrix.copy()
    found.data = np.rint(found.data * HUNDREDTHS)
    found.eliminate_zeros()
    return found


def cosines(first: sparse.csr_array, second: sparse.csr_array) -> Any:
    """Of the rows of both; 0 where a vector has no entries."""
    products = np.asarray((first * second).sum(axis=1), dtype=np.float64)
    norms = [np.sqrt(np.asarray((side * side).sum(axis=1), np.float64)) for side in (first, second)]
    return products / np.maximum(norms[0] * norms[1], np.finfo(np.float64).tiny)


def measure(pairs: Pairs, folder: Path, dims: list[int]) -> list[dict[str, Any]]:
    """A row for each number of dims and kind of weights."""
    model = load_encoder(folder)
    with fused(model):
        encoded = encode(model, pairs.sentences, 32)
    sides = [encoded.matrix(side) for side in (pairs.sentence1, pairs.sentence2)]
    kinds = {"float32": lambda matrix: matrix, "uint8": in_8_bits, "hundredths": in_hundredths}
    rows: list[dict[str, Any]] = []
    for kept in (None, *dims):
        cut = [with_dims(side, kept) for side in sides]
        for name, change in kinds.items():
            first, second = map(change, cut)
            spearman = stats.spearmanr(cosines(first, second), pairs.score).statistic
            rows.append(
                {
                    "max_active_dims": "all" if kept is None else kept,
                    "weights": name,
                    "spearman": float(spearman),
                    "loss": rows[0]["spearman"] - float(spearman) if rows else 0.0,
                    "active_dims": (first.count_nonzero() + second.count_nonzero())
                    / (2 * len(pairs)),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=Path(), help="a project that has run (.)")
    parser.add_argument("--dims", type=int, nargs="*", default=[64, 48, 32, 24, 16, 8])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    pairs = read_pairs(arguments.workspace, "validation")
    rows = measure(pairs, arguments.workspace / layout.model("finetuned"), arguments.dims)
    report("weights", rows, None)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        write(arguments.json, {"machine": machine(), "pairs": len(pairs), "rows": rows})


if __name__ == "__main__":
    main()
