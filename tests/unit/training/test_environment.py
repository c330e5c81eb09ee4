"""What a training runs on."""

import json
import os
from pathlib import Path

import pytest
import torch
from sentence_transformers import SparseEncoderTrainingArguments

from splade_sts.errors import UserError
from splade_sts.model.encoder import load_encoder
from splade_sts.training import environment
from splade_sts.training.checkpoints import fingerprint
from splade_sts.training.environment import (
    CHANGE_BYTES,
    PROCESS_GROUP,
    bytes_settings,
    check_one_process,
    device_name,
    facts,
    library_versions,
    own_settings,
    resolve_precision,
)
from splade_sts.training.finetune import build_arguments, finetune
from tests.support.commands import ROOT
from tests.support.tiny import train_params


@pytest.mark.parametrize(("native", "resolved"), [(True, "bf16"), (False, "fp32")])
def test_precision_on_a_cpu(monkeypatch, native, resolved):
    """It never stays auto; others are taken as they are."""
    monkeypatch.setattr(environment.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(environment, "has_native_bfloat16", lambda: native)
    assert resolve_precision("auto") == resolved
    assert resolve_precision("fp32") == "fp32"
    assert resolve_precision("bf16") == "bf16"


def test_precision_on_a_gpu_without_bf16(monkeypatch):
    """Asked for auto it does without; bf16 is refused."""
    monkeypatch.setattr(environment.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(environment, "is_torch_bf16_gpu_available", lambda: False)
    assert resolve_precision("auto") == "fp32"
    with pytest.raises(UserError, match="set it to auto or fp32"):
        resolve_precision("bf16")


def test_what_a_result_may_depend_on():
    """The device has a name, and each library a version."""
    assert device_name()
    assert library_versions()["version.torch"].startswith("2.")


def weights(folder, pairs, tmp_path, name):
    model = load_encoder(folder)
    found = finetune(model, pairs, pairs, train_params(precision="fp32"), tmp_path / name)
    assert found.precision == "fp32"
    return found.model.state_dict()


def test_the_environment_does_not_say_how_to_train(
    tiny_splade, pairs, tmp_path, monkeypatch, capsys
):
    """`ACCELERATE_MIXED_PRECISION=bf16` with `train.precision: fp32` trains in fp32, and a training
    in bf16 leaves nothing for the next one to read.
    """
    before = weights(tiny_splade, pairs, tmp_path, "alone")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "3")
    found = weights(tiny_splade, pairs, tmp_path, "told otherwise")
    assert all(torch.equal(value, found[name]) for name, value in before.items())
    assert "ACCELERATE_GRADIENT_ACCUMULATION_STEPS, ACCELERATE_MIXED_PRECISION" in (
        capsys.readouterr().out
    )
    assert os.environ["ACCELERATE_MIXED_PRECISION"] == "bf16"
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION")
    with own_settings():
        os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16"
    assert "ACCELERATE_MIXED_PRECISION" not in os.environ


@pytest.mark.parametrize("name", PROCESS_GROUP)
def test_several_processes_are_refused(tiny_splade, pairs, tmp_path, monkeypatch, name):
    """At once and with the name of the variable, instead of a wait for the others."""
    monkeypatch.setenv(name, "1")
    check_one_process()
    monkeypatch.setenv(name, "2")
    with pytest.raises(UserError, match=f"{name} is '2' in the environment"):
        finetune(load_encoder(tiny_splade), pairs, pairs, train_params(), tmp_path)


def test_a_process_group_of_one_is_refused(monkeypatch):
    """As of `torchrun --nproc-per-node 1`; -1 is how launchers of old say that there is none."""
    monkeypatch.setenv("LOCAL_RANK", "-1")
    check_one_process()
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(UserError, match="LOCAL_RANK is '0' in the environment"):
        check_one_process()


def test_one_process_takes_one_gpu(tmp_path, monkeypatch):
    """Where a machine has two, the library would give each a batch of its own."""

    def on_two_gpus(**settings):
        found = SparseEncoderTrainingArguments(**settings)
        found._n_gpu = 2
        return found

    monkeypatch.setattr("splade_sts.training.finetune.SparseEncoderTrainingArguments", on_two_gpus)
    assert build_arguments(train_params(batch_size=7), "fp32", tmp_path).train_batch_size == 7


def test_auto_is_another_training_on_another_machine(monkeypatch):
    """Of two CPUs with AVX512 only one may have bfloat16: its checkpoints are not the other's."""
    monkeypatch.setattr(environment.torch.cuda, "is_available", lambda: False)
    found = {}
    for native in (True, False):
        monkeypatch.setattr(environment, "has_native_bfloat16", lambda native=native: native)
        found[native] = facts("auto")
    assert found[True] == {**found[False], "precision": "bf16"}
    assert found[False] == facts("fp32")


def test_another_number_of_processes_is_another_training(tmp_path, monkeypatch):
    """It starts from the beginning: the checkpoints of two processes are not those of one."""
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {train: {cmd: x, deps: []}}")
    found = {fingerprint("train", facts("fp32", processes)) for processes in (1, 2, 4)}
    assert len(found) == 3


def test_what_was_done_is_recorded(tiny_splade, pairs, tmp_path, monkeypatch):
    """Whatever was asked for, if something turns it on all the same."""

    def arguments(params, precision, checkpoints):
        found = build_arguments(params, precision, checkpoints)
        found.mixed_precision = "bf16"
        return found

    monkeypatch.setattr("splade_sts.training.finetune.build_arguments", arguments)
    asked = train_params(precision="fp32")
    found = finetune(load_encoder(tiny_splade), pairs, pairs, asked, tmp_path)
    assert found.precision == "bf16"


def test_what_changes_bytes_belongs_to_a_training(monkeypatch):
    """Of these variables those that are set."""
    for name in CHANGE_BYTES:
        monkeypatch.delenv(name, raising=False)
    assert bytes_settings() == {}
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert bytes_settings() == {"environment.MKL_CBWR": "COMPATIBLE"}


def test_what_changed_bytes_in_a_trial_belongs_to_a_training():
    """Whatever `benchmarks/environment.py` saw to change them with the same number of threads,
    which is in the fingerprint itself.
    """
    content = json.loads((ROOT / "docs/results/reproducibility/environment.json").read_text())
    first, *tried = content["rows"]
    assert (first["variable"], first["fp32"], first["bf16"]) == ("none", "same", "same")
    changed = {
        row["variable"]
        for row in tried
        if "other bytes" in (row["fp32"], row["bf16"]) and row["threads"] == first["threads"]
    }
    assert "MKL_CBWR" in changed
    assert changed <= set(CHANGE_BYTES)
