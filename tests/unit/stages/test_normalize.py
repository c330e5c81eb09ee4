"""download and normalize together: what they write, and that a bad row leaves nothing."""

from pathlib import Path

import pytest

from splade_sts import layout
from splade_sts.data.calibration import read_sentences
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.files import read_json
from stages import calibration, download, normalize
from tests.support.projects import write_params


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/own").mkdir(parents=True)
    for split, rows in (("validation", "b,a,4\n"), ("test", "e,f,5\n")):
        (tmp_path / f"data/own/{split}.csv").write_text("sentence1,sentence2,score\n" + rows)
    return tmp_path


def prepare(folder: Path, train: str, **changes: object) -> None:
    (folder / "data/own/train.csv").write_text("sentence1,sentence2,score\n" + train)
    write_params(folder, **changes)
    download.main()


def test_a_bad_score(folder):
    """File, row and value in one message, and no output."""
    prepare(folder, "a,b,1\nc,d,7\n")
    with pytest.raises(
        UserError, match=r"^local: train.csv: 1 of 2 rows are bad:\n  row 2: score is '7'"
    ):
        normalize.main()
    assert not layout.NORMALIZED.exists()
    assert not Path("metrics").exists()
    assert not Path("evidence").exists()
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.parametrize(("on_leak", "kept"), [("keep", 2), ("drop_from_train", 1)])
def test_what_it_writes(folder, on_leak, kept):
    """Pairs, what is known of them, and what a conversion looks at; leaks dropped where that is
    wanted.
    """
    prepare(folder, "a,b,1\nc,d,2.5\n", data__on_leak=on_leak)
    normalize.main()
    train, validation = (Pairs.read(layout.normalized(split)) for split in ("train", "validation"))
    assert train.table().to_numpy().tolist() == [["a", "b", 0.2], ["c", "d", 0.5]][-kept:]
    assert validation.table().to_numpy().tolist() == [["b", "a", 0.8]]
    assert read_json(layout.evidence("data"))["splits"]["train"]["dropped"] == 2 - kept
    assert read_json(layout.metrics("data"))["rows"] == {"train": kept, "validation": 1, "test": 1}
    calibration.main()
    assert read_sentences() == (["a", "c", "b", "d"] if kept == 2 else ["c", "d"])


def test_nothing_to_calibrate(folder):
    """A SPLADE model needs no sentences: its stage does not depend on the data."""
    prepare(folder, "a,b,1\n", base_model__target_active_dims=None)
    normalize.main()
    calibration.main()
    assert read_sentences() == []
