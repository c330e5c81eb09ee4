"""Where the rows came from."""

import pytest
from pydantic import ValidationError

from splade_sts import layout
from splade_sts.data.provenance import Origin, Provenance
from splade_sts.files import read_json, write_json


@pytest.mark.parametrize("revision", [None, "e" * 40])
def test_a_file_gives_back_what_was_written(tmp_path, monkeypatch, revision):
    """And holds what people look up in it."""
    monkeypatch.chdir(tmp_path)
    layout.RAW.mkdir(parents=True)
    written = Provenance("a/b", revision, {"train": Origin("x.csv", "f" * 64, 3)})
    written.write(layout.RAW)
    assert Provenance.read() == written
    assert read_json(layout.PROVENANCE) == {
        "source": "a/b",
        "revision": revision,
        "splits": {"train": {"file": "x.csv", "sha256": "f" * 64, "rows": 3}},
    }


def test_a_file_of_another_version(tmp_path, monkeypatch):
    """It is not read as if nothing were missing."""
    monkeypatch.chdir(tmp_path)
    write_json(layout.PROVENANCE, {"splits": {"train": {"file": "x.csv"}}})
    with pytest.raises(ValidationError):
        Provenance.read()
