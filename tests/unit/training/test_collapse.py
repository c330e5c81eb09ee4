"""Real trainings that collapse, and when it is noticed."""

from contextlib import nullcontext, suppress

import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

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
            r"\d+ of \d+ sentences have no active dims",
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


@pytest.mark.parametrize(
    ("batch_size", "logging_steps", "watched"),
    [
        (16, 10, [9, 10, 19, 20, 29, 30, 32, 33]),
        (2, 10, [6, 7, 8, 9, 10, 16, 17, 18, 19, 20, 26, 27, 28, 29, 30, *range(31, 34)]),
        (16, 1, list(range(1, 34))),
    ],
)
def test_when_it_looks(tmp_path, batch_size, logging_steps, watched):
    """Only before a loss is logged, which the last step does too: as many steps as have 16
    sentences together, and one more.
    """
    watch, control, model = CollapseWatch(), TrainerControl(), torch.nn.Identity()
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=batch_size,
        logging_steps=logging_steps,
        use_cpu=True,
        report_to="none",
    )
    seen = []
    for step in range(33):
        watch.batches.clear()
        watch.on_step_begin(arguments, TrainerState(global_step=step, max_steps=33), control)
        watch.see(model, None, {"sentence_embedding": torch.rand(batch_size, 8)})
        seen += [step + 1] if watch.batches else []
    assert seen == watched
