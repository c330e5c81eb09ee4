"""Models that no number is taken of."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from splade_sts.errors import UserError
from splade_sts.evaluation.encoded import EncodedSentences
from splade_sts.evaluation.health import (
    Health,
    VectorSums,
    check_collapse,
    check_explosion,
    check_health,
    health_of,
)
from splade_sts.evaluation.results import Metrics

HEALTHY = Metrics(pearson=0.8, spearman=0.8, active_dims=80.0, sparsity_ratio=0.99)
SEEN = Health(
    sentences=512, without_terms=0, active_dims=80.0, sparsity_ratio=0.99, mean_cosine=0.01
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"active_dims": 0.4}, r"collapsed.* 0\.40 active dims.*lower train.regularizer_weight"),
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"mean_cosine": None}, None),
        ({"without_terms": 102}, None),
        (
            {"without_terms": 300, "active_dims": 40.0},
            r"collapsed: 300 of 512 sentences .* \(40\.00 on average\); .* at most 20%",
        ),
        ({"without_terms": 103}, "103 of 512 sentences have no active dims"),
        ({"mean_cosine": 0.99}, r"collapsed: .* is 0\.990 on average \(512 sentences, 80\.0 act"),
        ({"mean_cosine": float("nan")}, "non-finite"),
    ],
)
def test_unhealthy_vectors_are_refused(change, message):
    """With what was seen, and what to do."""
    seen = replace(SEEN, **change)
    if message is None:
        check_health(seen, "here", "do this")
        return
    with pytest.raises(UserError, match=f"^here: .*{message}.*; do this$"):
        check_health(seen, "here", "do this")


def sparse_vectors() -> torch.Tensor:
    """150 vectors over 40 entries, about a quarter of which are not zero; the first has none."""
    generator = torch.Generator().manual_seed(0)
    vectors = (torch.rand(150, 40, generator=generator) - 0.75).relu()
    vectors[0] = 0
    return vectors


def test_what_is_seen_of_vectors():
    """The mean cosine is that of all pairs, formed one by one, in whatever parts they come."""
    vectors = sparse_vectors()
    units = normalize(vectors.double())
    cosines = units @ units.T
    expected = (cosines.sum() - cosines.diagonal().sum()).item() / (150 * 149)
    active = (vectors > 0).sum().item() / 150
    encoded = EncodedSentences(list(map(str, range(150))), vectors.to_sparse().coalesce(), 0.0)
    parts = VectorSums.of(vectors[:7]) + VectorSums.of(vectors[7:])
    for found in (health_of(encoded), parts.health()):
        assert (found.sentences, found.without_terms) == (150, 1)
        assert found.active_dims == pytest.approx(active)
        assert found.sparsity_ratio == pytest.approx(1 - active / 40)
        assert found.mean_cosine == pytest.approx(expected, rel=1e-5)


def test_vectors_that_say_little():
    """The same vector again and again; one vector; none that is not zero."""
    vector = sparse_vectors()[1:2]
    assert VectorSums.of(vector.repeat(5, 1)).health().mean_cosine == pytest.approx(1)
    assert VectorSums.of(vector).health().mean_cosine is None
    nothing = VectorSums.of(torch.zeros(5, 40)).health()
    assert (nothing.without_terms, nothing.active_dims, nothing.mean_cosine) == (5, 0, 0)


def test_how_health_is_shown():
    """Sentences without a term only where there are some."""
    assert str(SEEN) == "80.0 active dims, mean cosine 0.010 (512 sentences)"
    shown = "80.0 active dims, mean cosine 0.010 (512 sentences, 3 without any)"
    assert str(replace(SEEN, without_terms=3)) == shown


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(value):
    """In a single sentence of many."""
    vectors = sparse_vectors()
    vectors[3, 5] = value
    with pytest.raises(UserError, match="non-finite"):
        check_health(VectorSums.of(vectors).health(), "test", "")
    check_health(VectorSums.of(sparse_vectors()).health(), "test", "")
