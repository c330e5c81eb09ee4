"""Training to a wanted number of active dims: the controller alone, and in real trainings."""

import math
from functools import partial

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sentence_transformers.sparse_encoder.callbacks.splade_callbacks import (
    SpladeRegularizerWeightSchedulerCallback,
)
from sentence_transformers.sparse_encoder.losses import SparseCosineSimilarityLoss, SpladeLoss

from splade_sts.errors import UserError
from splade_sts.model.encoder import load_encoder
from splade_sts.training import sparsity
from splade_sts.training.finetune import finetune
from splade_sts.training.selection import TOLERANCE
from splade_sts.training.sparsity import SparsityController, spread_by_length
from tests.support import tiny
from tests.support.trainings import outcome

MODULE = "splade_sts.training.finetune"
train_params = partial(
    tiny.train_params, batch_size=4, epochs=12.0, learning_rate=5e-4, eval_steps=12, logging_steps=4
)


@pytest.fixture(scope="module")
def controller(tiny_splade):
    """Makes controllers without sentences: first weight, target, form and share of the steps."""
    model = load_encoder(tiny_splade)
    loss = SpladeLoss(
        model,
        SparseCosineSimilarityLoss(model),
        document_regularizer_weight=0.0,
        use_document_regularizer_only=True,
    )

    def make(weight: float, target: float, form: str, share: float) -> SparsityController:
        loss.document_regularizer_weight = weight
        return SparsityController(loss, [], target, form, share, 1)

    return make


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    start=st.floats(20, 400),
    share=st.floats(0.35, 0.9),
    needed=st.floats(-3.5, -2),
    speed=st.floats(0.12, 0.2),
    form=st.sampled_from(["linear", "quadratic"]),
)
def test_the_controller_on_simulated_models(controller, start, share, needed, speed, form):
    """With a first weight ten times too low or too high, on slow and fast models: within 10 %.

    The model: active dims fall or rise, in the logarithm, by at most `speed` between two
    measurements, the further the weight is from the one that would hold them; the fewer there are,
    the more weight that takes. The answer lags, as with the moments of Adam, and fades with the
    learning rate.
    """
    steps, target = 36, start * share
    assume(-math.log(share) < 0.5 * speed * steps / 2)  # the model can go twice as far in that time
    steered = controller(3e-3, target, form, 1 / 3)
    active, velocity = start, 0.0
    for step in range(steps):
        steered.update(active, step / steps)
        holding = needed * math.log(10) + 2 * math.log(start / active)
        velocity = (velocity + math.tanh(math.log(steered.weight) - holding)) / 2
        active *= math.exp(-speed * velocity * (1 - step / steps))
    assert abs(active / target - 1) <= TOLERANCE, (active, target)


def test_the_set_point(controller):
    """From the first measurement to the wanted number, evenly or quadratically; then constant."""
    for form, middle in (("linear", 40.0), ("quadratic", 80 * 0.25**0.25)):
        steered = controller(1e-3, 20, form, 0.5)
        steered.update(80.0, 0.0)
        assert steered.weight == 1e-3
        found = [steered.set_point(progress) for progress in (0, 0.25, 0.5, 1)]
        assert found == pytest.approx([80, middle, 20, 20])


def test_the_weight_stays_in_bounds(controller):
    """However long the model does not answer."""
    steered = controller(1e-3, 10, "linear", 0.1)
    for step in range(1000):
        steered.update(80.0, step / 1000)
    assert steered.weight == pytest.approx(1e-3 * sparsity.LARGEST_CHANGE)


def test_the_probe():
    """Sentences of all lengths alike; all of them where there are few."""
    sentences = ["x" * length for length in range(1, 1001)]
    probe = spread_by_length(sentences[::-1], 10)
    assert [len(sentence) for sentence in probe] == list(range(51, 1001, 100))
    assert spread_by_length(sentences[:7], 10) == sentences[:7]


def test_a_training_ends_at_the_wanted_number(tiny_splade, pairs, tmp_path):
    """From 8 active dims to fewer; the weight is in the curve, and moves."""
    target = 7
    wanted = train_params(target_active_dims=target)
    found = finetune(load_encoder(tiny_splade), pairs, pairs, wanted, tmp_path)
    assert abs(found.validation.active_dims / target - 1) <= TOLERANCE
    assert len({point.document_regularizer_weight for point in found.training_curve}) > 5
    curve = found.validation_curve
    near = [point for point in curve if abs(point.active_dims / target - 1) <= TOLERANCE]
    assert found.validation.spearman == max(point.spearman for point in near)


def test_a_number_out_of_reach(tiny_splade, pairs, tmp_path):
    """Two epochs are too short for it: an error with what came out."""
    wanted = train_params(target_active_dims=1, epochs=2.0, learning_rate=1e-5)
    with pytest.raises(UserError, match=r"no validation came within 10% of it: the nearest had \d"):
        finetune(load_encoder(tiny_splade), pairs, pairs, wanted, tmp_path)


def test_a_learning_rate_of_0_keeps_what_the_base_has(tiny_splade, pairs, tmp_path):
    """Wanted is what is there: no refusal."""
    wanted = train_params(target_active_dims=8, learning_rate=0.0)
    found = finetune(load_encoder(tiny_splade), pairs, pairs, wanted, tmp_path)
    assert abs(found.validation.active_dims / 8 - 1) <= TOLERANCE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target_active_dims": 25}, r"is 25, but the base model has 8\.\d active dims"),
        ({"target_active_dims": 7, "epochs": 1.0}, "the training has 12 steps, and steering takes"),
        (
            {"target_active_dims": 4, "learning_rate": 0.0},
            r"is 4, but train.learning_rate is 0: the model keeps the 8\.\d active dims",
        ),
    ],
)
def test_what_no_training_reaches(tiny_splade, pairs, tmp_path, changes, said):
    """Refused before the first step."""
    points = []
    with pytest.raises(UserError, match=said):
        finetune(
            load_encoder(tiny_splade),
            pairs,
            pairs,
            train_params(**changes),
            tmp_path,
            on_point=points.append,
        )
    assert not points


def test_measuring_changes_no_training(tiny_splade, pairs, tmp_path, monkeypatch):
    """With the weight held still, the weights are those of a training with a constant weight.

    So measuring has no dropout and touches no random state.
    """
    constant = {"epochs": 2.0, "regularizer_weight": 1e-3, "eval_steps": 1000}
    plain = train_params(group_by_length=False, **constant)

    class Still(SpladeRegularizerWeightSchedulerCallback):
        def _calculate_weight_value(self, step, max_value):  # private: sentence-transformers
            return max_value

    monkeypatch.setattr(f"{MODULE}.SpladeRegularizerWeightSchedulerCallback", Still)
    monkeypatch.setattr(f"{MODULE}.check_reached", lambda *arguments: None)
    monkeypatch.setattr(sparsity, "PROPORTIONAL", 0.0)
    monkeypatch.setattr(sparsity, "INTEGRAL", 0.0)
    steered = plain.model_copy(update={"target_active_dims": 8})
    other = outcome(tiny_splade, pairs, steered, tmp_path / "steered").weights
    last = outcome(tiny_splade, pairs, plain, tmp_path / "plain").weights
    assert other.keys() == last.keys()
    assert all(torch.equal(last[name], other[name]) for name in other)
