"""Several processes train one model, and it comes out as from one."""

from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import torch
import torch.distributed as dist
from sentence_transformers import SparseEncoder
from torch import Tensor
from transformers import TrainerCallback

from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.model.encoder import load_encoder
from splade_sts.training import checkpoints as stored
from splade_sts.training.callbacks import ProgressBar
from splade_sts.training.curves import Point
from splade_sts.training.environment import PROCESS_GROUP, own_settings
from splade_sts.training.finetune import build_arguments, build_trainer, finetune, ignore, run
from splade_sts.training.processes import (
    PATIENCE,
    RENDEZVOUS,
    Processes,
    check_alike,
    current,
    joined,
    launched,
    wait_for_all,
)
from tests.support.processes import free_port, in_processes, rendezvous
from tests.support.tiny import make_pairs, train_params
from tests.support.trainings import killed_in_step


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
    """Those of all steps of a training without dropout and clipping, and its training curve."""
    seen = Gradients()
    with own_settings():
        arguments = build_arguments(settings, "fp32", checkpoints)
        trainer = build_trainer(
            without_dropout(folder), pairs, pairs, settings, arguments, ProgressBar(), ignore
        )
        trainer.add_callback(seen)
        trainer.args.max_grad_norm = 0.0
        run(trainer, None)
    return seen.found, trainer.training_curve


