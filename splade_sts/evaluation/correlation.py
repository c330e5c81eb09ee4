"""Evaluation of a sparse encoder on sentence pairs, with the library's definitions."""

import math
import time

import pandas as pd
import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.evaluation import SparseEmbeddingSimilarityEvaluator
from sentence_transformers.util import pairwise_cos_sim

from splade_sts.model.encoder import encode_distinct
from splade_sts.errors import UserError
from splade_sts.model.head.cpu import fused
from splade_sts.evaluation.encoded import Vectors

METRICS = ("pearson_cosine", "spearman_cosine", "active_dims", "sparsity_ratio")


class PairEvaluator(SparseEmbeddingSimilarityEvaluator):
    """The library's evaluator for cosine similarity, which encodes each distinct sentence once and keeps the embeddings.

    After a call, `embeddings` holds two sparse float32 tensors of shape (pairs, vocabulary); and where `vectors` is given, the
    distinct sentences' vectors have been added to it.
    """

    def __init__(
        self, pairs: pd.DataFrame, name: str, batch_size: int, show_progress_bar: bool = False, vectors: Vectors | None = None
    ):
        super().__init__(
            pairs["sentence1"].tolist(), pairs["sentence2"].tolist(), pairs["score"].tolist(), name=name,
            batch_size=batch_size, main_similarity="cosine", write_csv=False, show_progress_bar=show_progress_bar,
        )
        self.embeddings: list[torch.Tensor] = []
        self.vectors = vectors

    def __call__(self, model: SparseEncoder, *args, **kwargs) -> dict[str, float]:
        sentences, started = [*self.sentences1, *self.sentences2], time.perf_counter()
        vectors, rows = encode_distinct(model, sentences, self.batch_size, show_progress_bar=self.show_progress_bar)
        if self.vectors is not None:
            places = dict(zip(rows.tolist(), sentences, strict=True))
            self.vectors.add([places[row] for row in range(len(vectors))], vectors, time.perf_counter() - started)
        self.embeddings = [vectors.index_select(0, side) for side in rows.split(len(self.sentences1))]
        return super().__call__(model, *args, **kwargs)

    def embed_inputs(self, model: SparseEncoder, sentences: list[str], **kwargs) -> torch.Tensor:
        embeddings = self.embeddings[0 if sentences is self.sentences1 else 1]
        for name, value in model.sparsity(embeddings).items():
            self.sparsity_stats[name].append(value)
        return embeddings


def evaluate_split(
    model: SparseEncoder, pairs: pd.DataFrame, split: str, batch_size: int, min_sparsity_ratio: float,
    precision: str = "fp32", vectors: Vectors | None = None,
) -> tuple[dict[str, float], pd.DataFrame]:
    """Metrics of `model` on `pairs`, and its prediction for each of them.

    The vectors of the sentences are added to `vectors`, where it is given.

    Returns:
        `pearson_cosine`, `spearman_cosine` (in [-1, 1]), `active_dims` (mean number of non-zero dimensions of a
        sentence) and `sparsity_ratio` (1 - active dims / vocabulary); and a table with `sentence1`, `sentence2`,
        `gold`, `predicted` (cosine, float32), `active_dims1`, `active_dims2`, `shared_terms` and `shared_weights`
        (the terms active in both sentences and their shares of the cosine, largest first, which sum to `predicted`).
        The table's `attrs` name the `vocabulary_size`.

    Raises:
        UserError: the model has collapsed (no active dimensions, or scores that do not vary) or exploded
            (non-finite values, or a sparsity ratio below `min_sparsity_ratio`).
    """
    evaluator = PairEvaluator(pairs, split, batch_size, show_progress_bar=True, vectors=vectors)
    with fused(model), torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
        result = evaluator(model)
    metrics = {name: float(result[f"{split}_{name}"]) for name in METRICS}
    first, second = (embedding.coalesce() for embedding in evaluator.embeddings)
    if not all(embedding.values().isfinite().all() for embedding in (first, second)):
        raise UserError(f"{split}: the embeddings hold non-finite values: training diverged; lower train.learning_rate")
    check_collapse(metrics, split)
    check_explosion(metrics, split, min_sparsity_ratio)
    predictions = pd.concat(
        [pairs[["sentence1", "sentence2"]], pairs["score"].rename("gold"), _pair_table(model, first, second)], axis=1
    )
    predictions.attrs["vocabulary_size"] = first.shape[1]
    return metrics, predictions


