"""Releases that no pipeline has made."""

import shutil
from dataclasses import asdict
from pathlib import Path

from splade_sts.files import sha256, write_json
from splade_sts.model.card import hub_card
from splade_sts.release.card import PLACE
from splade_sts.release.folder import CARD, MANIFEST, Release

COMMIT = "c" * 40


def write_release(folder: Path, model: Path, license: str = "mit") -> Release:
    """Write the release of a model whose base model, `a/b`, is under `license`."""
    shutil.copytree(model, folder)
    (folder / "report").mkdir()
    (folder / "report" / "comparison.html").write_text("<p>report</p>")
    card = hub_card(title="x", license=license, base_model="a/b", dataset="c/d", body="text")
    assert PLACE in card
    (folder / CARD).write_text(card)
    files = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != CARD
    }
    base: dict[str, str | None] = {"source": "a/b", "revision": "d" * 40, "license": license}
    release = Release(
        "splade-sts",
        base,
        {"source": "c/d", "revision": None},
        COMMIT,
        (),
        "record",
        {"models/finetuned": "1" * 32 + ".dir"},
        files,
    )
    write_json(folder / MANIFEST, asdict(release))
    return release
