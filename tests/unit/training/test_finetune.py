"""Real trainings of a tiny model: what they keep, and what they print."""

from dataclasses import asdict

import pytest
import torch

from splade_sts.errors import UserError
from splade_sts.evaluation.correlation import PairEvaluator, metrics_of
from splade_sts.model.encoder import load_encoder
from splade_sts.model.head.swap import fused
from splade_sts.training.finetune import finetune
from tests.support.tiny import train_params
from tests.support.trainings import killed_in_step, outcome


@pytest.mark.parametrize("loss", ["cosine", "cosent", "angle"])
def test_training_with_every_loss(tiny_splade, pairs, tmp_path, loss):
    """Each loss trains; the kept model is the one of the best validation."""
    settings = train_params(loss=loss, epochs=2.0, learning_rate=1e-3, logging_steps=1)
    found = finetune(load_encoder(tiny_splade), pairs, pairs, settings, tmp_path)
    best = max(found.validation_curve, key=lambda point: point.spearman)
    assert found.best_step == best.step
    assert asdict(found.validation).items() <= asdict(best).items()
    with fused(found.model):
        again = metrics_of(PairEvaluator(pairs, "again", 32)(found.model), "again")
    assert asdict(again) == pytest.approx(asdict(found.validation), abs=1e-9)
    weights = [point.document_regularizer_weight for point in found.training_curve]
    assert weights[0] < weights[2]
    assert weights[-1] == 3e-3
    for point in found.training_curve:
        assert point.loss == pytest.approx(point.base_loss + point.document_regularizer_loss)
    validation = asdict(found.validation)
    assert found.evidence() == {
        "precision": "fp32",
        "processes": 1,
        "threads": torch.get_num_threads(),
        "steps": 12,
        "best_step": best.step,
        "validation": validation,
        "base": asdict(found.base),
    }


def test_the_last_step_is_validated(tiny_splade, pairs, tmp_path):
    """Also where eval_steps is larger than the whole training."""
    settings = train_params(eval_steps=1000)
    found = finetune(load_encoder(tiny_splade), pairs, pairs, settings, tmp_path)
    assert [point.step for point in found.validation_curve] == [6]
    assert found.best_step == 6


def test_same_seed_same_weights(tiny_splade, pairs, tmp_path):
    """Two trainings with one seed give identical weights and curves; another seed gives others."""

    def run(seed, name):
        settings = train_params(seed=seed, learning_rate=1e-3)
        found = outcome(tiny_splade, pairs, settings, tmp_path / name)
        return found.weights, found.result.validation_curve

    (first, curve1), (second, curve2), (other, _) = run(1, "a"), run(1, "b"), run(2, "c")
    assert curve1 == curve2
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_learning_rate_zero_changes_nothing(tiny_splade, pairs, tmp_path):
    """What an honest "no gain" is made of."""
    found = outcome(tiny_splade, pairs, train_params(learning_rate=0.0), tmp_path)
    before = load_encoder(tiny_splade).state_dict()
    assert all(torch.equal(before[name], value) for name, value in found.weights.items())


def test_diverged_training_is_an_error(tiny_splade, pairs, tmp_path):
    """Weights that are not finite end in a message, not in a model."""
    settings = train_params(learning_rate=1e20)
    with pytest.raises(UserError, match=r"diverged: .*lower train\.learning_rate"):
        finetune(load_encoder(tiny_splade), pairs, pairs, settings, tmp_path)


def test_what_is_printed(tiny_splade, pairs, tmp_path, capsys):
    """Without a terminal: a line for each validation, and from where a training goes on."""
    settings = train_params(logging_steps=2, checkpoint_steps=1)
    with killed_in_step(6):
        finetune(load_encoder(tiny_splade), pairs, pairs, settings, tmp_path)
    printed = capsys.readouterr()
    seen = "models/base: 8.0 active dims, mean cosine 0.123 (85 sentences, 3 without any)\n"
    assert shape(printed.out) == shape(seen)
    line = "training, step {} of 6: loss 0.1234, Spearman 0.1234, dims 12.3"
    assert shape(printed.err) == shape(line.format(4) + "\n")
    finetune(load_encoder(tiny_splade), pairs, pairs, settings, tmp_path)
    printed = capsys.readouterr()
    resuming = f"resuming from {tmp_path / 'checkpoint-5'}\n"
    assert shape(printed.out) == shape(f"{seen}{resuming}")
    assert shape(printed.err) == shape(line.format(6) + "\n")


def shape(text: str) -> str:
    """`text` without its decimals."""
    return "".join("#" if sign.isdigit() else sign for sign in text).replace("##.", "#.")