def score_pairs(model: SparseEncoder, pairs: pd.DataFrame, batch_size: int = 32) -> pd.DataFrame:
    """Score sentence pairs without gold scores.

    Returns:
        `sentence1`, `sentence2` and the columns from `predicted` on that `evaluate_split` describes.
    """
    vectors, rows = encode_distinct(model, [*pairs["sentence1"], *pairs["sentence2"]], batch_size)
    first, second = (vectors.index_select(0, side).coalesce() for side in rows.split(len(pairs)))
    return pd.concat([pairs[["sentence1", "sentence2"]], _pair_table(model, first, second)], axis=1)


def _pair_table(model: SparseEncoder, first: torch.Tensor, second: torch.Tensor) -> pd.DataFrame:
    terms, weights = _shared_terms(model, first, second)
    return pd.DataFrame(
        {
            "predicted": pairwise_cos_sim(first, second).numpy(),
            "active_dims1": _active_dims(first),
            "active_dims2": _active_dims(second),
            "shared_terms": terms,
            "shared_weights": weights,
        }
    )


def check_collapse(metrics: dict[str, float], split: str) -> None:
    """Raise `UserError` where the metrics are those of a model without active dimensions or with constant scores."""
    lower = "lower train.regularizer_weight or train.learning_rate"
    if metrics["active_dims"] == 0:
        raise UserError(f"{split}: the model has collapsed: no dimension is active in any sentence; {lower}")
    for name in ("pearson_cosine", "spearman_cosine"):
        if not math.isfinite(metrics[name]):
            raise UserError(
                f"{split}: {name} is {metrics[name]}: the predicted or the gold scores are all the same "
                f"({metrics['active_dims']:.2f} active dims on average); if the model has collapsed, {lower}"
            )


def check_explosion(metrics: dict[str, float], split: str, min_sparsity_ratio: float) -> None:
    """Raise `UserError` where the sparsity ratio is below `min_sparsity_ratio`."""
    if metrics["sparsity_ratio"] < min_sparsity_ratio:
        raise UserError(
            f"{split}: the model has exploded: sparsity ratio {metrics['sparsity_ratio']:.4f} "
            f"({metrics['active_dims']:.0f} active dims) is below evaluate.min_sparsity_ratio {min_sparsity_ratio}; "
            "raise train.regularizer_weight, or check that the base model is a SPLADE model"
        )


def _active_dims(embeddings: torch.Tensor) -> list[int]:
    rows = embeddings.indices()[0][embeddings.values() != 0]
    return torch.bincount(rows, minlength=embeddings.shape[0]).tolist()


def _shared_terms(model: SparseEncoder, first: torch.Tensor, second: torch.Tensor) -> tuple[list, list]:
    """Shared terms and their shares of the cosine for each pair, largest share first, ties in vocabulary order."""
    norms = [torch.sparse.sum(e * e, dim=1).to_dense().sqrt() for e in (first, second)]
    product = (first * second).coalesce()
    (rows, columns), values = product.indices(), product.values()
    shares = values / (norms[0] * norms[1])[rows]
    terms: list[list[str]] = [[] for _ in range(first.shape[0])]
    weights: list[list[float]] = [[] for _ in range(first.shape[0])]
    tokens = model.tokenizer.convert_ids_to_tokens(columns.tolist())
    entries = sorted(zip(rows.tolist(), (-shares).tolist(), columns.tolist(), tokens, strict=True))
    for row, negative, _, token in entries:
        if negative < 0:
            terms[row].append(token)
            weights[row].append(-negative)
    return terms, weights
