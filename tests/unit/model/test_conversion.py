"""A dense encoder becomes a SPLADE model with the wanted number of active dimensions."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SparseEncoder
from torch.nn.functional import layer_norm
from transformers import AutoModel

from splade_sts.errors import UserError
from splade_sts.model.conversion import LEAST_SHIFT, convert_dense
from splade_sts.model.encoder import load_encoder


@pytest.fixture
def encoder(tiny_bert, tmp_path):
    """A dense encoder to spoil."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "encoder"))


def scale_states(folder, factor):
    """Multiply the final states of an encoder, which come from its last LayerNorm."""
    weights = load_file(folder / "model.safetensors")
    for name in ("weight", "bias"):
        weights[f"encoder.layer.1.output.LayerNorm.{name}"] *= factor
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_conversion_hits_the_wanted_active_dims(tiny_splade, pairs):
    """The mean over the calibration sentences is what was asked for."""
    embeddings = load_encoder(tiny_splade).encode(pairs.sentences)
    assert SparseEncoder.sparsity(embeddings)["active_dims"] == pytest.approx(8, abs=0.25)


@pytest.mark.parametrize("factor", [1.0, 5.0])
def test_head_sees_the_direction_of_each_state(encoder, pairs, factor):
    """Its transform is a LayerNorm, however far below 0 the states reach, and no more shifted than
    that takes.
    """
    scale_states(encoder, factor)
    model = convert_dense(encoder, pairs.sentences, 8, 32)
    tokens = model.tokenizer(pairs.sentence1[0], return_tensors="pt")
    states = AutoModel.from_pretrained(encoder)(**tokens).last_hidden_state
    transform = model[0].model.cls.predictions.transform
    torch.testing.assert_close(
        transform(states), layer_norm(states, states.shape[-1:]), atol=5e-3, rtol=1e-3
    )
    shift = transform.dense.bias
    assert (shift == shift[0]).all()
    assert (shift[0] == LEAST_SHIFT) == (factor == 1.0)


def test_folder_gives_the_same_vectors(encoder, pairs, tmp_path):
    """A plain SparseEncoder reads what is saved; the decoder stays tied to the word embeddings."""
    model = convert_dense(encoder, pairs.sentences, 8, 32)
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    again = SparseEncoder(str(tmp_path / "saved"), device="cpu")
    found, expected = (
        each.encode(pairs.sentences, convert_to_sparse_tensor=False) for each in (again, model)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    mlm = again[0].model
    assert mlm.get_output_embeddings().weight is mlm.get_input_embeddings().weight


def test_more_dims_than_words(tiny_bert):
    with pytest.raises(UserError, match=r"base_model.target_active_dims is 5000; expected less"):
        convert_dense(tiny_bert, ["a dog"], 5000, 32)


def test_only_bert_is_converted(tiny_bert, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    (tmp_path / "model.safetensors").write_bytes((tiny_bert / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match="is of type 'roberta'; only bert"):
        convert_dense(tmp_path, ["a dog"], 8, 32)


@pytest.mark.parametrize("activation", ["tanh", "silu"])
def test_activation_that_is_not_the_identity(encoder, activation):
    """No shift makes an identity of it."""
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**config, "hidden_act": activation}))
    with pytest.raises(UserError, match=f"hidden_act '{activation}'; expected one of gelu, "):
        convert_dense(encoder, ["a dog"], 8, 32)


def test_states_that_are_not_finite(encoder):
    """Its weights are finite, and what they give is too large for a number."""
    scale_states(encoder, 3e38)
    with pytest.raises(UserError, match="not finite"):
        convert_dense(encoder, ["a dog", "a cat"], 8, 32)
