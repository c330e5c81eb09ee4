"""The base model, evaluation and fine-tuning, on a tiny real model."""


import numpy as np
import pandas as pd
import pytest
import torch
from sentence_transformers.sparse_encoder.evaluation import SparseEmbeddingSimilarityEvaluator

from splade_sts.training import memory
from splade_sts.model.conversion import convert_dense
from splade_sts.comparison.compare import split_metrics
from splade_sts.model.encoder import encode_distinct, load_encoder
from splade_sts.errors import UserError
from splade_sts.evaluation.correlation import check_collapse, check_explosion, evaluate_split
from splade_sts.training.trainer import finetune, resolve_precision
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


def test_saving_memory_changes_no_gradient(tiny_splade, monkeypatch):
    """The same loss and gradients, dropout included, whether activations and freed memory are kept or not."""
    found = []
    for kept in (10**6, 1):
        monkeypatch.setattr(memory, "KEPT_TOKENS", kept)
        monkeypatch.setattr(memory, "GIVEN_BACK_TOKENS", kept)
        monkeypatch.setattr(memory, "GIVEN_BACK_WEIGHTS", kept)
        model = load_encoder(tiny_splade).train()
        features = model.preprocess(["the dog runs in the park", "two red cars"])
        layer_calls = []
        hook = model[0].model.bert.encoder.layer[0].intermediate.register_forward_pre_hook(lambda *_: layer_calls.append(1))
        with memory.saving_memory(model):
            torch.manual_seed(0)
            model(features)["sentence_embedding"].sum().backward()
        hook.remove()
        found.append([parameter.grad for parameter in model.parameters()])
        assert len(layer_calls) == (1 if kept > 1 else 2)
    for kept, recomputed in zip(*found, strict=True):
        assert torch.equal(kept, recomputed)


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


@pytest.mark.parametrize("loss", ["cosine", "cosent", "angle"])
def test_finetuning_with_every_loss(tiny_splade, pairs, loss):
    """Each loss trains; the kept model is the one of the best validation."""
    model, trainer, summary = finetune(
        load_encoder(tiny_splade), pairs, pairs, train_params(loss=loss, epochs=2.0, learning_rate=1e-3, logging_steps=1))
    assert summary["steps"] == 12
    best = max(trainer.validation_curve, key=lambda point: point["spearman_cosine"])
    assert summary["validation"]["spearman_cosine"] == best["spearman_cosine"]
    again, _ = evaluate_split(model, pairs, "validation", 16, 0.0)
    assert again == pytest.approx(summary["validation"], abs=1e-9)
    weights = [point["document_regularizer_weight"] for point in trainer.training_curve]
    assert weights[0] < weights[2] and weights[-1] == 3e-3
    for point in trainer.training_curve:
        assert point["loss"] == pytest.approx(point["base_loss"] + point["document_regularizer_loss"])


def test_the_last_step_is_validated(tiny_splade, pairs):
    """Also where eval_steps is larger than the whole training."""
    _, trainer, summary = finetune(load_encoder(tiny_splade), pairs, pairs, train_params(eval_steps=1000))
    assert [point["step"] for point in trainer.validation_curve] == [6] and summary["best_step"] == 6


def test_same_seed_same_weights(tiny_splade, pairs):
    """Two trainings with one seed give identical weights and curves; another seed gives others."""
    def run(seed):
        model, trainer, _ = finetune(load_encoder(tiny_splade), pairs, pairs, train_params(seed=seed, learning_rate=1e-3))
        return model[0].model.state_dict(), trainer.validation_curve

    (first, curve1), (second, curve2), (other, _) = run(1), run(1), run(2)
    assert curve1 == curve2
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_learning_rate_zero_changes_nothing(tiny_splade, pairs):
    """What an honest "no gain" is made of."""
    model, _, _ = finetune(load_encoder(tiny_splade), pairs, pairs, train_params(learning_rate=0.0))
    before = load_encoder(tiny_splade)[0].model.state_dict()
    assert all(torch.equal(before[name], value.cpu()) for name, value in model[0].model.state_dict().items())


def test_diverged_training_is_an_error(tiny_splade, pairs):
    """Weights that are not finite end in a message, not in a model."""
    with pytest.raises(UserError):
        finetune(load_encoder(tiny_splade), pairs, pairs, train_params(learning_rate=1e20))


def test_auto_precision_is_resolved():
    """auto never stays auto; the others are taken as they are on a CPU."""
    assert resolve_precision("auto") in ("fp32", "bf16")
    assert resolve_precision("fp32") == "fp32"


def test_predictions_survive_parquet(tiny_splade, pairs, tmp_path):
    """Metrics recomputed from the stored file are exactly those of the table in memory."""
    _, predictions = evaluate_split(load_encoder(tiny_splade), pairs, "test", 16, 0.0)
    predictions.to_parquet(tmp_path / "p.parquet", index=False)
    stored = pd.read_parquet(tmp_path / "p.parquet")
    assert split_metrics(stored) == split_metrics(predictions)
    assert np.array_equal(stored["predicted"], predictions["predicted"])
