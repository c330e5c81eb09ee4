"""One model on one split: its numbers, and a prediction for every pair."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.util import pairwise_cos_sim
from torch import Tensor

from splade_sts.data.pairs import Pairs
from splade_sts.evaluation.correlation import PairEvaluator, metrics_of
from splade_sts.evaluation.cost import cost
from splade_sts.evaluation.encoded import EncodedSentences
from splade_sts.evaluation.health import (
    LOWER,
    check_collapse,
    check_explosion,
    check_health,
    health_of,
)
from splade_sts.evaluation.results import Predictions, QueryResults, SplitEvaluation
from splade_sts.evaluation.retrieval import search_paraphrases
from splade_sts.evaluation.terms import shared_terms
from splade_sts.model.head.swap import fused
from splade_sts.params import EvaluateParams


@dataclass(frozen=True, eq=False)
class EvaluatedSplit:
    """What an evaluation of a split gives: its numbers, its predictions, what each query of the
    search for paraphrases found (None where no pair is a paraphrase), and the vectors that all of
    it comes from.
    """

    evaluation: SplitEvaluation
    predictions: Predictions
    queries: QueryResults | None
    encoded: EncodedSentences


def evaluate_split(
    model: SparseEncoder, pairs: Pairs, split: str, params: EvaluateParams
) -> EvaluatedSplit:
    """Evaluate `model` on `pairs`.

    Args:
        model: the encoder.
        pairs: the pairs of the split.
        split: its name, for messages and the progress bar.
        params: batch size, precision and limits.

    Raises:
        UserError: the model has collapsed (hardly any active dimensions, vectors that are almost
            the same, or scores that do not vary) or exploded (non-finite values, or a sparsity
            ratio below `params.min_sparsity_ratio`).
    """
    evaluator = PairEvaluator(pairs, split, params.batch_size, show_progress_bar=True)
    bf16 = params.precision == "bf16"
    with fused(model), torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
        metrics = metrics_of(evaluator(model), split)
    encoded = evaluator.encoded
    check_health(health_of(encoded), split, f"{LOWER}, or take another base model")
    check_collapse(metrics, split)
    check_explosion(metrics, split, params.min_sparsity_ratio)
    retrieval, queries = search_paraphrases(model, pairs, encoded) or (None, None)
    evaluation = SplitEvaluation(len(pairs), metrics, cost(pairs, encoded), retrieval)
    return EvaluatedSplit(evaluation, predict(model, pairs, encoded), queries, encoded)


def predict(model: SparseEncoder, pairs: Pairs, encoded: EncodedSentences) -> Predictions:
    """The prediction for each pair, from the vectors of its sentences."""
    first, second = encoded.of(pairs.sentence1), encoded.of(pairs.sentence2)
    return Predictions(
        pairs=Pairs(pairs.sentence1, pairs.sentence2, pairs.score),
        cosine=pairwise_cos_sim(first, second).numpy().astype(np.float64),
        active_dims1=_active_dims(first),
        active_dims2=_active_dims(second),
        terms=shared_terms(model, first, second),
    )


def _active_dims(vectors: Tensor) -> np.ndarray[Any, np.dtype[np.int64]]:
    rows = vectors.indices()[0][vectors.values() != 0]
    counts: np.ndarray[Any, np.dtype[np.int64]] = torch.bincount(
        rows, minlength=vectors.shape[0]
    ).numpy()
    return counts
