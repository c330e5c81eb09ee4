"""The real loading code of `datasets` and `huggingface_hub`, against a small Hub on loopback."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.hub_server import REVISION, HubServer

LOAD_MODEL = """
import sys
from splade_sts.base_model import load_splade, locate
from splade_sts.errors import run_stage
def main():
    folder, revision = locate("org/tiny", sys.argv[1])
    model = load_splade(folder, 32)
    print(revision, type(model).__name__, int((model.encode("the dog runs").to_dense() > 0).sum()))
run_stage(main)
"""


@pytest.fixture
def hub(tmp_path, tiny_splade, pairs):
    """A data set, and a model whose weights are stored as pytorch_model.bin, as those of the default model are."""
    data, model = tmp_path / "served" / "data", tmp_path / "served" / "model"
    (data / "data").mkdir(parents=True)
    for split, part in (("train", pairs[:20]), ("validation", pairs[20:30]), ("test", pairs[30:])):
        part.to_parquet(data / "data" / f"{split}-00000-of-00001.parquet", index=False)
    (data / "README.md").write_text("---\nlanguage: en\n---\n# Pairs\n")
    model.mkdir()
    for file in tiny_splade.rglob("*"):
        if file.is_file() and file.suffix != ".safetensors":
            target = model / file.relative_to(tiny_splade)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    torch.save(load_file(tiny_splade / "model.safetensors"), model / "pytorch_model.bin")
    (model / "README.md").write_text("---\nlicense: cc-by-nc-sa-4.0\n---\n# Tiny\n")
    with HubServer({("datasets", "org/pairs"): data, ("models", "org/tiny"): model}) as server:
        yield server


def run(tmp_path, url: str, *command: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=200,
        env={
            "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", **environment,
        },
    )


def download(tmp_path, url: str, revision: str = REVISION, **environment: str) -> subprocess.CompletedProcess:
    content = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    content["data"] |= {"source": "org/pairs", "revision": revision}
    with open(tmp_path / "params.yaml", "w") as file:
        YAML().dump(content, file)
    return run(tmp_path, url, "-m", "stages.download", **environment)


def test_data_set(hub, tmp_path, pairs):
    """All rows arrive unchanged, and the revision is written down; a second time the cache is enough."""
    done = download(tmp_path, hub.url)
    assert done.returncode == 0, done.stderr
    provenance = json.loads((tmp_path / "data/raw/provenance.json").read_text())
    assert provenance["source"] == "org/pairs" and provenance["revision"] == REVISION
    assert [split["rows"] for split in provenance["splits"].values()] == [20, 10, 18]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "data/raw/train.parquet"), pairs[:20])
    by_branch = download(tmp_path, hub.url, revision="main")
    assert by_branch.returncode == 0, by_branch.stderr
    assert json.loads((tmp_path / "data/raw/provenance.json").read_text())["revision"] == REVISION
    again = download(tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr


def test_model(hub, tmp_path):
    """A .bin model loads at its pinned revision; a second time no server is needed."""
    done = run(tmp_path, hub.url, "-c", LOAD_MODEL, REVISION)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == [REVISION, "SparseEncoder"] and int(done.stdout.split()[2]) > 0
    again = run(tmp_path, "http://127.0.0.1:9", "-c", LOAD_MODEL, REVISION)
    assert again.stdout == done.stdout, again.stderr


@pytest.mark.parametrize("what", ["data", "model"])
@pytest.mark.parametrize(
    ("status", "revision", "reason"),
    [
        (401, REVISION, "refused access"),
        (404, REVISION, "no such repository"),
        (500, REVISION, "HTTP 500"),
        (None, "f" * 40, "no such revision"),
        ("unreachable", REVISION, "cannot be reached"),
    ],
)
def test_a_hub_that_does_not_give(hub, tmp_path, what, status, revision, reason):
    """One message that says what the Hub did and how to go on offline; no output."""
    url = "http://127.0.0.1:9" if status == "unreachable" else hub.url
    hub.status = status if isinstance(status, int) else None
    done = download(tmp_path, url, revision) if what == "data" else run(tmp_path, url, "-c", LOAD_MODEL, revision)
    assert done.returncode == 1
    message = done.stderr[done.stderr.index("error: ") :]
    assert reason in message, message
    assert "To work offline" in message and "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "raw").exists()
