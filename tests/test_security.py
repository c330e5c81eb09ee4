"""Nothing that a model or data set brings is run, nothing listens beyond loopback, and no secret is written down.

The payloads are our own and harmless: they would make a file.
"""

import importlib.util
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from splade_sts.base_model import convert_dense, load_splade
from splade_sts.encoder import load_encoder
from splade_sts.errors import UserError
from splade_sts.model_folder import check_folder
from tests.conftest import ROOT
from tests.hub_server import REVISION, HubServer
from tests.test_hub import download
from tests.test_hub import run as run_with_hub

CANARY = "hf_CanaryCanaryCanaryCanaryCanaryCana"
CODE = "open({marker!r}, 'w').close()\nclass Evil:\n    @classmethod\n    def load(cls, *a, **k): return cls()\n"


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def model(tiny_splade, tmp_path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(tiny_splade, folder)
    return folder


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
    edit(folder / "sentence_bert_config.json", lambda c: c.update(model_args={"weights_only": False}))


def module_in_the_folder(folder: Path, marker: Path) -> None:
    (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
    edit(folder / "modules.json", lambda c: c[0].update(type="evil.Evil"))


def module_of_another_package(folder: Path, marker: Path) -> None:
    edit(folder / "modules.json", lambda c: c[1].update(type="subprocess.Popen"))


def other_class_of_the_library(folder: Path, marker: Path) -> None:
    edit(folder / "modules.json", lambda c: c[1].update(type="sentence_transformers.SentenceTransformer"))


def module_path(place: str):
    def change(folder: Path, marker: Path) -> None:
        edit(folder / "modules.json", lambda c: c[1].update(path=place))

    return change


def auto_map(file: str):
    def change(folder: Path, marker: Path) -> None:
        (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
        names = ("AutoConfig", "AutoModel", "AutoModelForMaskedLM", "AutoTokenizer")
        edit(folder / file, lambda c: c.update(model_type="evil", auto_map=dict.fromkeys(names, "evil.Evil")))

    return change


def remote_code(folder: Path, marker: Path) -> None:
    edit(folder / "sentence_bert_config.json", lambda c: c.update(model_kwargs={"trust_remote_code": True}))


def attention_kernel(folder: Path, marker: Path) -> None:
    edit(folder / "config.json", lambda c: c.update(attn_implementation="somebody/kernel"))


def shard_elsewhere(folder: Path, marker: Path) -> None:
    shutil.move(folder / "model.safetensors", folder.parent / "model.safetensors")
    names = dict.fromkeys(load_file(folder.parent / "model.safetensors"), "../model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


def tokenizer_file_elsewhere(folder: Path, marker: Path) -> None:
    edit(folder / "tokenizer_config.json", lambda c: c.update(vocab_file="/etc/passwd"))


def weights_elsewhere(folder: Path, marker: Path) -> None:
    edit(folder / "config.json", lambda c: c.update(transformers_weights="../model.safetensors"))


def adapter(folder: Path, marker: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "somebody/else", "peft_type": "LORA"}))


MALICIOUS = [
    pickled_weights, plain_pickle, weights_only_off, module_in_the_folder, module_of_another_package,
    other_class_of_the_library, module_path("../model"), module_path("/etc"), module_path("a/../../x"), module_path("..\\x"),
    auto_map("config.json"), auto_map("tokenizer_config.json"), remote_code, attention_kernel, shard_elsewhere,
    tokenizer_file_elsewhere, weights_elsewhere, adapter,
]
MALICIOUS_NAMES = [
    change.__name__ if change.__name__ != "change" else f"{change.__qualname__.split('.')[0]}-{change.__closure__[0].cell_contents}"
    for change in MALICIOUS
]


@pytest.mark.parametrize("change", MALICIOUS, ids=MALICIOUS_NAMES)
def test_malicious_model_folder(model, marker, change):
    """Refused with a message by every way a folder is loaded; the payload does not run."""
    change(model, marker)
    for load in (
        lambda: load_encoder(model), lambda: load_splade(model, 32), lambda: convert_dense(model, ["a dog"], 4, 32),
    ):
        with pytest.raises(UserError) as refused:
            load()
        assert str(model) in str(refused.value)
    assert not marker.exists()


def test_the_payloads_are_live(model, marker):
    """What the tests above are worth: without `weights_only` the pickle does run."""
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


def test_data_set_with_a_script(tmp_path, marker):
    """A data set that is made by its own code is refused, and the code does not run."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "scripted.py").write_text(CODE.format(marker=str(marker)))
    (served / "README.md").write_text("---\nlanguage: en\n---\n")
    (served / "data.pkl").write_bytes(pickle.dumps(Payload(marker)))
    with HubServer({("datasets", "org/pairs"): served}) as hub:
        (served / "scripted.py").rename(served / "pairs.py")
        done = download(tmp_path, hub.url)
        assert done.returncode == 1 and "script of its own" in done.stderr and "Traceback" not in done.stderr, done.stderr
        (served / "pairs.py").unlink()
        done = download(tmp_path, hub.url, HF_HOME=str(tmp_path / "other"))
        assert done.returncode == 1 and "error: " in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not marker.exists() and not (tmp_path / "data/raw").exists()


@pytest.mark.parametrize("status", [None, 401, 500])
def test_the_token_stays_with_the_hub(tmp_path, tiny_splade, pairs, status):
    """The Hub gets it; nothing that is printed or written has it, even where the Hub refuses."""
    served = tmp_path / "served"
    served.mkdir()
    for split in ("train", "validation", "test"):
        pairs.to_parquet(served / f"{split}.parquet", index=False)
    (tmp_path / "sitecustomize.py").write_text("import time\nsleep = time.sleep\ntime.sleep = lambda s: sleep(min(s, 0.02))\n")
    with HubServer({("datasets", "org/pairs"): served}) as hub:
        hub.status = status
        done = download(tmp_path, hub.url, HF_TOKEN=CANARY, HF_DEBUG="1")
        assert hub.tokens == {f"Bearer {CANARY}"}
    assert done.returncode == bool(status), done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert holders(tmp_path, CANARY) == []


def holders(folder: Path, secret: str) -> list[Path]:
    """Files below `folder` that hold `secret`."""
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
