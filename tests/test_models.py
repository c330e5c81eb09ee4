"""The base model, evaluation and fine-tuning, on a tiny real model."""


import numpy as np
import pandas as pd
import pytest
import torch
from sentence_transformers.sparse_encoder.evaluation import SparseEmbeddingSimilarityEvaluator

from splade_sts.model.conversion import convert_dense
from splade_sts.comparison.compare import split_metrics
from splade_sts.model.encoder import encode_distinct, load_encoder
from splade_sts.errors import UserError
from splade_sts.evaluation.correlation import check_collapse, check_explosion, evaluate_split
from tests.conftest import train_params


def test_distinct_sentences_are_encoded_once(tiny_splade):
    """Repeated sentences share a row; rows are those of the library's encode."""
    model = load_encoder(tiny_splade)
    sentences = ["the dog runs in the park", "a", "two red cars", "a", "the dog runs in the park"]
    calls = []
    hook = model[0].register_forward_pre_hook(lambda module, inputs: calls.append(len(inputs[0]["input_ids"])))
    vectors, rows = encode_distinct(model, sentences, batch_size=2)
    hook.remove()
    assert sum(calls) == 3 and len(vectors) == 3
    torch.testing.assert_close(vectors.to_dense()[rows], model.encode(sentences).to_dense(), rtol=1e-4, atol=1e-5)
    none, rows = encode_distinct(model, [], batch_size=2)
    assert none.shape == (0, vectors.shape[1]) and len(rows) == 0


def test_evaluation_equals_the_library(tiny_splade, pairs):
    """Same numbers as the stock evaluator; the predictions reproduce them and explain every cosine."""
    pairs = pairs[pairs["score"] < 1].reset_index(drop=True)  # equal sentences: the stock cosines differ in the last bit
    stock = SparseEmbeddingSimilarityEvaluator(
        pairs["sentence1"].tolist(), pairs["sentence2"].tolist(), pairs["score"].tolist(), main_similarity="cosine",
        write_csv=False,
    )(load_encoder(tiny_splade))
    metrics, predictions = evaluate_split(load_encoder(tiny_splade), pairs, "test", 16, 0.0)
    assert metrics == pytest.approx({name: float(stock[name]) for name in metrics}, abs=1e-6)
    assert split_metrics(predictions) == pytest.approx(metrics, abs=1e-6)
    for row in predictions.itertuples():
        assert sum(row.shared_weights) == pytest.approx(row.predicted, abs=1e-5)
        assert list(row.shared_weights) == sorted(row.shared_weights, reverse=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"active_dims": 0.0}, "collapsed"),
        ({"spearman_cosine": float("nan")}, "spearman_cosine is nan"),
        ({"sparsity_ratio": 0.5}, "exploded"),
    ],
)
def test_unhealthy_models_are_refused(change, message):
    """A collapsed or exploded model never gets as far as a metrics file."""
    healthy = {"pearson_cosine": 0.8, "spearman_cosine": 0.8, "active_dims": 80.0, "sparsity_ratio": 0.99}

    def check(metrics):
        check_collapse(metrics, "test")
        check_explosion(metrics, "test", 0.9)

    check(healthy)
    with pytest.raises(UserError, match=message):
        check({**healthy, **change})


def test_a_collapsed_model_fails_evaluation(tiny_bert, pairs):
    """A real model without any active dimension."""
    model = convert_dense(tiny_bert, pairs["sentence1"].tolist(), 8, 32)
    with torch.no_grad():
        model[0].model.cls.predictions.decoder.bias.fill_(-1e4)
    with pytest.raises(UserError, match="collapsed"):
        evaluate_split(model, pairs, "test", 16, 0.0)


def test_predictions_survive_parquet(tiny_splade, pairs, tmp_path):
    """Metrics recomputed from the stored file are exactly those of the table in memory."""
    _, predictions = evaluate_split(load_encoder(tiny_splade), pairs, "test", 16, 0.0)
    predictions.to_parquet(tmp_path / "p.parquet", index=False)
    stored = pd.read_parquet(tmp_path / "p.parquet")
    assert split_metrics(stored) == split_metrics(predictions)
    assert np.array_equal(stored["predicted"], predictions["predicted"])
