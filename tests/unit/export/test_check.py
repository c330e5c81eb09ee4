"""What an exported file may differ by from its model."""

import dataclasses

import numpy as np
import pytest
import torch

from splade_sts.comparison.statistics import Bootstrap, Estimate
from splade_sts.export.check import FLOAT, Difference, compare, int8_bounds
from splade_sts.export.graph import INPUTS, Splade
from splade_sts.export.tokens import TOKENIZER, batch_of, longest, read_tokenizer, write_tokenizer
from splade_sts.model.encoder import load_encoder

BOOTSTRAP = Bootstrap(resamples=200, confidence=0.95, seed=0)
SAME = Difference(
    pairs=100,
    sentences=200,
    largest_weight=1e-5,
    largest_in_batch=0.0,
    longest_tokens=64,
    spearman=0.8,
    model_spearman=0.8,
    gain=Estimate(0.0, 0.0, 0.0, 0.0, 0.0, "percentile", 0.0),
    active_dims=40.0,
    model_active_dims=40.0,
)


@pytest.fixture
def model(tiny_splade):
    """The tiny model on the CPU."""
    return load_encoder(tiny_splade, "cpu")


@pytest.fixture
def tokenizer(model, tmp_path):
    """The tokenizer as an export has it."""
    write_tokenizer(model, tmp_path)
    return read_tokenizer(tmp_path)


def by_torch(model):
    """What an exported file computes, computed by PyTorch."""
    graph = Splade(model).eval()

    def run(batch):
        with torch.no_grad():
            return graph(*(torch.from_numpy(batch[name]) for name in INPUTS)).numpy()

    return run


@pytest.mark.parametrize(
    ("pooling", "activation"), [("max", "relu"), ("max", "log1p_relu"), ("sum", "relu")]
)
def test_the_function_is_the_model(model, tokenizer, pairs, pooling, activation):
    """Of every pooling and activation: vectors, correlation and active dims, at every length."""
    model[1].pooling_strategy, model[1].activation_function = pooling, activation
    found = compare(by_torch(model), tokenizer, model, pairs, BOOTSTRAP)
    assert found.beyond(FLOAT) == []
    assert found.longest_tokens == longest(model) == 32
    assert (found.pairs, found.sentences) == (48, len(pairs.sentences))
    assert found.spearman == pytest.approx(found.model_spearman, abs=1e-6)
    assert found.active_dims == found.model_active_dims > 1


def test_a_file_that_is_another_model_is_found(model, tokenizer, pairs):
    """Weights a tenth larger keep every cosine; only the weights tell."""
    run = by_torch(model)
    found = compare(lambda batch: run(batch) * 1.1, tokenizer, model, pairs, BOOTSTRAP)
    (said,) = found.beyond(FLOAT)
    assert said.startswith("a weight differs by 0.")


def test_a_file_that_reads_its_padding_is_found(model, tokenizer, pairs):
    """Of sentences alone it says what the model says."""
    run = by_torch(model)

    def without_mask(batch):
        return run({**batch, "attention_mask": np.ones_like(batch["attention_mask"])})

    found = compare(without_mask, tokenizer, model, pairs, BOOTSTRAP)
    assert any("depends on the other sentences" in said for said in found.beyond(FLOAT))
    assert any("depends on the other sentences" in said for said in found.beyond(int8_bounds(0.5)))


def test_a_file_that_cuts_texts_is_found(model, tokenizer, pairs):
    """The pairs are short: the longest input tells."""
    run = by_torch(model)

    def cut(batch):
        return run({name: values[:, :16] for name, values in batch.items()})

    found = compare(cut, tokenizer, model, pairs, BOOTSTRAP)
    assert found.largest_weight > FLOAT.weight
    assert found.spearman == pytest.approx(found.model_spearman, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "in_float", "in_int8"),
    [
        ({}, None, None),
        ({"largest_weight": 2e-4}, "a weight differs by 0.0002 (at most 0.0001)", None),
        ({"largest_in_batch": 0.01}, "depends on the other sentences", None),
        ({"largest_in_batch": 0.5}, "depends on", "by 0.5 (at most 0.1)"),
        (
            {"gain": Estimate(-0.004, -0.009, 0.001, 0.0, 0.0, "bca", 0.0)},
            "changes by -0.0040",
            None,
        ),
        (
            {"gain": Estimate(-0.004, -0.012, 0.001, 0.0, 0.0, "bca", 0.0)},
            "changes by -0.0040",
            "interval -0.0120 to +0.0010 (at most 0.01 away)",
        ),
        ({"gain": Estimate(0.02, 0.01, 0.03, 0.0, 0.0, "bca", 0.0)}, "changes by +0.02", None),
        ({"active_dims": 41.0}, "active dims are 41.0 instead of 40.0", None),
        ({"active_dims": 35.0}, "active dims are 35.0", "instead of 40.0 (at most 10.0% away)"),
    ],
)
def test_bounds(changes, in_float, in_int8):
    """In float32 nothing may move; in 8 bits no loss that matters, by the interval's worst end."""
    found = dataclasses.replace(SAME, **changes)
    for bounds, expected in ((FLOAT, in_float), (int8_bounds(0.01), in_int8)):
        said = found.beyond(bounds)
        assert (len(said) == 1 and expected in said[0]) if expected else said == []


def test_the_tokenizer_alone_cuts_and_pads(model, tokenizer, tmp_path):
    """As the model does, also read by somebody else's transformers."""
    from transformers import AutoTokenizer

    sentences = ["the dog runs", "a man plays the guitar in the park", "dog " * 100]
    expected = model.tokenizer(sentences, padding=True, truncation=True, return_tensors="np")
    found = batch_of(tokenizer, sentences)
    assert (tmp_path / TOKENIZER).is_file()
    for name in INPUTS:
        assert np.array_equal(found[name], expected[name])
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert np.array_equal(
        again(sentences, padding=True, truncation=True, return_tensors="np")["input_ids"],
        found["input_ids"],
    )
