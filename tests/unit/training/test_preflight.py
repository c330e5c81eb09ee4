"""What is looked at before a training."""

import random
from dataclasses import asdict, replace

import pytest
import torch

from splade_sts.data.stored import DistinctSentences
from splade_sts.errors import UserError
from splade_sts.evaluation.encoded import encode
from splade_sts.evaluation.health import Health, health_of
from splade_sts.model.encoder import load_encoder
from splade_sts.training import preflight as module
from splade_sts.training.finetune import finetune
from splade_sts.training.preflight import preflight
from tests.support.tiny import train_params


def broken(folder, kind):
    """The model in `folder`, broken by the bias of its vocabulary."""
    model = load_encoder(folder)
    bias = model[0].model.cls.predictions.decoder.bias
    with torch.no_grad():
        if kind == "empty":
            bias.fill_(-1e4)
        elif kind == "alike":  # the same few entries, and little else
            bias.fill_(-1e4)
            bias[:10] = 100
        elif kind == "dense":
            bias.fill_(100)
        else:
            bias[0] = float("inf")
    return model


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", r"collapsed: 85 of 85 sentences have no active dims \(0\.00 on average\)"),
        ("alike", r"collapsed: the cosine of different sentences is 1\.000 on average \(85 sent"),
        ("dense", r"collapsed: the cosine .* 76\.0 active dims"),
        ("infinite", "non-finite"),
    ],
)
def test_a_broken_base_model_is_refused(tiny_splade, pairs, tmp_path, kind, message):
    """Before a step is taken, with what to do."""
    points = []
    with pytest.raises(UserError, match=f"^models/base: .*{message}.*; take a.*base_model.source"):
        finetune(
            broken(tiny_splade, kind), pairs, pairs, train_params(), tmp_path, points.append, 0.5
        )
    assert not points
    assert not list(tmp_path.iterdir())


def test_a_base_model_that_leaves_sentences_without_terms(tiny_splade, pairs, monkeypatch):
    """Although the mean of its active dims is high enough."""
    monkeypatch.setattr(module, "encode", partly_empty)
    with pytest.raises(UserError, match=r"^models/base: .*: 32 of 85 sentences have no active"):
        preflight(load_encoder(tiny_splade), DistinctSentences(pairs), 32, 0.0)


def partly_empty(*arguments):
    """The vectors of `encode`, of which 30 are emptied; three had no term before."""
    found = encode(*arguments)
    vectors = found.vectors.to_dense()
    vectors[:30] = 0
    return replace(found, vectors=vectors.to_sparse().coalesce())


def test_an_exploded_base_model_is_refused(tiny_splade, pairs):
    """Below evaluate.min_sparsity_ratio, which evaluation would refuse too."""
    model = load_encoder(tiny_splade)
    with pytest.raises(UserError, match=r"^models/base: .*exploded.*base_model.target_active_dims"):
        preflight(model, DistinctSentences(pairs), 32, 0.95)


def test_a_healthy_base_model(tiny_splade, pairs, tmp_path, capsys):
    """What was seen is printed and stands in the evidence."""
    found = finetune(load_encoder(tiny_splade), pairs, pairs, train_params(), tmp_path)
    model = load_encoder(tiny_splade)
    expected = health_of(encode(model, pairs.sentences, 32))
    assert asdict(found.base) == pytest.approx(asdict(expected), rel=1e-5)
    assert found.evidence()["base"] == asdict(found.base)
    assert capsys.readouterr().out == f"models/base: {expected}\n"


def test_the_sample_is_always_the_same(tiny_splade, pairs, monkeypatch):
    """And of limited size; what is drawn changes no other chance."""
    monkeypatch.setattr(module, "SENTENCES", 20)
    model = load_encoder(tiny_splade)
    before = random.getstate(), torch.random.get_rng_state()
    first = preflight(model, DistinctSentences(pairs), 32, 0.0)
    random.seed(7)
    assert preflight(model, DistinctSentences(pairs), 32, 0.0) == first
    random.setstate(before[0])
    assert torch.equal(torch.random.get_rng_state(), before[1])
    assert isinstance(first, Health)
    assert first.sentences == 20
