"""A dense encoder becomes a SPLADE model with the wanted number of active dimensions."""

import pytest
from sentence_transformers import SparseEncoder

from splade_sts.errors import UserError
from splade_sts.model.conversion import convert_dense
from splade_sts.model.encoder import load_encoder


def test_conversion_hits_the_wanted_active_dims(tiny_splade, pairs):
    """The mean over the calibration sentences is what was asked for."""
    embeddings = load_encoder(tiny_splade).encode(pairs.sentences)
    assert SparseEncoder.sparsity(embeddings)["active_dims"] == pytest.approx(8, abs=0.25)


def test_more_dims_than_words(tiny_bert):
    with pytest.raises(UserError, match=r"base_model.target_active_dims is 5000; expected less"):
        convert_dense(tiny_bert, ["a dog"], 5000, 32)


def test_only_bert_is_converted(tiny_bert, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    (tmp_path / "model.safetensors").write_bytes((tiny_bert / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match="is of type 'roberta'; only bert"):
        convert_dense(tmp_path, ["a dog"], 8, 32)
