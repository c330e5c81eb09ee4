"""The fused head computes what the stock modules compute, values and gradients."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers.sparse_encoder.modules import SpladePooling
from torch import nn

from splade_sts.model.encoder import load_encoder
from splade_sts.model.head import cpu, shared
from splade_sts.model.head.gpu import PaddedSpladeHead
from splade_sts.model.head.screen import Bfloat16Weight, screened
from splade_sts.model.head.swap import fused, pooled


def both(hidden, mask, decoder, activation, padded=False):
    """Vectors and gradients (hidden, weight, bias) of the stock modules and of a fused head."""
    results = []
    coefficients = torch.randn(hidden.shape[0], decoder.out_features, device=hidden.device)
    for kind in ("stock", "fused"):
        decoder.zero_grad()
        states = hidden.clone().requires_grad_()
        if kind == "stock":
            pooling = SpladePooling("max", activation).train()
            vectors = pooling({"token_embeddings": decoder(states), "attention_mask": mask})[
                "sentence_embedding"
            ]
        elif padded:
            vectors = PaddedSpladeHead.apply(
                states,
                mask.bool(),
                decoder.weight,
                decoder.bias,
                activation == "log1p_relu",
                torch.float32,
            )
        else:
            features = {"token_embeddings": states, "attention_mask": mask}
            vectors = pooled(
                features, decoder, activation == "log1p_relu", Bfloat16Weight(decoder.weight)
            )
        (vectors * coefficients).sum().backward()
        gradients = [states.grad, decoder.weight.grad] + (
            [decoder.bias.grad] if decoder.bias is not None else []
        )
        results.append((vectors.detach(), [gradient.clone() for gradient in gradients]))
    return results


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    batch=st.integers(1, 5),
    length=st.integers(1, 9),
    dimensions=st.integers(1, 8),
    vocabulary=st.integers(1, 40),
    bias=st.sampled_from([None, -3.0, 0.0, 3.0]),
    activation=st.sampled_from(["relu", "log1p_relu"]),
    chunk=st.sampled_from([1, 4, 1024]),
    dense=st.sampled_from([0.0, 0.02, 2.0]),
    padded=st.booleans(),
)
def test_equal_values_and_gradients(
    seed, batch, length, dimensions, vocabulary, bias, activation, chunk, dense, padded
):
    """Any shape and mask, rows without an active dimension too, by either backward pass."""
    torch.manual_seed(seed)
    decoder = nn.Linear(dimensions, vocabulary, bias=bias is not None)
    if bias is not None:
        nn.init.constant_(decoder.bias, bias)
    hidden = torch.randn(batch, length, dimensions)
    mask = (torch.arange(length) < torch.randint(1, length + 1, (batch, 1))).long()
    with patch.object(shared, "CHUNK_TOKENS", chunk), patch.object(cpu, "DENSE_SHARE", dense):
        (stock, stock_gradients), (ours, our_gradients) = both(
            hidden, mask, decoder, activation, padded
        )
    torch.testing.assert_close(ours, stock, rtol=1e-5, atol=1e-6)
    for expected, found in zip(stock_gradients, our_gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    dimensions=st.integers(1, 64),
    vocabulary=st.integers(1, 40),
    bias=st.sampled_from([None, -3.0, 0.0, 3.0]),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    double_log=st.booleans(),
    chunk=st.sampled_from([1, 4, 1024]),
)
def test_screening_loses_nothing(
    seed, counts, dimensions, vocabulary, bias, scale, double_log, chunk
):
    """The float32 vectors, whatever the sizes of states and bias: no active dimension is lost."""
    torch.manual_seed(seed)
    decoder = nn.Linear(dimensions, vocabulary, bias=bias is not None).requires_grad_(False)
    if bias is not None:
        nn.init.constant_(decoder.bias, bias)
    hidden = scale * torch.randn(sum(counts), dimensions)
    expected = torch.stack(
        [(segment @ decoder.weight.T).amax(dim=0) for segment in hidden.split(counts)]
    )
    expected = (expected if bias is None else expected + decoder.bias).relu().log1p()
    with patch.object(shared, "CHUNK_TOKENS", chunk):
        found = screened(
            hidden, decoder.weight, decoder.bias, counts, double_log, Bfloat16Weight(decoder.weight)
        )
    torch.testing.assert_close(
        found, expected.log1p() if double_log else expected, rtol=1e-5, atol=1e-5 * scale
    )


def test_screening_keeps_what_is_not_a_number():
    """A diverged model is seen as one: NaN is not screened to 0."""
    decoder = nn.Linear(4, 6).requires_grad_(False)
    hidden = torch.full((3, 4), torch.nan)
    assert (
        screened(
            hidden, decoder.weight, decoder.bias, [2, 1], False, Bfloat16Weight(decoder.weight)
        )
        .isnan()
        .all()
    )


def test_screening_follows_a_changed_weight():
    """The bfloat16 copy is made again after the weight has changed."""
    weight = nn.Parameter(torch.ones(2, 3))
    cast = Bfloat16Weight(weight)
    assert (cast.get()[0] == 1).all()
    with torch.no_grad():
        weight.mul_(2)
    assert (cast.get()[0] == 2).all()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_training_step_is_seen_by_the_next_evaluation(tiny_splade, precision):
    """Evaluated, trained with the fused optimizer, evaluated again: by the trained weights."""
    model, sentences = load_encoder(tiny_splade), ["the dog runs in the park", "two red cars"]
    with fused(model), torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        before = model.encode(sentences).to_dense()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, fused=True)
        model(model.preprocess(sentences))["sentence_embedding"].sum().backward()
        optimizer.step()
        after = model.encode(sentences).to_dense()
    with fused(model), torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        fresh = model.encode(sentences).to_dense()
    assert not torch.allclose(before, after, atol=1e-2)
    assert torch.equal(after, fresh)


def test_nothing_waits_for_a_gpu():
    """The head of a GPU runs on tensors without data (PyTorch's meta device).

    Any shape that depends on data is an error there.
    """
    hidden = torch.empty(3, 7, 8, device="meta", requires_grad=True)
    weight, bias = (
        torch.empty(*shape, device="meta", requires_grad=True) for shape in ((50, 8), (50,))
    )
    mask = torch.empty(3, 7, dtype=torch.bool, device="meta")
    PaddedSpladeHead.apply(hidden, mask, weight, bias, True, torch.bfloat16).sum().backward()
    assert all(
        tensor.grad.shape == tensor.shape and tensor.grad.dtype == torch.float32
        for tensor in (hidden, weight, bias)
    )
    with torch.no_grad():
        assert PaddedSpladeHead.apply(hidden, mask, weight, bias, False, torch.float32).shape == (
            3,
            50,
        )
    with pytest.raises(NotImplementedError):
        hidden[mask]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("activation", ["relu", "log1p_relu"])
def test_on_a_gpu(activation):
    """The values and gradients of the stock modules there."""
    decoder, hidden, mask = (
        nn.Linear(32, 200),
        torch.randn(4, 6, 32),
        torch.ones(4, 6, dtype=torch.long),
    )
    (stock, stock_gradients), (ours, our_gradients) = both(
        hidden.cuda(), mask.cuda(), decoder.cuda(), activation
    )
    torch.testing.assert_close(ours, stock, rtol=1e-4, atol=1e-5)
    for expected, found in zip(stock_gradients, our_gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("padded", [False, True])
def test_ties_give_the_gradient_to_one_token(padded):
    """Two equal tokens: the values agree, and the two together get what one would."""
    decoder = nn.Linear(3, 5, bias=False)
    hidden = torch.randn(1, 1, 3).repeat(1, 2, 1)
    (stock, stock_gradients), (ours, our_gradients) = both(
        hidden, torch.ones(1, 2), decoder, "relu", padded
    )
    torch.testing.assert_close(ours, stock)
    torch.testing.assert_close(our_gradients[0].sum(1), stock_gradients[0].sum(1))
    torch.testing.assert_close(our_gradients[1], stock_gradients[1])


def test_bfloat16_is_as_close_as_autocast():
    """Under autocast both round to bfloat16 (8 bits): a hundredth."""
    torch.manual_seed(0)
    decoder, hidden, mask = (
        nn.Linear(32, 200),
        torch.randn(4, 6, 32),
        torch.ones(4, 6, dtype=torch.long),
    )
    with torch.autocast("cpu", torch.bfloat16):
        (stock, _), (ours, _) = both(hidden, mask, decoder, "relu")
    torch.testing.assert_close(ours, stock.float(), rtol=2e-2, atol=2e-2)


def test_a_whole_model(tiny_splade, tmp_path):
    """The same vectors within the block and after it; what is saved within is the stock model."""
    model = load_encoder(tiny_splade)
    sentences = ["the dog runs in the park", "a", "two red cars happy happy"]
    before = model.encode(sentences).to_dense()
    with fused(model):
        torch.testing.assert_close(model.encode(sentences).to_dense(), before, rtol=1e-5, atol=1e-6)
        model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    assert torch.equal(model.encode(sentences).to_dense(), before)
    assert torch.equal(load_encoder(tmp_path / "saved").encode(sentences).to_dense(), before)
    for name in ("modules.json", "model.safetensors"):
        assert (tmp_path / "saved" / name).read_bytes() == (tiny_splade / name).read_bytes()


def test_other_heads_run_as_they_are(tiny_splade, caplog):
    """Sum pooling is not fused, and the log says so."""
    model = load_encoder(tiny_splade)
    model[1].pooling_strategy = "sum"
    before = model.encode(["the dog runs"]).to_dense()
    with fused(model):
        assert torch.equal(model.encode(["the dog runs"]).to_dense(), before)
    assert "cannot be fused" in caplog.text
