"""Tiny trainings, undisturbed and killed, and whether they gave the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from splade_sts.data.pairs import Pairs
from splade_sts.model.encoder import load_encoder
from splade_sts.params import TrainParams
from splade_sts.training.curves import Point
from splade_sts.training.finetune import TrainingResult, finetune
from splade_sts.training.trainer import RecordingTrainer


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a training gave, and the points that were seen while it ran."""

    result: TrainingResult
    points: list[Point]
    weights: dict[str, torch.Tensor]


def outcome(splade: Path, pairs: Pairs, settings: TrainParams, checkpoints: Path) -> Outcome:
    """Train the model in `splade` on `pairs`, validating on them too."""
    points: list[Point] = []
    result = finetune(load_encoder(splade), pairs, pairs, settings, checkpoints, points.append)
    return Outcome(result, points, result.model.state_dict())


def assert_same(first: Outcome, second: Outcome) -> None:
    """Compare to the last bit; the points may have been seen in another order."""
    assert first.result.training_curve == second.result.training_curve
    assert first.result.validation_curve == second.result.validation_curve
    assert first.result.evidence() == second.result.evidence()
    assert sorted(map(str, first.points)) == sorted(map(str, second.points))
    assert first.weights.keys() == second.weights.keys()
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)


class Killed(BaseException):
    """Stands for a kill at the point where it is raised; nothing catches it."""


@contextmanager
def killed_in_step(step: int) -> Iterator[None]:
    """Within the block a training dies in step `step` (from 1); the block ends there."""
    original = RecordingTrainer.training_step

    def training_step(self: RecordingTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.state.global_step + 1 == step:
            raise Killed
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordingTrainer, "training_step", training_step)
        try:
            yield
        except Killed:
            return
    raise AssertionError(f"there was no step {step}")
