"""The dense reference."""

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
    found = DenseControl(str(tiny_bert), None).scores(PAIRS)
    model = SentenceTransformer(str(tiny_bert), device="cpu")
    expected = model.similarity_pairwise(
        model.encode(PAIRS.sentence1), model.encode(PAIRS.sentence2)
    )
    assert np.allclose(found, expected, atol=1e-5)
    assert found[1] == pytest.approx(1, abs=1e-5)


def test_what_is_no_encoder(tmp_path):
    """A folder that is not there, and one without a model, are refused by the parameter's name."""
    with pytest.raises(UserError, match=r"controls.dense_model.*nowhere not found"):
        DenseControl(str(tmp_path / "nowhere"), None)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"controls.dense_model: .* holds no weights"):
        DenseControl(str(tmp_path), None)


def test_a_word_that_overflows(tiny_bert, tmp_path):
    """Finite weights, and a number that is none for the sentences with that word."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    weights = load_file(folder / "model.safetensors")
    word = (folder / "vocab.txt").read_text().split().index("cat")
    weights["embeddings.word_embeddings.weight"][word, 0] = 3e38
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"controls.dense_model: the cosine of pair 1 is nan"):
        DenseControl(str(folder), None).scores(PAIRS)
