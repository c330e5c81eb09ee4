"""Outputs carry their final name whole or not at all."""

import hashlib
import math

import pytest

from splade_sts.errors import UserError
from splade_sts.files import (
    check_outside,
    read_json,
    replacing,
    replacing_folder,
    sha256,
    write_json,
)


def test_what_a_killed_writer_left(tmp_path):
    """The next writer removes it, be it a file or a folder."""
    (tmp_path / ".target.tmp").mkdir()
    (tmp_path / ".target.tmp" / "half").touch()
    write_json(tmp_path / "target", {"whole": True})
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    (tmp_path / ".target.tmp").touch()
    (tmp_path / "target").unlink()
    with replacing_folder(tmp_path / "target") as folder:
        (folder / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["target", "new"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_error_leaves_the_old_state(tmp_path, kind):
    """The target keeps what it had, and nothing else is left."""

    def fail() -> None:
        with replacing(tmp_path / "deep" / "target") as temporary:
            if kind == "folder":
                temporary.mkdir()
                (temporary / "half").touch()
            else:
                temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list((tmp_path / "deep").iterdir()) == []
    write_json(tmp_path / "deep" / "target", {"old": 1})
    with pytest.raises(KeyError):
        fail()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["target"]
    assert read_json(tmp_path / "deep" / "target") == {"old": 1}


def test_a_folder_replaces_all_of_the_old_one(tmp_path):
    """No file of the old one stays."""
    for name in ("old", "new"):
        with replacing_folder(tmp_path / "target") as folder:
            (folder / name).touch()
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["new"]


def test_json(tmp_path):
    """Floats to the last bit; NaN only where it is allowed."""
    content = {"a": 0.1 + 0.2, "ä": [1, None]}
    write_json(tmp_path / "x.json", content)
    assert read_json(tmp_path / "x.json") == content
    assert "ä" in (tmp_path / "x.json").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": math.nan})
    assert read_json(tmp_path / "x.json") == content
    write_json(tmp_path / "x.json", {"a": math.nan}, allow_nan=True)
    assert math.isnan(read_json(tmp_path / "x.json")["a"])


@pytest.mark.parametrize("target", ["model", "model/new/out", "link/out", "model/../model"])
def test_outputs_within_what_they_are_made_of(tmp_path, target):
    """By whatever name; a folder beside it is none."""
    (tmp_path / "model").mkdir()
    (tmp_path / "link").symlink_to("model")
    check_outside(tmp_path / "models", tmp_path / "model")
    with pytest.raises(UserError, match=r"^--output: .* lies in .*model, of which it is made"):
        check_outside(tmp_path / target, tmp_path / "model")


def test_sha256(tmp_path):
    """Of the bytes."""
    (tmp_path / "x").write_bytes(b"\x00\r\n")
    assert sha256(tmp_path / "x") == hashlib.sha256(b"\x00\r\n").hexdigest()
