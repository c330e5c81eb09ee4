"""Faults of the Hub: each one against the real clients, with bounded time and a clear end."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT, set_params
from tests.hub_server import REVISION, Fault, HubServer
from tests.test_hub import SHORT_WAITS

# Imports the libraries once, then forks for every case: `KIND REPOSITORY FOLDER` on standard input.
FETCHER = """
import os, sys
import datasets, huggingface_hub, pandas, pyarrow
from splade_sts.hub import fetch as hub
from splade_sts.errors import run_stage
from stages import download

huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT = 0.3  # the environment variable knows whole seconds
huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 2**14  # a file is resumed after its last whole chunk, of ten megabytes

def model():
    folder, revision = hub.download_model(sys.argv[1], sys.argv[2])
    print(revision)

for line in sys.stdin:
    kind, repository, revision, folder = line.split()
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["fetch", repository, revision]
        status = 99
        try:
            run_stage(download.main if kind == "data" else model)
            status = 0
        except SystemExit as end:
            print(end.code, file=sys.stderr, flush=True)
            status = 1
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
WEIGHTS = 300_000
NAMESPACE = shutil.which("unshare") and subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0


class Fetcher:
    """Runs the download of one repository after the other, each in a process and a folder of its own."""

    def __init__(self, folder: Path, hub: HubServer, served: Path):
        self.folder, self.hub, self.served, self.cases = folder, hub, served, 0
        (folder / "sitecustomize.py").write_text(SHORT_WAITS)
        self.process = subprocess.Popen(
            [sys.executable, "-c", FETCHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
            env={
                "PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "HF_ENDPOINT": hub.url,
                "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1",
            },
        )

    def fresh(self, kind: str) -> tuple[str, Path]:
        """A repository that the cache does not know, and a working folder."""
        self.cases += 1
        name = f"org/{kind}{self.cases}"
        self.hub.repositories["datasets" if kind == "data" else "models", name] = self.served / kind
        work = self.folder / f"case{self.cases}"
        work.mkdir()
        shutil.copy(ROOT / "params.yaml", work)
        set_params(work, data__source=name, data__revision=REVISION)
        return name, work

    def fetch(self, kind: str, name: str, work: Path, revision: str = REVISION) -> "Outcome":
        if kind == "data":
            set_params(work, data__revision=revision)
        self.hub.requests.clear()
        start = time.monotonic()
        self.process.stdin.write(f"{kind} {name} {revision} {work}\n")
        self.process.stdin.flush()
        status = int(self.process.stdout.readline())
        seconds = time.monotonic() - start
        return Outcome(status, (work / "stderr").read_text(), seconds, list(self.hub.requests), (work / "data/raw").exists())


class Outcome:
    def __init__(self, status: int, stderr: str, seconds: float, requests: list[str], output: bool):
        self.status, self.stderr, self.seconds, self.requests, self.output = status, stderr, seconds, requests, output


@pytest.fixture(scope="module")
def fetcher(tmp_path_factory, tiny_splade, pairs):
    folder = tmp_path_factory.mktemp("faults")
    served = folder / "served"
    (served / "data").mkdir(parents=True)
    for split, part in (("train", pairs[:20]), ("validation", pairs[20:30]), ("test", pairs[30:])):
        part.to_parquet(served / "data" / f"{split}.parquet", index=False)
    (served / "data" / "README.md").write_text("---\nlanguage: en\n---\n")
    shutil.copytree(tiny_splade, served / "model")
    (served / "model" / "model.safetensors").unlink()
    weights = load_file(tiny_splade / "model.safetensors") | {"unused": torch.arange(WEIGHTS, dtype=torch.uint8)}
    torch.save(weights, served / "model" / "pytorch_model.bin")
    (served / "model" / "README.md").write_text("---\nlicense: mit\n---\n")
    with HubServer({}) as hub:
        fetcher = Fetcher(folder, hub, served)
        yield fetcher
        fetcher.process.stdin.close()
        fetcher.process.wait(10)


API, HEAD, GET = r"/api/", r"HEAD .*/resolve/", r"GET .*(\.bin|train\.parquet)$"
LIMITED = {"Retry-After": "2"}
LASTING = [  # pattern, kind, further settings of the fault, what the message says
    (".", "drop", {}, "broke off"),
    (".", "silent", {}, "in time|cannot be reached"),  # `datasets` does not pass on why
    (HEAD, "silent", {}, "in time|cannot be reached"),
    (GET, "reset", {}, "broke off"),
    (GET, "cut", {}, "broke off"),
    (GET, "stall", {}, "in time"),
    (GET, "short", {}, "another length"),
    (GET, "corrupt", {}, "arrived damaged"),
    (".", "status", {"status": 429, "headers": LIMITED}, "HTTP 429"),
    (".", "status", {"status": 429, "headers": {"Retry-After": "7200"}}, "asks to wait 7200 seconds"),
    (".", "status", {"status": 500}, "HTTP 500"),
    (".", "status", {"status": 503}, "HTTP 503"),
    (GET, "status", {"status": 500}, "HTTP 500"),
    (GET, "status", {"status": 404, "headers": {"X-Error-Code": "EntryNotFound"}}, "error: "),
    (".", "status", {"status": 401}, "refused access"),
    (".", "status", {"status": 401, "headers": {"X-Error-Code": "GatedRepo"}}, "refused access"),
    (".", "status", {"status": 403}, "refused access"),
    (".", "status", {"status": 404, "headers": {"X-Error-Code": "RevisionNotFound"}}, "no such revision"),
    (".", "status", {"status": 404, "headers": {"X-Error-Code": "RepoNotFound"}}, "no such repository"),
    (API, "garbage", {}, "error: "),
]
PASSING = [
    (".", "drop", {}), (API, "silent", {}), (HEAD, "silent", {}), (GET, "reset", {}), (GET, "cut", {}), (GET, "stall", {}),
    (GET, "short", {}), (GET, "corrupt", {}), (".", "status", {"status": 500}), (API, "status", {"status": 503}),
    (HEAD, "status", {"status": 500}), (GET, "status", {"status": 500}),
    (".", "status", {"status": 429, "headers": LIMITED}), (GET, "status", {"status": 429, "headers": LIMITED}),
]


def named(cases):
    place = {".": "all", API: "api", HEAD: "head", GET: "file"}
    return [
        "-".join([place[case[0]], case[1], *(str(v) for v in (case[2].get("status"), *(case[2].get("headers") or {}).values()) if v)])
        for case in cases
    ]


@pytest.mark.parametrize("kind", ["data", "model"])
@pytest.mark.parametrize(("pattern", "fault", "more", "reason"), LASTING, ids=named(LASTING))
def test_a_fault_that_stays(fetcher, kind, pattern, fault, more, reason):
    """One message after a bounded number of requests; no output, and the next try without the fault succeeds."""
    name, work = fetcher.fresh(kind)
    fetcher.hub.fault = Fault(pattern, fault, None, **more)
    done = fetcher.fetch(kind, name, work)
    assert done.status == 1, done.stderr
    message = done.stderr[done.stderr.index("error: ") :]
    assert re.search(reason, message) and "To work offline" in message, message
    assert "Traceback" not in done.stderr and not done.output
    assert len(done.requests) <= 80
    fetcher.hub.fault = None
    again = fetcher.fetch(kind, name, work)
    assert again.status == 0, again.stderr


@pytest.mark.parametrize("kind", ["data", "model"])
@pytest.mark.parametrize(("pattern", "fault", "more"), PASSING, ids=named(PASSING))
def test_a_fault_that_passes(fetcher, kind, pattern, fault, more):
    """One bad answer is lived through; a file that broke off is resumed where it stopped."""
    name, work = fetcher.fresh(kind)
    fetcher.hub.fault = Fault(pattern, fault, 1, **more)
    done = fetcher.fetch(kind, name, work)
    assert done.status == 0, done.stderr
    assert fetcher.hub.fault.times == 0
    if fault in ("reset", "cut", "stall") and kind == "model":
        size = (fetcher.served / "model" / "pytorch_model.bin").stat().st_size
        resumed = [request for request in done.requests if "bytes=" in request and "HEAD" not in request]
        assert len(resumed) == 1 and 0 < int(resumed[0].rsplit("=", 1)[1].rstrip("-")) <= size // 2
    if more.get("headers") and pattern == GET:
        assert "Waiting 3.0s" in done.stderr


def test_damage_in_the_cache(fetcher):
    """A file that changed on disk is noticed and fetched again; the others are not."""
    name, work = fetcher.fresh("model")
    assert fetcher.fetch("model", name, work).status == 0
    cache = fetcher.folder / "hf" / "hub" / f"models--{name.replace('/', '--')}"
    weights = next((cache / "snapshots").rglob("pytorch_model.bin"))
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    weights.resolve().write_bytes(content)
    done = fetcher.fetch("model", name, work)
    assert done.status == 0, done.stderr
    assert [request for request in done.requests if request.startswith("GET") and "/resolve/" in request] == [
        f"GET /{name}/resolve/{REVISION}/pytorch_model.bin"
    ]


def test_another_revision_in_the_cache_is_not_taken(fetcher):
    """`datasets` would take the newest revision it has where the Hub fails."""
    name, work = fetcher.fresh("data")
    assert fetcher.fetch("data", name, work).status == 0
    fetcher.hub.fault = Fault(".", "status", None, status=500)
    shutil.rmtree(work / "data")
    other = fetcher.fetch("data", name, work, "f" * 40)
    assert other.status == 1 and "error: " in other.stderr and not other.output
    fetcher.hub.fault = None


@pytest.mark.skipif(not NAMESPACE, reason="needs unshare -n, as root")
def test_the_cache_needs_no_network(fetcher):
    """With no network at all (a network namespace without interfaces), data and model come from the cache."""
    for kind in ("data", "model"):
        name, work = fetcher.fresh(kind)
        assert fetcher.fetch(kind, name, work).status == 0
        script = (
            "import sys; from splade_sts import hub; from splade_sts.errors import run_stage; from stages import download\n"
            "run_stage(download.main if sys.argv[1] == 'data' else lambda: print(*hub.download_model(*sys.argv[2:])))"
        )
        done = subprocess.run(
            ["unshare", "-n", sys.executable, "-c", script, kind, name, REVISION], cwd=work, capture_output=True, text=True,
            timeout=120,
            env={
                "PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}{os.pathsep}{fetcher.folder}", "HF_ENDPOINT": fetcher.hub.url,
                "HF_HOME": str(fetcher.folder / "hf"), "HF_HUB_DISABLE_XET": "1",
            },
        )
        assert done.returncode == 0, done.stderr
