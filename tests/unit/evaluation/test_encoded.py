"""Each distinct sentence is encoded once, and its vector is the library's."""

import pytest
import torch

from splade_sts.evaluation.encoded import encode, token_counts, tokens_per_second
from splade_sts.model.encoder import load_encoder

SENTENCES = ["the dog runs in the park", "a", "two red cars", "a", "the dog runs in the park"]


@pytest.fixture(scope="module")
def model(tiny_splade):
    return load_encoder(tiny_splade, device="cpu")


def test_distinct_sentences_are_encoded_once(model):
    """Repeated sentences share a row; rows are those of the library's encode."""
    calls = []
    hook = model[0].register_forward_pre_hook(
        lambda _, inputs: calls.append(len(inputs[0]["input_ids"]))
    )
    found = encode(model, SENTENCES, batch_size=2)
    hook.remove()
    assert sum(calls) == 3
    assert sorted(found.sentences) == sorted(set(SENTENCES))
    expected = model.encode(SENTENCES, show_progress_bar=False).to_dense()
    vectors = found.of(SENTENCES).to_dense()
    torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5)
    assert (found.matrix(SENTENCES).toarray() == vectors.numpy()).all()
    assert found.active_dims == (found.vectors.to_dense() != 0).sum() / 3


def test_nothing_to_encode(model):
    """No sentence, no vector; the vocabulary stays."""
    found = encode(model, [], batch_size=2)
    assert found.vectors.shape == (0, model.get_embedding_dimension())
    assert (found.sentences, found.active_dims, found.of([]).shape[0]) == ([], 0, 0)


def test_speed(model):
    """Tokens with special ones, cut at the longest input, by the seconds that encoding took."""
    assert token_counts(model, ["a dog", "a " * 100]) == [4, model.max_seq_length]
    parts = [encode(model, part, batch_size=2) for part in (SENTENCES, ["a dog"])]
    assert all(part.seconds > 0 for part in parts)
    seconds = sum(part.seconds for part in parts)
    assert tokens_per_second(model, parts) == pytest.approx((8 + 3 + 5 + 4) / seconds, rel=0.3)
