"""Existing SPLADE models: which folders load, and what is said of the others."""

import json
import shutil

import pytest
import torch

from splade_sts.errors import UserError
from splade_sts.model.encoder import load_encoder
from splade_sts.model.splade import load_splade


def test_layouts_of_existing_models(tiny_splade, tmp_path):
    """A masked language model without modules.json, and the module names of older releases."""
    expected = load_encoder(tiny_splade).encode(["the dog runs"]).to_dense()
    plain, legacy = tmp_path / "plain", tmp_path / "legacy"
    for folder in (plain, legacy):
        shutil.copytree(tiny_splade, folder)
    for name in (
        "modules.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
    ):
        (plain / name).unlink()
    modules = json.loads((legacy / "modules.json").read_text())
    modules[0]["type"] = "sentence_transformers.sparse_encoder.models.MLMTransformer"
    modules[1]["type"] = "sentence_transformers.sparse_encoder.models.SpladePooling"
    (legacy / "modules.json").write_text(json.dumps(modules))
    for folder in (plain, legacy):
        assert torch.equal(load_splade(folder, 32).encode(["the dog runs"]).to_dense(), expected)


def test_folder_without_a_model(tmp_path):
    """An empty folder, and one without weights."""
    with pytest.raises(UserError, match=r"base_model.source: .* holds no model"):
        load_splade(tmp_path, 32)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="no weights"):
        load_splade(tmp_path, 32)


def test_model_without_mlm_head(tiny_bert):
    """A dense encoder is no SPLADE model; the message says how to convert it."""
    with pytest.raises(UserError, match=r"set base_model.target_active_dims"):
        load_splade(tiny_bert, 32)


def test_inputs_longer_than_the_model_takes(tiny_splade):
    with pytest.raises(UserError, match=r"max_seq_length is 65; .* has positions for 64 tokens"):
        load_splade(tiny_splade, 65)


def test_corrupt_weights(tiny_splade, tmp_path):
    """Truncated safetensors give one message."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_splade, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be loaded"):
        load_splade(folder, 32)
