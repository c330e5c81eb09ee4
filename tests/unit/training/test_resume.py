"""A training that is killed and resumed ends with the bytes of one that was not."""

from functools import partial

import pytest

from splade_sts.errors import UserError
from splade_sts.model.encoder import load_encoder
from splade_sts.training import checkpoints
from splade_sts.training.finetune import finetune
from tests.support import tiny
from tests.support.disks import small_disk
from tests.support.trainings import assert_same, killed_in_step, outcome

train_params = partial(
    tiny.train_params, epochs=2.5, learning_rate=1e-3, logging_steps=3, checkpoint_steps=2
)


@pytest.fixture(scope="module")
def calm(tiny_splade, pairs, tmp_path_factory):
    """What the training of `train_params` gives undisturbed."""
    return outcome(tiny_splade, pairs, train_params(), tmp_path_factory.mktemp("calm"))


def test_resumed_after_every_step(tiny_splade, pairs, tmp_path, calm):
    """Killed in every third step, over epoch borders; then resumed, with all steps done too."""
    settings = train_params()
    assert calm.result.steps == 15
    for step in range(1, 16, 3):
        with killed_in_step(step):
            finetune(load_encoder(tiny_splade), pairs, pairs, settings, tmp_path)
        kept = [int(path.name.rsplit("-", 1)[-1]) for path in checkpoints.complete(tmp_path)]
        assert step - 1 - max(kept, default=0) < settings.checkpoint_steps
        assert len(kept) <= 2
    assert_same(calm, outcome(tiny_splade, pairs, settings, tmp_path))
    assert_same(calm, outcome(tiny_splade, pairs, settings, tmp_path))  # only the best is loaded


@pytest.mark.parametrize(
    "changes", [{"group_by_length": False}, {"precision": "bf16"}, {"checkpoint_steps": 1000}]
)
def test_resumed_with_other_settings(tiny_splade, pairs, tmp_path, changes):
    """Within the second epoch."""
    settings = train_params(**changes)
    with killed_in_step(11):
        finetune(load_encoder(tiny_splade), pairs, pairs, settings, tmp_path / "killed")
    assert checkpoints.complete(tmp_path / "killed")
    assert_same(
        outcome(tiny_splade, pairs, settings, tmp_path / "calm"),
        outcome(tiny_splade, pairs, settings, tmp_path / "killed"),
    )


def test_a_corrupted_checkpoint_costs_steps_not_the_result(tiny_splade, pairs, tmp_path, calm):
    """The last checkpoint is damaged: training goes on from an older one, or from the start."""
    with killed_in_step(12):
        finetune(load_encoder(tiny_splade), pairs, pairs, train_params(), tmp_path)
    last = checkpoints.complete(tmp_path)[-1]
    with (last / "optimizer.pt").open("r+b") as file:
        file.seek(500)
        file.write(b"\0" * 100)
    assert_same(calm, outcome(tiny_splade, pairs, train_params(), tmp_path))


def test_a_resumed_training_to_wanted_active_dims(tiny_splade, pairs, tmp_path, monkeypatch):
    """The controller's state is in the checkpoints."""
    settings = train_params(
        target_active_dims=6, batch_size=4, epochs=2.0, eval_steps=6, checkpoint_steps=5
    )
    monkeypatch.setattr("splade_sts.training.finetune.check_reached", lambda *arguments: None)
    for step in (9, 20):
        with killed_in_step(step):
            finetune(load_encoder(tiny_splade), pairs, pairs, settings, tmp_path / "killed")
    assert_same(
        outcome(tiny_splade, pairs, settings, tmp_path / "calm"),
        outcome(tiny_splade, pairs, settings, tmp_path / "killed"),
    )


@pytest.fixture(scope="module")
def calm_epoch(tiny_splade, pairs, tmp_path_factory):
    """What an undisturbed epoch of `train_params`, validated once, gives."""
    settings = train_params(eval_steps=1000, epochs=1.0)
    return outcome(tiny_splade, pairs, settings, tmp_path_factory.mktemp("epoch"))


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        yield disk


@pytest.mark.parametrize("left", [0, 150_000, 300_000])
def test_a_full_disk_in_training(tiny_splade, pairs, disk, calm_epoch, left):
    """In the copy of the pairs, or at a checkpoint, in whichever of its files: one message, and the
    checkpoint before stays.

    With space again, the training gives what an undisturbed one gives.
    """
    folder = disk.folder / "checkpoints"
    settings = train_params(eval_steps=1000, epochs=1.0)
    with killed_in_step(4):
        finetune(load_encoder(tiny_splade), pairs, pairs, settings, folder)
    before = checkpoints.complete(folder)
    assert [path.name for path in before] == ["checkpoint-2"]
    size = sum(path.stat().st_size for path in before[0].rglob("*"))
    assert left < size, "the next checkpoint would fit"
    disk.fill(left)
    where = "checkpoint of step 4" if left else "pairs of train"
    message = f"{where} cannot be written.*free some space"
    with pytest.raises(UserError, match=message):
        finetune(load_encoder(tiny_splade), pairs, pairs, settings, folder)
    assert checkpoints.complete(folder) == before
    disk.make_room()
    assert_same(calm_epoch, outcome(tiny_splade, pairs, settings, folder))


def test_a_read_only_folder(tiny_splade, pairs, disk):
    """The message says what to do."""
    folder = disk.folder / "checkpoints"
    folder.mkdir()
    disk.make_read_only()
    with pytest.raises(UserError, match=r"cannot be written.*make the folder writable"):
        finetune(load_encoder(tiny_splade), pairs, pairs, train_params(), folder)
