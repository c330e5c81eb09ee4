"""Several processes train one model, and it comes out as from one."""

from dataclasses import asdict
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainerCallback

from splade_sts.model.encoder import load_encoder
from splade_sts.training.callbacks import ProgressBar
from splade_sts.training.environment import own_settings
from splade_sts.training.finetune import build_arguments, build_trainer, ignore, run
from tests.support.processes import in_processes
from tests.support.tiny import train_params


class Gradients(TrainerCallback):
    """The gradient of each step, all parameters in one vector."""

    def __init__(self) -> None:
        self.found: list[Tensor] = []

    def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
        parts = [parameter.grad.flatten() for parameter in model.parameters()]
        self.found.append(torch.cat(parts).clone())


def without_dropout(folder):
    model = load_encoder(folder)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def gradients(folder, pairs, settings, checkpoints):
    """Those of all steps of a training without dropout, after clipping, and its training curve."""
    seen = Gradients()
    with own_settings():
        arguments = build_arguments(settings, "fp32", checkpoints)
        trainer = build_trainer(
            without_dropout(folder), pairs, pairs, settings, arguments, ProgressBar(), ignore
        )
        trainer.add_callback(seen)
        run(trainer, None)
    return seen.found, trainer.training_curve


@pytest.mark.parametrize(
    ("loss", "batch_size"), [("cosine", 13), ("cosent", 13), ("angle", 13), ("cosent", 47)]
)
def test_the_gradient_of_a_step(tiny_splade, pairs, tmp_path, loss, batch_size):
    """Batches of 13, 13, 9 and 13 pairs, or of 47 and 1: nothing of it is a multiple of 2 or 4.

    The learning rate is 0, so that all steps start from the same weights. What clipping takes away
    is seen in the norm.
    """
    settings = train_params(
        loss=loss,
        batch_size=batch_size,
        learning_rate=0.0,
        regularizer_weight=0.1,
        logging_steps=1,
        precision="fp32",
    )
    alone, curve = gradients(tiny_splade, pairs, settings, tmp_path / "1")
    expected = [asdict(point) for point in curve]
    assert any(point["document_regularizer_loss"] > 1e-3 for point in expected)
    for count in (2, 4):
        checkpoints = tmp_path / str(count)
        found = in_processes(count, partial(gradients, tiny_splade, pairs, settings, checkpoints))
        for vectors, points in found:
            assert [asdict(point) for point in points] == [
                pytest.approx(point, rel=1e-6) for point in expected
            ]
            for one, other in zip(alone, vectors, strict=True):
                assert (one - other).norm() <= 1e-6 * one.norm()
