"""The real loading code of `datasets` and `huggingface_hub`, against a small Hub on loopback."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from splade_sts.layout import PROVENANCE, raw
from splade_sts.model.splade import load_splade
from tests.support.hub_downloads import Downloads, Outcome, environment, write_project
from tests.support.hub_server import REVISION, Fault, HubServer
from tests.support.projects import set_params

LOAD_MODEL = """
import sys
from splade_sts.model.source import locate
from splade_sts.model.splade import load_splade
from splade_sts.process import run_command
def main():
    located = locate(sys.argv[1], sys.argv[2])
    vectors = load_splade(located.folder, 32).encode("the dog runs").to_dense()
    print(located.revision, int((vectors > 0).sum()))
run_command(main)
"""
FETCH_MODEL = """
import sys
from splade_sts.hub.fetch import download_model
from splade_sts.process import run_command
run_command(lambda: print(download_model(sys.argv[1], sys.argv[2]).revision))
"""
UNREACHABLE = "http://127.0.0.1:9"
CANARY = "hf_" + "Canary" * 6  # in two parts, so that this file does not hold it
NAMESPACE = (
    shutil.which("unshare")
    and subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0
)


@pytest.fixture(scope="module")
def data(tmp_path_factory, pairs) -> Path:
    """A data set of three splits, of 20, 10 and 18 rows."""
    folder = tmp_path_factory.mktemp("served-data")
    (folder / "data").mkdir()
    table = pairs.table()
    for split, part in (("train", table[:20]), ("validation", table[20:30]), ("test", table[30:])):
        part.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet", index=False)
    (folder / "README.md").write_text("---\nlanguage: en\n---\n# Pairs\n")
    return folder


@pytest.fixture
def model(tmp_path, tiny_splade) -> Path:
    """A model whose weights are stored as pytorch_model.bin, as many on the Hub are."""
    folder = tmp_path / "served-model"
    shutil.copytree(tiny_splade, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save(load_file(tiny_splade / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-sa-4.0\n---\n# Tiny\n")
    return folder


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    with (
        HubServer({}) as hub,
        Downloads(tmp_path_factory.mktemp("downloads"), hub) as downloads,
    ):
        yield downloads


def run(folder: Path, url: str, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, in a folder where `write_project` wrote what it needs."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**environment(folder, url), **more},
        capture_output=True,
        text=True,
        timeout=200,
    )


def offline(work: Path, downloads: Downloads, *command: str) -> subprocess.CompletedProcess[str]:
    """`run` with the cache of `downloads` and a Hub that must not be asked."""
    cache = {"HF_HOME": downloads.environment["HF_HOME"], "HF_HUB_OFFLINE": "1"}
    return run(work, UNREACHABLE, *command, **cache)


def weights_asked_for(requests: list[str]) -> set[str]:
    asked = {request.rsplit("/", 1)[1] for request in requests if "/resolve/" in request}
    return asked & {"pytorch_model.bin", "model.safetensors"}


def test_data_set(downloads, data, pairs):
    """All rows arrive unchanged, with the revision; a second time the cache is enough."""
    name, work = downloads.serve("datasets", data)
    for revision in (REVISION, "main"):
        done = downloads.fetch(name, work, revision)
        assert done.status == 0, done.stderr
        provenance = json.loads((work / PROVENANCE).read_text())
        assert (provenance["source"], provenance["revision"]) == (name, REVISION)
        assert [split["rows"] for split in provenance["splits"].values()] == [20, 10, 18]
        found = pd.read_parquet(work / raw("train"))
        pd.testing.assert_frame_equal(found, pairs.table()[:20])
    write_project(work, name)
    again = offline(work, downloads, "-m", "stages.download")
    assert again.returncode == 0, again.stderr


def test_further_test_sets(downloads, tmp_path, pairs):
    """One split of one configuration, at its revision; nothing of another configuration is asked
    for. What is not there is one message that names the parameter.
    """
    for language in ("en", "de"):
        (tmp_path / language).mkdir()
        pairs.table().to_parquet(tmp_path / language / "test.parquet", index=False)
    configs = "".join(
        f"- config_name: {language}\n"
        f"  data_files:\n  - split: test\n    path: {language}/test.parquet\n"
        for language in ("en", "de")
    )
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    name, work = downloads.serve("datasets", tmp_path)
    for split, rows in (("train", slice(20)), ("validation", slice(10)), ("test", slice(10))):
        (work / "data/own").mkdir(parents=True, exist_ok=True)
        pairs.table()[rows].to_csv(work / f"data/own/{split}.csv", index=False)

    def fetch(**changes: str) -> Outcome:
        found = {"source": name, "config": "en", "revision": REVISION, "score_range": [0, 1]}
        set_params(work, data__source="local", data__test_sets={"STS": {**found, **changes}})
        return downloads.fetch(name, work)

    done = fetch()
    assert done.status == 0, done.stderr
    assert not [request for request in done.requests if "/de/" in request]
    pd.testing.assert_frame_equal(pd.read_parquet(work / raw("STS")), pairs.table())
    origin = json.loads((work / PROVENANCE).read_text())["test_sets"]["STS"]
    assert (origin["revision"], origin["config"], origin["split"]) == (REVISION, "en", "test")
    for changes, said in (
        ({"revision": "0" * 40}, "set data.test_sets.STS.revision to one that exists. To work"),
        ({"config": "fr"}, "'fr' not found. Available: ['en', 'de']. To work offline, leave that"),
        ({"split": "dev"}, f"data.test_sets.STS.source '{name}' has no split dev; it has test"),
    ):
        refused = fetch(**changes)
        assert refused.status == 1
        assert said in refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.safetensors", "both"])
def test_model(downloads, model, tiny_splade, weights):
    """Weights of either format load; of two formats only safetensors is fetched."""
    if weights != "pytorch_model.bin":
        shutil.copy(tiny_splade / "model.safetensors", model)
    if weights == "model.safetensors":
        (model / "pytorch_model.bin").unlink()
    name, work = downloads.serve("models", model)
    done = downloads.fetch(name, work)
    assert done.status == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder.name == REVISION
    assert load_splade(folder, 32).encode(["the dog runs"]).to_dense().count_nonzero() > 0
    expected = "model.safetensors" if weights == "both" else weights
    assert weights_asked_for(done.requests) == {expected}
    if weights == "pytorch_model.bin":
        again = offline(work, downloads, "-c", LOAD_MODEL, name, REVISION)
        assert again.stdout.startswith(REVISION), again.stderr
        assert int(again.stdout.split()[1]) > 0


@pytest.mark.parametrize("unneeded", [None, ".gitattributes", "both weights"])
def test_model_from_the_cache(downloads, model, tiny_splade, unneeded):
    """A second time no server is asked, also where the repository has files that nobody fetches."""
    if unneeded == ".gitattributes":
        (model / unneeded).write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    elif unneeded:
        shutil.copy(tiny_splade / "model.safetensors", model)
    name, work = downloads.serve("models", model)
    first, again = downloads.fetch(name, work), downloads.fetch(name, work)
    assert first.status == again.status == 0, first.stderr + again.stderr
    assert first.requests
    assert not again.requests
    assert first.stdout == again.stdout


@pytest.mark.skipif(not NAMESPACE, reason="needs unshare -n, as root")
def test_the_cache_needs_no_network(downloads, data, model):
    """In a network namespace without interfaces, data and model come from the cache."""
    for kind, served in (("datasets", data), ("models", model)):
        name, work = downloads.serve(kind, served)
        assert downloads.fetch(name, work).status == 0
        command = {"datasets": ["-m", "stages.download"], "models": ["-c", FETCH_MODEL]}[kind]
        done = subprocess.run(
            ["unshare", "-n", sys.executable, *command, name, REVISION],
            cwd=work,
            env=downloads.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["data", "base_model"])
def test_a_hub_that_cannot_be_reached(tmp_path, kind):
    """One message that says so and how to go on offline; no output."""
    write_project(tmp_path, "org/pairs")
    commands = {"data": ["-m", "stages.download"], "base_model": ["-c", FETCH_MODEL, "a/b", "main"]}
    done = run(tmp_path, UNREACHABLE, *commands[kind])
    assert done.returncode == 1
    message = done.stderr[done.stderr.index("error: ") :]
    assert message.startswith(f"error: {kind}.source")
    assert "cannot be reached. To work offline, set" in message
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    assert not (tmp_path / raw("train").parent).exists()


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_data_set_with_a_script(downloads, tmp_path):
    """A data set that is made by its own code is refused, and the code does not run."""
    marker, served = tmp_path / "ran", tmp_path / "served"
    served.mkdir()
    (served / "README.md").write_text("---\nlanguage: en\n---\n")
    (served / "data.pkl").write_bytes(pickle.dumps(Payload(marker)))
    for script, said in ((True, "script of its own"), (False, "error: ")):
        name, work = downloads.serve("datasets", served)
        file = served / f"{name.split('/')[1]}.py"
        if script:
            file.write_text(f"open({str(marker)!r}, 'w').close()\n")
        done = downloads.fetch(name, work)
        file.unlink(missing_ok=True)
        assert done.status == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert not (work / raw("train").parent).exists()
    assert not marker.exists()


@pytest.mark.parametrize("status", [None, 401, 500])
def test_the_token_stays_with_the_hub(tmp_path, data, status):
    """The Hub gets it; nothing that is printed or written has it, even where the Hub refuses."""
    write_project(tmp_path, "org/pairs")
    with HubServer({("datasets", "org/pairs"): data}) as hub:
        hub.fault = Fault(".", "status", status=status) if status else None
        more = {"HF_TOKEN": CANARY, "HF_DEBUG": "1"}
        done = run(tmp_path, hub.url, "-m", "stages.download", **more)
        assert hub.tokens == {f"Bearer {CANARY}"}
    assert done.returncode == bool(status), done.stderr
    assert CANARY not in done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
