"""The dense reference."""

import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from splade_sts.controls.dense import DenseControl
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError

PAIRS = Pairs(["the dog runs", "the cat"], ["a red car", "the cat"], np.array([0.2, 1.0]))


def test_cosine(tiny_bert):
    """The cosine of a dense encoder's vectors."""
    found = DenseControl(str(tiny_bert), None, 32).scores(PAIRS)
    model = SentenceTransformer(str(tiny_bert), device="cpu")
    expected = model.similarity_pairwise(
        model.encode(PAIRS.sentence1), model.encode(PAIRS.sentence2)
    )
    assert np.allclose(found, expected, atol=1e-5)
    assert found[1] == pytest.approx(1, abs=1e-5)


def test_what_is_no_encoder(tmp_path):
    """A folder that is not there, and one without a model, are refused by the parameter's name."""
    with pytest.raises(UserError, match=r"controls.dense_model.*nowhere not found"):
        DenseControl(str(tmp_path / "nowhere"), None, 32)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"controls.dense_model: .* holds no weights"):
        DenseControl(str(tmp_path), None, 32)


def test_a_word_that_overflows(tiny_bert, tmp_path):
    """Finite weights, and a number that is none for the sentences with that word."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    weights = load_file(folder / "model.safetensors")
    word = (folder / "vocab.txt").read_text().split().index("cat")
    weights["embeddings.word_embeddings.weight"][word, 0] = 3e38
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"controls.dense_model: the cosine of pair 1 is nan"):
        DenseControl(str(folder), None, 32).scores(PAIRS)


@pytest.mark.parametrize("place", ["sentence_bert_config.json", "tokenizer_config.json"])
def test_the_length_is_ours(tiny_bert, tmp_path, place):
    """As for the sparse models, whatever the folder says: it could leave one word of each."""
    folder = tmp_path / "dense"
    SentenceTransformer(str(tiny_bert), device="cpu").save_pretrained(str(folder))
    expected = DenseControl(str(folder), None, 32).scores(PAIRS)
    path = folder / place
    key = "max_seq_length" if place.startswith("sentence") else "model_max_length"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: 3}))
    assert np.array_equal(DenseControl(str(folder), None, 32).scores(PAIRS), expected)
    assert not np.allclose(DenseControl(str(folder), None, 3).scores(PAIRS), expected)
    with pytest.raises(UserError, match=r"max_seq_length is 65; .* has positions for 64 tokens"):
        DenseControl(str(folder), None, 65)
