"""What saves memory changes no number; and what is said where there is none left."""

import numpy as np
import pytest
import torch

from splade_sts.errors import memory_problem
from splade_sts.model.encoder import load_encoder
from splade_sts.training import memory


def test_saving_memory_changes_no_gradient(tiny_splade, monkeypatch):
    """The same, dropout included, whether activations and freed memory are kept or not."""
    found = []
    for kept in (10**6, 1):
        for limit in ("KEPT_TOKENS", "GIVEN_BACK_TOKENS", "GIVEN_BACK_WEIGHTS"):
            monkeypatch.setattr(memory, limit, kept)
        model = load_encoder(tiny_splade).train()
        features = model.preprocess(["the dog runs in the park", "two red cars"])
        calls = []
        layer = model[0].model.bert.encoder.layer[0].intermediate
        hook = layer.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        with memory.saving_memory(model):
            torch.manual_seed(0)
            model(features)["sentence_embedding"].sum().backward()
        hook.remove()
        found.append([parameter.grad for parameter in model.parameters()])
        assert len(calls) == (1 if kept > 1 else 2)
    for kept, recomputed in zip(*found, strict=True):
        assert torch.equal(kept, recomputed)


@pytest.mark.parametrize(
    "ask", [lambda: torch.empty(2**48), lambda: bytearray(2**60), lambda: np.empty(2**50)]
)
def test_memory_that_runs_out(ask):
    """More than any machine has, asked of PyTorch, Python and NumPy: each is understood."""
    with pytest.raises((MemoryError, RuntimeError)) as refused:
        ask()
    said = memory_problem(refused.value)
    assert said.startswith("not enough memory (")
    assert "make the batches smaller" in said
    assert "\n" not in said
