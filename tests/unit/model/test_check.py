"""Nothing that a model folder brings is run.

The payloads are our own and harmless: they would make a file.
"""

import importlib.util
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from splade_sts.errors import UserError
from splade_sts.model.check import check_folder
from splade_sts.model.conversion import convert_dense
from splade_sts.model.encoder import load_encoder
from splade_sts.model.splade import load_splade

CODE = (
    "open({marker!r}, 'w').close()\n"
    "class Evil:\n    @classmethod\n    def load(cls, *a, **k): return cls()\n"
)


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def model(tiny_splade, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_splade, tmp_path / "model"))


@pytest.fixture
def marker(tmp_path) -> Path:
    return tmp_path / "ran"


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(change(content) or content))


def pickled_weights(folder: Path, marker: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({**weights, "evil": Payload(marker)}, folder / "pytorch_model.bin")


def plain_pickle(folder: Path, marker: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(marker)))


def weights_only_off(folder: Path, marker: Path) -> None:
    pickled_weights(folder, marker)
    arguments = {"weights_only": False}
    edit(folder / "sentence_bert_config.json", lambda c: c.update(model_args=arguments))


def module_in_the_folder(folder: Path, marker: Path) -> None:
    (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
    edit(folder / "modules.json", lambda c: c[0].update(type="evil.Evil"))


def module_of_another_package(folder: Path, marker: Path) -> None:
    edit(folder / "modules.json", lambda c: c[1].update(type="subprocess.Popen"))


def other_class_of_the_library(folder: Path, marker: Path) -> None:
    kind = "sentence_transformers.SentenceTransformer"
    edit(folder / "modules.json", lambda c: c[1].update(type=kind))


def module_path(place: str):
    def change(folder: Path, marker: Path) -> None:
        edit(folder / "modules.json", lambda c: c[1].update(path=place))

    return change


def auto_map(file: str):
    def change(folder: Path, marker: Path) -> None:
        (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
        names = ("AutoConfig", "AutoModel", "AutoModelForMaskedLM", "AutoTokenizer")
        classes = dict.fromkeys(names, "evil.Evil")
        edit(folder / file, lambda c: c.update(model_type="evil", auto_map=classes))

    return change


def remote_code(folder: Path, marker: Path) -> None:
    arguments = {"trust_remote_code": True}
    edit(folder / "sentence_bert_config.json", lambda c: c.update(model_kwargs=arguments))


def attention_kernel(folder: Path, marker: Path) -> None:
    edit(folder / "config.json", lambda c: c.update(attn_implementation="somebody/kernel"))


def shard_elsewhere(folder: Path, marker: Path) -> None:
    outside = folder.parent / "model.safetensors"
    shutil.move(folder / "model.safetensors", outside)
    names = dict.fromkeys(load_file(outside), "../model.safetensors")
    index = {"metadata": {}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def tokenizer_file_elsewhere(folder: Path, marker: Path) -> None:
    edit(folder / "tokenizer_config.json", lambda c: c.update(vocab_file="/etc/passwd"))


def weights_elsewhere(folder: Path, marker: Path) -> None:
    edit(folder / "config.json", lambda c: c.update(transformers_weights="../model.safetensors"))


def adapter(folder: Path, marker: Path) -> None:
    config = {"base_model_name_or_path": "somebody/else", "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(config))


MALICIOUS = {
    "pickled weights": pickled_weights,
    "plain pickle": plain_pickle,
    "weights_only off": weights_only_off,
    "module in the folder": module_in_the_folder,
    "module of another package": module_of_another_package,
    "other class of the library": other_class_of_the_library,
    "module at ../model": module_path("../model"),
    "module at /etc": module_path("/etc"),
    "module at a/../../x": module_path("a/../../x"),
    "module at ..\\x": module_path("..\\x"),
    "auto_map of the model": auto_map("config.json"),
    "auto_map of the tokenizer": auto_map("tokenizer_config.json"),
    "remote code": remote_code,
    "attention kernel": attention_kernel,
    "shard elsewhere": shard_elsewhere,
    "tokenizer file elsewhere": tokenizer_file_elsewhere,
    "weights elsewhere": weights_elsewhere,
    "adapter": adapter,
}


@pytest.mark.parametrize("what", MALICIOUS)
def test_malicious_model_folder(model, marker, what):
    """Refused with a message by every way a folder is loaded; the payload does not run."""
    MALICIOUS[what](model, marker)
    for load in (
        lambda: load_encoder(model),
        lambda: load_splade(model, 32),
        lambda: convert_dense(model, ["a dog"], 4, 32),
    ):
        with pytest.raises(UserError) as refused:
            load()
        assert str(model) in str(refused.value)
    assert not marker.exists()


def test_the_payloads_are_live(model, marker):
    """What the test above is worth: without `weights_only` the pickle does run."""
    pickled_weights(model, marker)
    torch.load(model / "pytorch_model.bin", weights_only=False)
    assert marker.exists()
    marker.rmdir()
    module_in_the_folder(model, marker)
    spec = importlib.util.spec_from_file_location("evil", model / "evil.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert marker.exists()


def test_code_that_nothing_asks_for_is_harmless(model, marker):
    """A Python file beside the weights is never looked at."""
    (model / "modeling_bert.py").write_text(CODE.format(marker=str(marker)))
    check_folder(model)
    load_splade(model, 32)
    assert not marker.exists()
