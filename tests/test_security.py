"""Nothing that a model or data set brings is run, nothing listens beyond loopback, and no secret is written down.

The payloads are our own and harmless: they would make a file.
"""

import importlib.util
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from splade_sts.model.conversion import convert_dense, load_splade
from splade_sts.model.encoder import load_encoder
from splade_sts.errors import UserError
from splade_sts.model.check import check_folder
from tests.conftest import ROOT
from tests.hub_server import REVISION, HubServer
from tests.test_hub import download
from tests.test_hub import run as run_with_hub

CANARY = "hf_" + "Canary" * 6  # in two parts, so that this file does not hold it
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


def test_the_ui_listens_on_loopback_only(project, tmp_path):
    """Every socket that `python -m splade_sts ui` and its children open for listening is on 127.0.0.1."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "splade_sts", "ui", "--port", str(port)], cwd=project, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )
    try:
        listening, deadline = [], time.monotonic() + 90
        while not any(address.port == port for address in listening):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.5)
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            listening = [c.laddr for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert {address.ip for address in listening} == {"127.0.0.1"}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("command", ["sync", "track", "live"])
def test_mlflow_credentials_stay_in_the_environment(project, tmp_path, command):
    """A server that cannot be reached, with a password in its address: neither messages nor files name it."""
    copy = tmp_path / "project"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts", "cache"))
    uri, token = f"http://somebody:{CANARY}@127.0.0.1:9", f"token{CANARY}"
    live = "from splade_sts.tracking.live import LiveRun\nwith LiveRun('x', {'a': 1}, {}) as run: run.log(1, {'train.loss': 1.0})"
    arguments = {"sync": ["-m", "splade_sts", "sync"], "track": ["-m", "stages.track"], "live": ["-c", live]}[command]
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, capture_output=True, text=True, timeout=120,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_TRACKING_TOKEN": token, "HF_TOKEN": CANARY},
    )
    assert done.returncode == (command == "sync") and "MLflow" in done.stderr
    assert "Traceback" not in done.stderr and CANARY not in done.stdout + done.stderr, done.stderr
    assert holders(copy, CANARY) == []


def test_a_traceback_names_no_secret(tmp_path):
    """Where a bug of ours ends a stage, too."""
    script = (
        "from splade_sts.errors import run_stage\n"
        f"def main(): raise RuntimeError('GET http://me:{CANARY}@host/ with {CANARY}')\nrun_stage(main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env={**os.environ, "HF_TOKEN": CANARY}
    )
    assert done.returncode == 1 and "Traceback" in done.stderr and "RuntimeError" in done.stderr and CANARY not in done.stderr


def test_plots_hold_no_text_of_the_data(project):
    """A cell of a CSV file of ours is a number, or a word that is no formula."""
    for path in [*(project / "plots").glob("*.csv"), *(project / "metrics").glob("*.csv")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            for cell in line.split(","):
                try:
                    float(cell)
                except ValueError:
                    assert not cell.startswith(("=", "+", "-", "@", "\t")), (path, cell)
