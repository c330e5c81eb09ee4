"""Real trainings that collapse, and when it is noticed."""

from contextlib import nullcontext, suppress

import pytest
import torch

from splade_sts.errors import UserError
from splade_sts.model.encoder import load_encoder
from splade_sts.training import finetune as module
from splade_sts.training.collapse import CollapseWatch
from splade_sts.training.curves import TrainingPoint
from splade_sts.training.finetune import finetune
from tests.support.tiny import train_params
from tests.support.trainings import assert_same, outcome


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        (
            {"regularizer_weight": 1e4, "regularizer_warmup_ratio": 0.01, "learning_rate": 3e-3},
            r"0\.\d\d active dims on average",
        ),
        ({"learning_rate": 0.03}, r"the cosine of different sentences is 0\.9\d\d"),
    ],
)
@pytest.mark.parametrize("batch_size", [8, 2])
def test_a_collapse_is_noticed_at_a_logging_step(
    tiny_splade, pairs, tmp_path, monkeypatch, changes, seen, batch_size
):
    """By what the loss was computed of: no validation has seen it yet. Without it, training goes on
    to its end.
    """
    settings = train_params(
        epochs=8.0, logging_steps=2, eval_steps=10_000, batch_size=batch_size, **changes
    )
    points = []

    def train(folder):
        model = load_encoder(tiny_splade)
        finetune(model, pairs, pairs, settings, tmp_path / folder, points.append)

    with pytest.raises(UserError, match=rf"^training, step \d+ of \d+: .*{seen}.*; lower train"):
        train("watched")
    noticed = points[-1]
    assert isinstance(noticed, TrainingPoint)
    assert noticed.step < 8 * 48 / batch_size / 2
    points.clear()
    monkeypatch.setattr(module, "noticing_collapse", lambda *arguments: nullcontext())
    with suppress(UserError):  # of the validation at the end
        train("unwatched")
    assert points[-1].step == 8 * 48 / batch_size


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_healthy_training_is_the_same(tiny_splade, pairs, tmp_path, monkeypatch, precision):
    """To the last bit, with and without the watch, which leaves nothing at the model."""
    settings = train_params(epochs=2.0, logging_steps=1, precision=precision)
    watched = outcome(tiny_splade, pairs, settings, tmp_path / "watched")
    assert not watched.result.model._forward_hooks
    monkeypatch.setattr(module, "noticing_collapse", lambda *arguments: nullcontext())
    assert_same(watched, outcome(tiny_splade, pairs, settings, tmp_path / "unwatched"))


def test_what_is_looked_at(tiny_splade):
    """The last batches that have 16 sentences together, of training alone."""
    model, watch = load_encoder(tiny_splade), CollapseWatch()

    def see(sentences):
        watch.see(model, None, {"sentence_embedding": torch.rand(sentences, 76)})

    model.eval()
    see(32)
    assert not watch.batches
    model.train()
    for sentences, expected in (
        (4, [4]),
        (20, [20]),
        (12, [20, 12]),
        (4, [12, 4]),
        (16, [16]),
        (2, [16, 2]),
    ):
        see(sentences)
        assert [batch.sentences for batch in watch.batches] == expected
