"""The real loading code of `datasets` and `huggingface_hub`, against a small Hub on loopback."""

import json
import os
import shutil
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
from splade_sts.model.conversion import load_splade, locate
from splade_sts.errors import run_stage
def main():
    folder, revision = locate("org/tiny", sys.argv[1])
    model = load_splade(folder, 32)
    print(revision, type(model).__name__, int((model.encode("the dog runs").to_dense() > 0).sum()))
run_stage(main)
"""
FETCH_MODEL = """
import sys
from splade_sts.errors import run_stage
from splade_sts.hub.fetch import download_model
run_stage(lambda: print(download_model("org/tiny", sys.argv[1])[1]))
"""
# huggingface_hub waits 23 s between its retries of a 500 or a lost connection, and has no setting for that.
SHORT_WAITS = "import time\nsleep = time.sleep\ntime.sleep = lambda seconds: sleep(min(seconds, 0.02))\n"
UNREACHABLE = "http://127.0.0.1:9"


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
    (tmp_path / "sitecustomize.py").write_text(SHORT_WAITS)
    with HubServer({("datasets", "org/pairs"): data, ("models", "org/tiny"): model}) as server:
        yield server


def run(tmp_path, url: str, *command: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=200,
        env={
            "PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
            "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"),
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
    again = download(tmp_path, UNREACHABLE, HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.safetensors", "both"])
def test_model(hub, tmp_path, tiny_splade, weights):
    """Weights of either format load at their pinned revision; of two formats only safetensors is fetched."""
    served = hub.repositories["models", "org/tiny"]
    if weights != "pytorch_model.bin":
        shutil.copy(tiny_splade / "model.safetensors", served)
    if weights == "model.safetensors":
        (served / "pytorch_model.bin").unlink()
    done = run(tmp_path, hub.url, "-c", LOAD_MODEL, REVISION)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == [REVISION, "SparseEncoder"] and int(done.stdout.split()[2]) > 0
    asked = {request.rsplit("/", 1)[1] for request in hub.requests if "/resolve/" in request}
    expected = "model.safetensors" if weights == "both" else weights
    assert asked & {"pytorch_model.bin", "model.safetensors"} == {expected}
    if weights == "pytorch_model.bin":
        again = run(tmp_path, UNREACHABLE, "-c", LOAD_MODEL, REVISION, HF_HUB_OFFLINE="1")
        assert again.stdout == done.stdout, again.stderr


@pytest.mark.parametrize("unneeded", [None, ".gitattributes", "both weights"])
def test_model_from_the_cache(hub, tmp_path, tiny_splade, unneeded):
    """A second time no server is needed, also where the repository holds files that are never fetched."""
    served = hub.repositories["models", "org/tiny"]
    if unneeded == ".gitattributes":
        (served / unneeded).write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    elif unneeded:
        shutil.copy(tiny_splade / "model.safetensors", served)
    first = run(tmp_path, hub.url, "-c", FETCH_MODEL, REVISION)
    assert first.returncode == 0, first.stderr
    for offline in ("0", "1"):
        again = run(tmp_path, UNREACHABLE, "-c", FETCH_MODEL, REVISION, HF_HUB_OFFLINE=offline)
        assert again.stdout == first.stdout == f"{REVISION}\n", again.stderr


@pytest.mark.parametrize("what", ["data", "model"])
@pytest.mark.parametrize(
    ("status", "revision", "reason"),
    [
        (401, REVISION, "refused access"),
        ("gated", REVISION, "refused access"),
        (404, REVISION, "no such repository"),
        (500, REVISION, "HTTP 500"),
        (None, "f" * 40, "no such revision"),
        ("unreachable", REVISION, "cannot be reached"),
    ],
    ids=["401", "gated", "404", "500", "revision", "unreachable"],
)
def test_a_hub_that_does_not_give(hub, tmp_path, what, status, revision, reason):
    """One message that says what the Hub did and how to go on offline; no output."""
    url = UNREACHABLE if status == "unreachable" else hub.url
    hub.gated = status == "gated"
    hub.status = 401 if hub.gated else status if isinstance(status, int) else None
    done = download(tmp_path, url, revision) if what == "data" else run(tmp_path, url, "-c", FETCH_MODEL, revision)
    assert done.returncode == 1
    message = done.stderr[done.stderr.index("error: ") :]
    assert reason in message, message
    assert "To work offline" in message and "Traceback" not in done.stderr and done.stderr.count("error: ") == 1
    assert not (tmp_path / "data" / "raw").exists()
