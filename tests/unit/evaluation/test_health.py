"""Models that no number is taken of."""

from dataclasses import replace

import pytest
import torch

from splade_sts.errors import UserError
from splade_sts.evaluation.health import check_collapse, check_explosion, check_finite
from splade_sts.evaluation.results import Metrics

HEALTHY = Metrics(pearson=0.8, spearman=0.8, active_dims=80.0, sparsity_ratio=0.99)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"active_dims": 0.0}, "collapsed.*lower train.regularizer_weight"),
        ({"spearman": float("nan")}, "Spearman is nan"),
        ({"pearson": float("nan")}, "Pearson is nan"),
        ({"sparsity_ratio": 0.5}, "exploded.*raise train.regularizer_weight"),
    ],
)
def test_unhealthy_models_are_refused(change, message):
    """A collapsed or exploded model, with what to do; a healthy one passes."""

    def check() -> None:
        metrics = replace(HEALTHY, **change)
        check_collapse(metrics, "test")
        check_explosion(metrics, "test", 0.9)

    if message is None:
        check()
        return
    with pytest.raises(UserError, match=f"^test: .*{message}"):
        check()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(value):
    """A diverged training."""
    check_finite(torch.tensor([[0.0, 1.0]]).to_sparse(), "test")
    with pytest.raises(UserError, match="training diverged"):
        check_finite(torch.tensor([[0.0, value]]).to_sparse(), "test")
