"""A release on its way to a small Hub on loopback, and back."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from splade_sts.cli import main
from splade_sts.errors import UserError
from splade_sts.files import sha256
from splade_sts.hub import client
from splade_sts.release.publish import Plan, publish
from tests.support.hub_downloads import environment
from tests.support.hub_server import LARGE, REVISION, Fault, HubServer
from tests.support.releases import write_release

CANARY = "hf_" + "Canary" * 6  # in two parts, so that this file does not hold it
NAME = "me/tiny"
SENTENCES = ["the dog runs in the park", "a big red car"]
VECTORS = f"""
import sys
from sentence_transformers import SparseEncoder
import torch
hub, folder = (SparseEncoder(name).encode({SENTENCES}).to_dense() for name in sys.argv[1:])
print(torch.equal(hub, folder), int((hub > 0).sum()))
"""
WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub for this process, whose user is logged in; waits between tries are short."""
    with HubServer({}) as server:
        for name, value in {
            "ENDPOINT": server.url,
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,  # the loopback does not speak it
            "HF_HUB_DOWNLOAD_TIMEOUT": 5,
            "HF_TOKEN_PATH": str(tmp_path / "token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(client, "WAITS", (0.0, 0.0))
        sleep = time.sleep
        monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.02)))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        (tmp_path / "token").write_text(CANARY)
        yield server


@pytest.fixture
def release(tmp_path: Path, tiny_splade: Path) -> Path:
    """A release of the tiny model."""
    write_release(tmp_path / "release", tiny_splade)
    return tmp_path / "release"


def sent(hub: HubServer) -> list[str]:
    """The large files that were sent, by SHA-256."""
    return [one.removeprefix("PUT /lfs/") for one in hub.requests if one.startswith("PUT")]


