"""A training that is killed and resumed ends with the bytes of one that was not; checkpoints that are not whole do not count."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from splade_sts import checkpoints, params
from splade_sts.files import sha256
from splade_sts.training import finetune
from tests.conftest import ROOT


class Killed(BaseException):
    """Stands for a kill at the point where it is raised; nothing catches it."""


def train_params(**changes) -> params.TrainParams:
    defaults = params.load(ROOT / "params.yaml").train.model_dump()
    small = {"precision": "fp32", "batch_size": 8, "epochs": 2.5, "learning_rate": 1e-3, "eval_steps": 4,
             "logging_steps": 3, "checkpoint_steps": 2}
    return params.TrainParams(**{**defaults, **small, **changes})


def killed_in_step(step: int):
    """A callback of the curves cannot see every step: kill in the forward pass of step `step` (from 1)."""
    from splade_sts import training

    original = training.RecordingTrainer.training_step

    def training_step(self, *args, **kwargs):
        if self.state.global_step + 1 == step:
            raise Killed
        return original(self, *args, **kwargs)

    return training_step


def result(tiny_splade, pairs, settings, folder=None) -> tuple:
    points = []
    model, trainer, summary = finetune(
        tiny_splade, pairs, pairs, settings, lambda kind, point: points.append((kind, point)), folder
    )
    weights = {name: value.clone() for name, value in model[0].model.state_dict().items()}
    return weights, trainer.training_curve, trainer.validation_curve, summary, points


def assert_same(first: tuple, second: tuple) -> None:
    assert first[1:4] == second[1:4]
    assert sorted(map(str, first[4])) == sorted(map(str, second[4]))
    assert all(torch.equal(first[0][name], second[0][name]) for name in first[0])


@pytest.mark.parametrize("changes", [{}, {"group_by_length": False}, {"precision": "bf16"}, {"checkpoint_steps": 1000}])
def test_resumed_after_every_step(tiny_splade, pairs, tmp_path, monkeypatch, changes):
    """Killed in every third step, over epoch borders, the training ends with the same weights and curves."""
    from splade_sts import training

    settings = train_params(**changes)
    whole = result(tiny_splade, pairs, settings)
    assert whole[3]["steps"] == 15
    for step in range(1, 16, 3):
        monkeypatch.setattr(training.RecordingTrainer, "training_step", killed_in_step(step))
        with pytest.raises(Killed):
            finetune(tiny_splade, pairs, pairs, settings, folder_of_checkpoints=tmp_path)
        monkeypatch.undo()
    assert_same(whole, result(tiny_splade, pairs, settings, tmp_path))
    assert_same(whole, result(tiny_splade, pairs, settings, tmp_path))  # all steps done: only the best is loaded
