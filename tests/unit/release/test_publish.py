"""What is looked at before the Hub is asked for anything."""

import json
from pathlib import Path

import pytest

from splade_sts.errors import UserError
from splade_sts.release.folder import CARD, MANIFEST
from splade_sts.release.publish import Plan, check_license, check_name
from tests.support.releases import COMMIT, write_release


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release of two small files that are no model."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    write_release(tmp_path / "release", model)
    return tmp_path / "release"


def test_what_would_go(release: Path) -> None:
    """Each file with its size, the card with the name on the Hub; nothing that was put beside."""
    (release / "notes").mkdir()
    (release / "notes" / "passwords.txt").write_text("secret")
    plan = Plan.of(release, "me/tiny", private=True)
    assert list(plan.sizes) == [
        CARD,
        "config.json",
        "model.safetensors",
        MANIFEST,
        "report/comparison.html",
    ]
    assert plan.sizes["model.safetensors"] == 7
    assert plan.sizes[CARD] == len(plan.card.encode())
    assert plan.left_out == ("notes", "notes/passwords.txt")
    assert 'SparseEncoder("me/tiny")' in plan.card
    assert (plan.license, plan.commit) == ("mit", COMMIT)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiny", "'tiny' says not whose it is; expected USER/NAME"),
        ("me/a b", "'me/a b' is no name on the Hub"),
        ("me/tiny/more", "'me/tiny/more' is no name on the Hub"),
        ("", "'' "),
    ],
)
def test_names(name: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        check_name(name)
    assert str(error.value).startswith(said)


NC = "cc-by-nc-sa-4.0"
MADE = "the model is made of a/b, which is under"
BASE = {"source": "a/b", "revision": None}


@pytest.mark.parametrize(
    ("declared", "inherited"),
    [(NC, NC), ("mit", "apache-2.0"), (None, "mit"), (None, "unknown"), ("other", "other")],
)
def test_licences_that_fit(declared: str | None, inherited: str) -> None:
    check_license(declared, {**BASE, "license": inherited}, Path(CARD))


@pytest.mark.parametrize(
    ("declared", "inherited", "said"),
    [
        ("apache-2.0", NC, f"README.md declares the licence apache-2.0, but {MADE} {NC}: that is"),
        (None, NC, f"README.md declares no licence, but {MADE} {NC}: that is inherited. Set"),
        ("mit", "gpl-3.0", f"README.md declares the licence mit, but {MADE} gpl-3.0"),
        ("mit", "unknown", "README.md declares the licence mit, but a/b, which the model is made"),
    ],
)
def test_licences_that_conflict(declared: str | None, inherited: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        check_license(declared, {**BASE, "license": inherited}, Path(CARD))
    assert str(error.value).startswith(said)


def test_a_card_that_people_went_on_writing(release: Path) -> None:
    """Its text is theirs; its licence is looked at, and front matter that is none is named."""
    card = release / CARD
    before = card.read_text()
    card.write_text(before + "\nA word more.\n")
    assert "A word more." in Plan.of(release, "me/tiny", private=False).card
    manifest = json.loads((release / MANIFEST).read_text())
    manifest["base"]["license"] = NC
    (release / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"README.md declares the licence mit, but"):
        Plan.of(release, "me/tiny", private=False)
    for wrong, said in (
        (before.replace("license: mit", "license: [mit, x]"), r"found \['mit', 'x'\] as license"),
        (before.replace("license: mit", "license: {"), r"the front matter cannot be read"),
    ):
        card.write_text(wrong)
        with pytest.raises(UserError, match=said):
            Plan.of(release, "me/tiny", private=False)
    card.write_bytes(before.encode("utf-16"))
    with pytest.raises(UserError, match=r"README\.md is not UTF-8: .*; save it as UTF-8"):
        Plan.of(release, "me/tiny", private=False)


def test_folders_that_are_no_whole_release(release: Path) -> None:
    with pytest.raises(UserError, match=r"is no release \(no release.json with a README.md\)"):
        Plan.of(release / "report", "me/tiny", private=False)
    weights = release / "model.safetensors"
    weights.write_bytes(b"weight")
    with pytest.raises(UserError, match=r"model.safetensors is not the file that was released"):
        Plan.of(release, "me/tiny", private=False)
    weights.unlink()
    with pytest.raises(UserError, match=r"model.safetensors is missing; make the release again"):
        Plan.of(release, "me/tiny", private=False)
    (release / MANIFEST).write_text("{")
    with pytest.raises(UserError, match=r"release.json is not what a release has"):
        Plan.of(release, "me/tiny", private=False)
