"""Which model of a training is kept: the validations, and the number by which they are compared."""

from collections.abc import Mapping
from typing import Any

from sentence_transformers import SparseEncoder

from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.evaluation.correlation import PairEvaluator, metrics_of
from splade_sts.evaluation.results import Metrics
from splade_sts.layout import Split

SPLIT: Split = "validation"
FITNESS = f"{SPLIT}_fitness"
# The trainer puts `eval_` before the names of what an evaluator returns.
LOGGED, LOGGED_FITNESS = f"eval_{SPLIT}", f"eval_{FITNESS}"
# A model within this share of the wanted number of active dims has reached it.
TOLERANCE = 0.1


class Validation(PairEvaluator):
    """The evaluator of the validations in training; what it returns holds the `fitness` of the
    model too.
    """

    def __init__(self, pairs: Pairs, batch_size: int, target_active_dims: float | None):
        super().__init__(pairs, SPLIT, batch_size)
        self.target_active_dims = target_active_dims

    def __call__(  # type: ignore[override]  # of sparse encoders alone
        self, model: SparseEncoder, *args: Any, **kwargs: Any
    ) -> dict[str, float]:
        found = super().__call__(model, *args, **kwargs)
        return {**found, FITNESS: fitness(metrics_of(found, SPLIT), self.target_active_dims)}


def fitness(metrics: Metrics, target_active_dims: float | None) -> float:
    """The model with the highest one is kept.

    It is Spearman; where a number of active dims is wanted, only for models that have it. Any other
    is below every Spearman, the lower the further it is from that number.
    """
    if target_active_dims is None:
        return metrics.spearman
    off = distance(metrics.active_dims, target_active_dims)
    return metrics.spearman if off <= TOLERANCE else -1 - off


def logged_metrics(logs: Mapping[str, Any]) -> Metrics:
    """The metrics of a validation among what the trainer logs of it."""
    return metrics_of(dict(logs), LOGGED)


def distance(active_dims: float, target: float) -> float:
    """How far `active_dims` is from `target`, as a share of it."""
    return abs(active_dims / target - 1)


def check_reached(active_dims: float, target: float, weight: float) -> None:
    """Check the model that training kept.

    Args:
        active_dims: its mean number on validation.
        target: the wanted number.
        weight: where the regulariser's weight ended, for the message.

    Raises:
        UserError: `active_dims` is not within TOLERANCE of `target`.
    """
    if distance(active_dims, target) > TOLERANCE:
        raise UserError(
            f"train.target_active_dims is {target}, but no validation came within {TOLERANCE:.0%} "
            f"of it: the nearest had {active_dims:.1f} active dims, and the regulariser's weight "
            f"ended at {weight:.2g}; train longer (train.epochs), raise train.learning_rate, or "
            "start nearer with train.regularizer_weight"
        )
