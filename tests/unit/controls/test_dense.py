"""The dense reference."""

import numpy as np
import pytest
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