def test_a_dry_run(
    hub: HubServer,
    release: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every file with its size, and what the report quotes; the Hub is asked nothing."""
    arguments = ["splade_sts", "publish", NAME, "--folder", str(release), "--dry-run"]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "5")
    main()
    said = capsys.readouterr().out
    assert f"{(release / WEIGHTS).stat().st_size:,}  {WEIGHTS}" in said
    assert "report/ quotes sentences of c/d: be sure that everybody may read them" in said
    assert said.endswith("nothing was sent (--dry-run)\n")
    assert not hub.requests


def test_there_and_back(hub: HubServer, release: Path, tmp_path: Path) -> None:
    """By the command line, in one commit; `SparseEncoder("USER/NAME")` gives the same vectors."""
    url = hub.url
    given = {**environment(tmp_path, url), "HF_TOKEN": CANARY}
    command = [sys.executable, "-m", "splade_sts", "publish", NAME, "--folder", str(release)]
    done = subprocess.run(
        command, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert f'published: SparseEncoder("{NAME}", revision="{REVISION}")' in done.stdout
    assert hub.tokens == {f"Bearer {CANARY}"}
    assert len(hub.commits) == 1
    folder = hub.repositories["models", NAME]
    for path in release.rglob("*"):
        name = path.relative_to(release)
        if path.is_file() and path.name != "README.md":
            assert (folder / name).read_bytes() == path.read_bytes()
    assert f'SparseEncoder("{NAME}")' in (folder / "README.md").read_text()
    done = subprocess.run(
        [sys.executable, "-c", VECTORS, NAME, str(release)],
        cwd=tmp_path,
        env=environment(tmp_path, url),
        capture_output=True,
        text=True,
        timeout=100,
    )
    same, active = done.stdout.split()
    assert (same, int(active) > 0) == ("True", True), done.stderr


def test_an_upload_that_is_interrupted(hub: HubServer, release: Path) -> None:
    """A connection that breaks once costs a try. One that breaks for good is a message; nothing is
    seen on the Hub, and the next call sends what lacks alone. The one after that sends nothing.
    """
    hub.large = (*LARGE, ".html")
    weights, report = sha256(release / WEIGHTS), sha256(release / "report" / "comparison.html")
    plan = Plan.of(release, NAME, private=False)
    hub.fault = Fault(f"PUT /lfs/{weights}", "hang up")
    with pytest.raises(UserError) as error:
        publish(plan)
    assert str(error.value).startswith(
        f"{NAME} was not published: the connection to the Hub broke off again and again; the same "
        "command goes on where it stopped"
    )
    assert set(hub.objects) == {report}
    assert not hub.commits
    hub.requests.clear()
    hub.fault = Fault(f"PUT /lfs/{weights}", "hang up", times=1)
    assert publish(plan) == REVISION
    assert sent(hub) == [weights, weights]
    assert sorted(hub.commits[0]) == sorted(plan.sizes)
    hub.requests.clear()
    assert publish(plan) == REVISION
    assert not sent(hub)
    assert len(hub.commits) == 1


@pytest.mark.parametrize("kind", ["hang up", "reset"])
def test_a_commit_that_breaks_off(hub: HubServer, release: Path, kind: str) -> None:
    """On the way there, or on the way back, when the Hub has made it: there is one commit."""
    hub.fault = Fault("POST .*/commit/", kind, times=1)
    assert publish(Plan.of(release, NAME, private=False)) == REVISION
    assert len(hub.commits) == 1


def test_a_private_repository(hub: HubServer, release: Path, tmp_path: Path) -> None:
    """Is private before anything is sent; one that is public already is refused."""
    assert publish(Plan.of(release, NAME, private=True)) == REVISION
    assert hub.private == {NAME}
    (tmp_path / "public").mkdir()
    hub.repositories["models", "me/public"] = tmp_path / "public"
    hub.requests.clear()
    with pytest.raises(UserError, match=r"^me/public is on the Hub already, and public: --private"):
        publish(Plan.of(release, "me/public", private=True))
    assert not sent(hub)
    assert not any((tmp_path / "public").iterdir())


@pytest.mark.parametrize("exists", [True, False])
def test_a_name_of_somebody_else(
    hub: HubServer, release: Path, tmp_path: Path, exists: bool
) -> None:
    """One that is there, and one that may not be made."""
    if exists:
        (tmp_path / "theirs").mkdir()
        hub.repositories["models", "bob/tiny"] = tmp_path / "theirs"
    with pytest.raises(UserError) as error:
        publish(Plan.of(release, "bob/tiny", private=False))
    assert "me may not write there: the name is taken by somebody else" in str(error.value)
    assert "such as me/tiny" in str(error.value)
    assert not sent(hub)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("whoami", "status", status=401), "the Hub does not accept your token; log in again"),
        (Fault("repos/create", "status", status=500), "the Hub answered HTTP 500"),
        (Fault("preupload", "status", status=403), "me may not write there"),
        (Fault("/commit/", "status", status=409), "somebody changed the repository"),
        (Fault("validate-yaml", "status", status=400), "Invalid metadata in README.md."),
        (Fault("PUT", "status", status=403), "the Hub's storage answered HTTP 403; the same comm"),
        (Fault("/commit/", "silent"), "the Hub does not answer in time"),
        (
            Fault("create", "status", status=429, headers={"Retry-After": "4000"}),
            "asks to wait 4000 seconds",
        ),
    ],
)
def test_a_hub_that_refuses(
    hub: HubServer, release: Path, fault: Fault, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message, without the token; no commit."""
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hub.fault = fault
    with pytest.raises(UserError) as error:
        publish(Plan.of(release, NAME, private=False))
    assert str(error.value).startswith(f"{NAME} was not published: ")
    assert said in str(error.value)
    assert CANARY not in str(error.value)
    assert not hub.commits


def test_no_hub_and_no_login(
    hub: HubServer, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan.of(release, NAME, private=False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"^me/tiny was not published: the Hub cannot be reached$"):
        publish(plan)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set; unset it to publish"):
        publish(plan)
    (tmp_path / "token").unlink()
    with pytest.raises(UserError, match=r"nobody is logged in to the Hub; log in with `hf auth"):
        publish(plan)
