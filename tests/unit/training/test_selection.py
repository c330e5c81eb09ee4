"""Which model is kept."""

import pytest

from splade_sts.errors import UserError
from splade_sts.evaluation.results import Metrics
from splade_sts.model.encoder import load_encoder
from splade_sts.training.selection import (
    Validation,
    check_reached,
    fitness,
    logged_metrics,
)


def test_the_best_model_has_the_wanted_number():
    """A better Spearman beside it does not count; among models beside it the nearer one is kept."""
    metrics = Metrics(pearson=0.7, spearman=0.8, active_dims=40.0, sparsity_ratio=0.9)
    assert fitness(metrics, None) == 0.8
    assert fitness(metrics, 40 * 1.05) == 0.8
    far, farther = (fitness(metrics, 40 * factor) for factor in (0.8, 0.5))
    assert farther < far < -1


def test_the_validation_of_a_model(tiny_splade, pairs):
    """The fitness stands beside the metrics, which are found again in what the trainer logs."""
    found = Validation(pairs, 32, None)(load_encoder(tiny_splade))
    metrics = logged_metrics({f"eval_{name}": value for name, value in found.items()})
    assert found["validation_fitness"] == metrics.spearman == found["validation_spearman_cosine"]
    assert metrics.active_dims == found["validation_active_dims"]
    off = Validation(pairs, 32, metrics.active_dims * 2)(load_encoder(tiny_splade))
    assert off["validation_fitness"] == pytest.approx(-1.5)


def test_a_wanted_number_that_was_not_reached():
    """Within a tenth is reached; the message has both numbers, the weight, and what to do."""
    check_reached(43.9, 40, 1e-3)
    message = (
        r"target_active_dims is 40, but no validation came within 10% of it: the nearest had 44\.1 "
        r"active dims, .* ended at 0\.001; train longer"
    )
    with pytest.raises(UserError, match=message):
        check_reached(44.1, 40, 1e-3)