@pytest.mark.parametrize(
    ("loss", "batch_size", "counts"),
    [("cosine", 13, (2, 4)), ("cosent", 13, (2,)), ("angle", 13, (2,)), ("cosent", 47, (4,))],
)
def test_the_gradient_of_a_step(tiny_splade, pairs, tmp_path, loss, batch_size, counts):
    """Batches of 13, 13, 9 and 13 pairs, or of 47 and 1: nothing of it is a multiple of 2 or 4.

    The learning rate is 0, so that all steps start from the same weights.
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
    for count in counts:
        checkpoints = tmp_path / str(count)
        found = in_processes(count, partial(gradients, tiny_splade, pairs, settings, checkpoints))
        for vectors, points in found:
            assert [asdict(point) for point in points] == [
                pytest.approx(point, rel=1e-6) for point in expected
            ]
            for one, other in zip(alone, vectors, strict=True):
                assert (one - other).norm() <= 1e-6 * one.norm()


def training(folder, train, validation, settings, checkpoints):
    """What a training without dropout gives, and how many points this process was told."""
    points: list[Point] = []
    result = finetune(
        without_dropout(folder), train, validation, settings, checkpoints, points.append
    )
    return result.training_curve, result.validation_curve, result.evidence(), len(points)


@pytest.mark.parametrize(("target", "counts"), [(None, (2, 4)), (6, (2,))])
def test_two_epochs(tiny_splade, pairs, tmp_path, target, counts, monkeypatch):
    """The curves and the kept model are those of one process, also with a steered regulariser.

    The first process alone has the points. What is steered by active dims may move for a step where
    an entry that is all but 0 is counted by one and not by the other. No pair of the validation is
    twice the same sentence: the cosines of those are 1 but for their last digit, which would order
    them.
    """
    monkeypatch.setattr("splade_sts.training.finetune.check_reached", lambda *arguments: None)
    table = make_pairs(500).table()
    validation = Pairs.from_table(table[table["score"] < 1])
    settings = train_params(
        batch_size=5,
        epochs=2.0,
        learning_rate=1e-3,
        eval_steps=5,
        logging_steps=2,
        regularizer_weight=0.01,
        target_active_dims=target,
        precision="fp32",
    )
    near = 1e-2 if target else 1e-4
    job = partial(training, tiny_splade, pairs, validation, settings)
    losses, validations, evidence, seen = job(tmp_path / "1")
    assert len(losses) == 10
    for count in counts:
        found = in_processes(count, partial(job, tmp_path / str(count)))
        assert [points for *_, points in found] == [seen] + [0] * (count - 1)
        for other_losses, other_validations, other_evidence, _ in found:
            assert other_evidence["processes"] == count
            assert other_evidence["best_step"] == evidence["best_step"]
            for one, other in zip(validations, other_validations, strict=True):
                assert asdict(other) == pytest.approx(asdict(one), abs=1e-4, rel=1e-4)
            for one, other in zip(losses, other_losses, strict=True):
                assert asdict(other) == pytest.approx(asdict(one), rel=near)


def weights(folder, pairs, settings, checkpoints):
    """Those of the kept model, as bytes, and its curves."""
    result = finetune(load_encoder(folder), pairs, pairs, settings, checkpoints)
    content = {name: value.numpy().tobytes() for name, value in result.model.state_dict().items()}
    return content, result.training_curve, result.validation_curve


def stopped(folder, pairs, settings, checkpoints, step):
    with killed_in_step(step):
        finetune(load_encoder(folder), pairs, pairs, settings, checkpoints)


def test_resumed(tiny_splade, pairs, tmp_path):
    """Stopped within the second epoch, two processes give the bytes that they give undisturbed.

    Each of them draws its own dropout.
    """
    settings = train_params(
        epochs=2.0, learning_rate=1e-3, logging_steps=3, checkpoint_steps=2, eval_steps=5
    )
    calm = in_processes(2, partial(weights, tiny_splade, pairs, settings, tmp_path / "calm"))
    assert calm[0] == calm[1]
    job = partial(stopped, tiny_splade, pairs, settings, tmp_path / "killed", 10)
    assert in_processes(2, job) == [None] * 2
    kept = stored.complete(tmp_path / "killed")
    assert [path.name for path in kept] == ["checkpoint-5", "checkpoint-8"]
    states = [
        torch.load(kept[-1] / f"rng_state_{rank}.pth", weights_only=False)["cpu"]
        for rank in range(2)
    ]
    assert not torch.equal(states[0], states[1])
    again = in_processes(2, partial(weights, tiny_splade, pairs, settings, tmp_path / "killed"))
    assert again == calm


def test_a_group_of_one(tiny_splade, pairs, tmp_path):
    """As of `torchrun --nproc-per-node=1`: to the byte what a process without a group gives."""
    settings = train_params(batch_size=13, learning_rate=1e-3)
    alone = weights(tiny_splade, pairs, settings, tmp_path / "alone")
    assert in_processes(1, partial(weights, tiny_splade, pairs, settings, tmp_path)) == [alone]


def test_machines_without_a_common_folder(tiny_splade, pairs, tmp_path):
    """A checkpoint to which not all have written is refused, instead of resumed from."""

    def apart():
        finetune(
            load_encoder(tiny_splade),
            pairs,
            pairs,
            train_params(eval_steps=2),
            tmp_path / str(current().rank),
        )

    first, second = in_processes(2, apart)
    assert isinstance(first, UserError)
    assert "1 of 2 processes have written" in str(first)
    assert isinstance(second, UserError)
    assert "another process of this training has ended" in str(second)


def test_only_the_first_one_validates(tiny_splade, pairs, tmp_path, monkeypatch):
    """And encodes, as it does without others: the others are not asked to. Once before training
    (preflight), and twice in it.
    """
    calls = []
    original = SparseEncoder.encode

    def encode(self, *args, **kwargs):
        calls.append(len(args[0]))
        return original(self, *args, **kwargs)

    monkeypatch.setattr(SparseEncoder, "encode", encode)

    def counted():
        model = load_encoder(tiny_splade)
        calls.clear()
        finetune(model, pairs, pairs, train_params(), tmp_path)
        return sum(calls)

    first, second = in_processes(2, counted)
    assert first == 3 * len(set(pairs.sentences))
    assert second == 0


def test_fewer_pairs_than_processes(tiny_splade, pairs, tmp_path):
    def train():
        finetune(load_encoder(tiny_splade), pairs, pairs, train_params(batch_size=1), tmp_path)

    for found in in_processes(2, train):
        assert isinstance(found, UserError)
        assert "train.batch_size is 1, shared by 2 processes" in str(found)


def test_one_that_ends(monkeypatch):
    """The others say so at once; their wait for one that works is long."""

    def end():
        if current().rank == 1:
            raise UserError("the disk is full")
        backend = dist.group.WORLD._get_backend(torch.device("cpu"))
        assert backend.options._timeout == PATIENCE > timedelta(days=1)
        wait_for_all()

    first, second = in_processes(2, end)
    assert str(second) == "the disk is full"
    assert isinstance(first, UserError)
    assert "process 0 of 2 cannot go on" in str(first)


def test_torchrun_that_has_ended(monkeypatch):
    """A process that it has started, and that comes too late, does not wait for it."""
    for name, value in rendezvous(0, 2, free_port()).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setattr("splade_sts.training.processes.ANSWER", timedelta(seconds=1))
    message = r"started process 0 of 2 \(torchrun\) has ended"
    with pytest.raises(UserError, match=message), joined("torchrun"):
        pytest.fail("joined nobody")


def test_processes_that_differ():
    def compare():
        rank = current().rank
        check_alike({"threads": "1", "precision": ("bf16", "fp32")[rank]})

    for found in in_processes(2, compare):
        assert isinstance(found, UserError)
        assert "precision: bf16, fp32" in str(found)
        assert "threads" not in str(found)


@pytest.fixture
def launched_by(monkeypatch):
    """What `launched` makes of a launcher and an environment."""

    def found(launcher, **environment):
        for name in (*RENDEZVOUS, *PROCESS_GROUP):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return launched(launcher)

    return found


def test_who_was_launched(launched_by):
    """What does as torchrun does starts several; a Python, whatever stands before it, is one."""
    told = rendezvous(1, 4, 29500)
    for launcher in ("torchrun --nproc-per-node=4", "srun torchrun", "accelerate launch -m"):
        assert launched_by(launcher, **told) == Processes(1, 4)
    for launcher in ("python", "nice -n 5 python3", "/usr/bin/python3.11", "taskset -c 0 python"):
        assert launched_by(launcher) == Processes(0, 1)
    assert launched_by("torchrun --nproc-per-node=1", **rendezvous(0, 1, 29500)) == Processes()


def test_one_process_instead_of_several(launched_by):
    """As `accelerate launch --num_processes 2` gives without a word where there is no GPU."""
    with pytest.raises(UserError, match="has started one process alone"):
        launched_by("accelerate launch --cpu --num_processes 2")


@pytest.mark.parametrize(
    ("launcher", "environment", "name"),
    [
        ("python", rendezvous(1, 4, 29500), "WORLD_SIZE"),
        ("nice python", {"LOCAL_RANK": "0"}, "LOCAL_RANK"),
        ("srun python", {"PMI_SIZE": "2"}, "PMI_SIZE"),
        ("mpirun -n 2 env", {"OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_SIZE"),
    ],
)
def test_what_is_refused(launched_by, launcher, environment, name):
    """A group that the launcher has not started, or that torch is not told about."""
    message = f"^{name} is '.' in the environment, but train.launcher is '{launcher}'"
    with pytest.raises(UserError, match=message):
        launched_by(launcher, **environment)
