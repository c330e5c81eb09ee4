"""One model on one split."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sentence_transformers.sparse_encoder.evaluation import SparseEmbeddingSimilarityEvaluator

from splade_sts.errors import UserError
from splade_sts.evaluation.correlation import KEYS
from splade_sts.evaluation.evaluate import evaluate_split
from splade_sts.evaluation.results import Predictions
from splade_sts.model.encoder import load_encoder
from splade_sts.params import EvaluateParams
from tests.support.tiny import tiny_params


def settings(**changes: object) -> EvaluateParams:
    return EvaluateParams(**{**tiny_params().evaluate.model_dump(), "batch_size": 16, **changes})


@pytest.fixture(scope="module")
def evaluated(tiny_splade, pairs):
    return evaluate_split(load_encoder(tiny_splade), pairs, "test", settings())


def test_metrics_are_the_librarys(tiny_splade, pairs):
    """Same numbers as the stock evaluator. Equal sentences are left out: their stock cosines differ
    in the last bit.
    """
    pairs = pairs.select(pairs.score < 1)
    model = load_encoder(tiny_splade)
    stock = SparseEmbeddingSimilarityEvaluator(
        pairs.sentence1,
        pairs.sentence2,
        pairs.score.tolist(),
        main_similarity="cosine",
        write_csv=False,
    )(model)
    found = asdict(evaluate_split(model, pairs, "test", settings()).evaluation.metrics)
    expected = {name: float(stock[KEYS.get(name, name)]) for name in found}
    assert found == pytest.approx(expected, abs=1e-6)


def test_predictions_give_the_metrics(evaluated, pairs):
    """The metrics from the predictions alone; the shares of the terms sum to each cosine."""
    found, metrics = evaluated.predictions, evaluated.evaluation.metrics
    assert found.pairs.same_as(pairs)
    assert metrics.pearson == pytest.approx(pearsonr(pairs.score, found.cosine)[0], abs=1e-6)
    assert metrics.spearman == pytest.approx(spearmanr(pairs.score, found.cosine)[0], abs=1e-6)
    dims = (found.active_dims1.mean() + found.active_dims2.mean()) / 2
    assert metrics.active_dims == pytest.approx(dims)
    vocabulary = evaluated.encoded.vectors.shape[1]
    assert metrics.sparsity_ratio == pytest.approx(1 - dims / vocabulary)
    for terms, cosine in zip(found.terms, found.cosine, strict=True):
        shares = [share for _, share in terms]
        assert sum(shares) == pytest.approx(cosine, abs=1e-5)
        assert shares == sorted(shares, reverse=True)


def test_cost_and_search_use_the_same_vectors(evaluated, pairs):
    """They are those of the pairs' sentences, each encoded once; the means of the search are those
    of its queries.
    """
    found = evaluated.evaluation
    assert sorted(evaluated.encoded.sentences) == sorted(pairs.sentences)
    assert found.cost.index_bytes == pytest.approx(8 * found.metrics.active_dims)
    assert found.retrieval.documents == len(pairs.sentences)
    assert found.retrieval.queries == len(evaluated.queries.query)
    assert found.retrieval.mrr_at_10 == pytest.approx(evaluated.queries.mrr_at_10.mean())
    assert found.pairs == 48


def test_predictions_survive_parquet(evaluated, tmp_path):
    """To the last bit."""
    written = evaluated.predictions
    written.write(tmp_path / "p.parquet")
    read = Predictions.read(tmp_path / "p.parquet")
    assert read.pairs.same_as(written.pairs)
    for name in ("cosine", "active_dims1", "active_dims2"):
        assert np.array_equal(getattr(read, name), getattr(written, name))
    assert read.terms == written.terms


def test_bf16_is_close(tiny_splade, pairs, evaluated):
    """Good to about three decimals of the active dims."""
    found = evaluate_split(load_encoder(tiny_splade), pairs, "test", settings(precision="bf16"))
    exact = evaluated.evaluation.metrics
    assert found.evaluation.metrics.active_dims == pytest.approx(exact.active_dims, rel=0.02)
    assert found.evaluation.metrics.spearman == pytest.approx(exact.spearman, abs=0.02)
    assert found.evaluation.metrics != exact


def test_a_limit_on_active_dims(tiny_splade, pairs):
    """Only that many of the largest of each sentence are kept."""
    model = load_encoder(tiny_splade)
    model.max_active_dims = 3
    found = evaluate_split(model, pairs, "test", settings()).predictions
    assert max(found.active_dims1.max(), found.active_dims2.max()) == 3


def test_a_collapsed_model_fails(tiny_splade, pairs):
    """A real model without any active dimension."""
    model = load_encoder(tiny_splade)
    with torch.no_grad():
        model[0].model.cls.predictions.decoder.bias.fill_(-1e4)
    with pytest.raises(UserError, match="collapsed"):
        evaluate_split(model, pairs, "test", settings())


def test_a_model_that_tells_no_sentences_apart_fails(tiny_splade, pairs):
    """A real model whose vectors have the same few entries, and little else: the scores vary."""
    model = load_encoder(tiny_splade)
    with torch.no_grad():
        model[0].model.cls.predictions.decoder.bias[:10] = 100
    with pytest.raises(UserError, match=r"^test: .*cosine of different sentences is 0\.9.*another"):
        evaluate_split(model, pairs, "test", settings())


def test_an_exploded_model_fails(tiny_splade, pairs):
    """Below the wanted sparsity ratio."""
    with pytest.raises(UserError, match=r"exploded.*evaluate.min_sparsity_ratio 0.99"):
        evaluate_split(load_encoder(tiny_splade), pairs, "test", settings(min_sparsity_ratio=0.99))
