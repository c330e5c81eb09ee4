"""Models that no number should be taken of: collapsed, exploded, or not finite."""

import math

from torch import Tensor

from splade_sts.errors import UserError
from splade_sts.evaluation.results import Metrics

LOWER = "lower train.regularizer_weight or train.learning_rate"


def check_finite(vectors: Tensor, split: str) -> None:
    """Raise `UserError` where a sparse tensor of vectors holds values that are not finite."""
    if not vectors.values().isfinite().all():
        raise UserError(
            f"{split}: the embeddings hold non-finite values: training diverged; lower "
            "train.learning_rate"
        )


def check_collapse(metrics: Metrics, split: str) -> None:
    """Raise `UserError` where the metrics are those of a model without active dimensions or with
    constant scores.
    """
    if metrics.active_dims == 0:
        raise UserError(
            f"{split}: the model has collapsed: no dimension is active in any sentence; {LOWER}"
        )
    for name, value in (("Pearson", metrics.pearson), ("Spearman", metrics.spearman)):
        if not math.isfinite(value):
            raise UserError(
                f"{split}: {name} is {value}: the predicted or the gold scores are all the same "
                f"({metrics.active_dims:.2f} active dims on average); if the model has collapsed, "
                f"{LOWER}"
            )


def check_explosion(metrics: Metrics, split: str, min_sparsity_ratio: float) -> None:
    """Raise `UserError` where the sparsity ratio is below `min_sparsity_ratio`."""
    if metrics.sparsity_ratio < min_sparsity_ratio:
        raise UserError(
            f"{split}: the model has exploded: sparsity ratio {metrics.sparsity_ratio:.4f} "
            f"({metrics.active_dims:.0f} active dims) is below evaluate.min_sparsity_ratio "
            f"{min_sparsity_ratio}; "
            "raise train.regularizer_weight, or check that the base model is a SPLADE model"
        )
