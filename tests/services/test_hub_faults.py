"""Faults of the Hub: each one against the real clients, with bounded time and a clear end."""

import re
import shutil

import pytest
import torch
from safetensors.torch import load_file

from splade_sts.layout import RAW
from tests.support.hub_downloads import Downloads
from tests.support.hub_server import REVISION, Fault, HubServer

WEIGHTS = 300_000


@pytest.fixture(scope="module")
def served(tmp_path_factory, tiny_splade, pairs):
    """A folder for each kind of repository; the model's weights are large enough to break off."""
    served = tmp_path_factory.mktemp("served")
    data, model = served / "datasets", served / "models"
    data.mkdir()
    table = pairs.table()
    for split, part in (("train", table[:20]), ("validation", table[20:30]), ("test", table[30:])):
        part.to_parquet(data / f"{split}.parquet", index=False)
    (data / "README.md").write_text("---\nlanguage: en\n---\n")
    shutil.copytree(tiny_splade, model, ignore=shutil.ignore_patterns("*.safetensors"))
    weights = load_file(tiny_splade / "model.safetensors")
    weights["unused"] = torch.arange(WEIGHTS, dtype=torch.uint8)
    torch.save(weights, model / "pytorch_model.bin")
    (model / "README.md").write_text("---\nlicense: mit\n---\n")
    return served


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    with (
        HubServer({}) as hub,
        Downloads(tmp_path_factory.mktemp("faults"), hub) as downloads,
    ):
        yield downloads


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
    (
        ".",
        "status",
        {"status": 429, "headers": {"Retry-After": "7200"}},
        "asks to wait 7200 seconds",
    ),
    (".", "status", {"status": 500}, "HTTP 500"),
    (".", "status", {"status": 503}, "HTTP 503"),
    (GET, "status", {"status": 500}, "HTTP 500"),
    (GET, "status", {"status": 404, "headers": {"X-Error-Code": "EntryNotFound"}}, "error: "),
    (".", "status", {"status": 401}, "refused access"),
    (".", "status", {"status": 401, "headers": {"X-Error-Code": "GatedRepo"}}, "refused access"),
    (".", "status", {"status": 403}, "refused access"),
    (
        ".",
        "status",
        {"status": 404, "headers": {"X-Error-Code": "RevisionNotFound"}},
        "no such revision",
    ),
    (
        ".",
        "status",
        {"status": 404, "headers": {"X-Error-Code": "RepoNotFound"}},
        "no such repository",
    ),
    (API, "garbage", {}, "error: "),
]
PASSING = [
    (".", "drop", {}),
    (API, "silent", {}),
    (HEAD, "silent", {}),
    (GET, "reset", {}),
    (GET, "cut", {}),
    (GET, "stall", {}),
    (GET, "short", {}),
    (GET, "corrupt", {}),
    (".", "status", {"status": 500}),
    (API, "status", {"status": 503}),
    (HEAD, "status", {"status": 500}),
    (GET, "status", {"status": 500}),
    (".", "status", {"status": 429, "headers": LIMITED}),
    (GET, "status", {"status": 429, "headers": LIMITED}),
]


def named(cases):
    place = {".": "all", API: "api", HEAD: "head", GET: "file"}
    return [
        "-".join(
            [
                place[case[0]],
                case[1],
                *(
                    str(v)
                    for v in (case[2].get("status"), *(case[2].get("headers") or {}).values())
                    if v
                ),
            ]
        )
        for case in cases
    ]


@pytest.mark.parametrize("kind", ["datasets", "models"])
@pytest.mark.parametrize(("pattern", "fault", "more", "reason"), LASTING, ids=named(LASTING))
def test_a_fault_that_stays(downloads, served, kind, pattern, fault, more, reason):
    """One message after a bounded number of requests, no output; without the fault it succeeds."""
    name, work = downloads.serve(kind, served / kind)
    downloads.hub.fault = Fault(pattern, fault, None, **more)
    done = downloads.fetch(name, work)
    assert done.status == 1, done.stderr
    message = done.stderr[done.stderr.index("error: ") :]
    assert re.search(reason, message), message
    assert "To work offline" in message
    assert "Traceback" not in done.stderr
    assert not (work / RAW).exists()
    assert len(done.requests) <= 80
    downloads.hub.fault = None
    again = downloads.fetch(name, work)
    assert again.status == 0, again.stderr


@pytest.mark.parametrize("kind", ["datasets", "models"])
@pytest.mark.parametrize(("pattern", "fault", "more"), PASSING, ids=named(PASSING))
def test_a_fault_that_passes(downloads, served, kind, pattern, fault, more):
    """One bad answer is lived through; a file that broke off is resumed where it stopped."""
    name, work = downloads.serve(kind, served / kind)
    downloads.hub.fault = Fault(pattern, fault, 1, **more)
    done = downloads.fetch(name, work)
    assert done.status == 0, done.stderr
    assert downloads.hub.fault.times == 0
    if fault in ("reset", "cut", "stall") and kind == "models":
        size = (served / "models" / "pytorch_model.bin").stat().st_size
        resumed = [
            request for request in done.requests if "bytes=" in request and "HEAD" not in request
        ]
        assert len(resumed) == 1
        assert 0 < int(resumed[0].rsplit("=", 1)[1].rstrip("-")) <= size // 2
    if more.get("headers") and pattern == GET:
        assert "Waiting 3.0s" in done.stderr


def test_damage_in_the_cache(downloads, served):
    """A file that changed on disk is noticed and fetched again; the others are not."""
    name, work = downloads.serve("models", served / "models")
    assert downloads.fetch(name, work).status == 0
    cache = downloads.folder / "hf" / "hub" / f"models--{name.replace('/', '--')}"
    weights = next((cache / "snapshots").rglob("pytorch_model.bin"))
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    weights.resolve().write_bytes(content)
    done = downloads.fetch(name, work)
    assert done.status == 0, done.stderr
    fetched = [request for request in done.requests if re.match("GET .*/resolve/", request)]
    assert fetched == [f"GET /{name}/resolve/{REVISION}/pytorch_model.bin"]


def test_another_revision_in_the_cache_is_not_taken(downloads, served):
    """`datasets` would take the newest revision it has where the Hub fails."""
    name, work = downloads.serve("datasets", served / "datasets")
    assert downloads.fetch(name, work).status == 0
    downloads.hub.fault = Fault(".", "status", None, status=500)
    shutil.rmtree(work / "data")
    other = downloads.fetch(name, work, "f" * 40)
    assert other.status == 1
    assert "error: " in other.stderr
    assert not (work / RAW).exists()
    downloads.hub.fault = None
