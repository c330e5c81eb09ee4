"""Where the rows came from."""

import pytest
from pydantic import ValidationError

from splade_sts import layout
from splade_sts.data.provenance import Origin, Provenance, SetOrigin
from splade_sts.files import read_json, write_json


@pytest.mark.parametrize("revision", [None, "e" * 40])
def test_a_file_gives_back_what_was_written(tmp_path, monkeypatch, revision):
    """And holds what people look up in it."""
    monkeypatch.chdir(tmp_path)
    layout.RAW.mkdir(parents=True)
    rows = Origin("x.csv", "f" * 64, 3)
    further = SetOrigin("c/d", "en", "test", "d" * 40, rows)
    written = Provenance("a/b", revision, {"train": rows}, {"STS17": further})
    written.write(layout.RAW)
    assert Provenance.read() == written
    assert read_json(layout.PROVENANCE) == {
        "source": "a/b",
        "revision": revision,
        "splits": {"train": vars(rows)},
        "test_sets": {"STS17": {**vars(further), "rows": vars(rows)}},
    }


def test_a_file_of_another_version(tmp_path, monkeypatch):
    """It is not read as if nothing were missing."""
    monkeypatch.chdir(tmp_path)
    write_json(layout.PROVENANCE, {"splits": {"train": {"file": "x.csv"}}})
    with pytest.raises(ValidationError):
        Provenance.read()
