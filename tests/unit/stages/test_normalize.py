"""download and normalize together: what they write, and that a bad row leaves nothing."""

from pathlib import Path

import pandas as pd
import pytest

from splade_sts import layout
from splade_sts.data.calibration import read_sentences
from splade_sts.data.pairs import Pairs
from splade_sts.data.sets import held_out
from splade_sts.errors import UserError
from splade_sts.files import read_json
from stages import calibration, download, normalize
from tests.support.projects import write_params

HEADER = "sentence1,sentence2,score\n"
# As many pairs as a comparison needs, with scores that vary.
HELD_OUT = {
    "validation": "b,a,4\n" + "".join(f"v{n},w{n},{n / 2}\n" for n in range(9)),
    "test": "e,f,5\n" + "".join(f"t{n},u{n},{n / 2}\n" for n in range(9)),
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/own").mkdir(parents=True)
    for split, rows in HELD_OUT.items():
        (tmp_path / f"data/own/{split}.csv").write_text(HEADER + rows)
    return tmp_path


def prepare(folder: Path, train: str, **changes: object) -> None:
    (folder / "data/own/train.csv").write_text(HEADER + train)
    write_params(folder, **changes)
    download.main()


def test_a_bad_score(folder):
    """File, row and value in one message, and no output."""
    prepare(folder, "a,b,1\nc,d,7\n")
    with pytest.raises(
        UserError, match=r"^local: train.csv: 1 of 2 rows are bad:\n  line 3: score is '7'"
    ):
        normalize.main()
    assert not layout.NORMALIZED.exists()
    assert not Path("metrics").exists()
    assert not Path("evidence").exists()
    assert not list(folder.rglob("*.tmp"))


def test_the_line_of_a_parquet_file_is_its_row(folder):
    """Parquet has no lines."""
    (folder / "data/own/test.csv").unlink()
    table = pd.DataFrame({"sentence1": ["a", " "], "sentence2": "b", "score": 1})
    table.to_parquet(folder / "data/own/test.parquet")
    prepare(folder, "a,b,1\n")
    with pytest.raises(UserError, match=r"test.parquet: 1 of 2 rows are bad:\n  row 2: sentence1"):
        normalize.main()


GOOD = "".join(f"a{number},b{number},1\n" for number in range(12))


def test_bad_rows_are_dropped(folder, capsys):
    """The rest is written as if they had never been there; what is left out is said and kept."""
    prepare(folder, GOOD)
    normalize.main()
    expected = layout.normalized("train").read_bytes()
    assert "bad_rows" not in read_json(layout.metrics("data"))
    capsys.readouterr()

    prepare(folder, '\n"two\nlines",,1\n' + GOOD + "c,d,7\n" * 11, data__on_bad_row="drop")
    normalize.main()
    assert layout.normalized("train").read_bytes() == expected
    said = capsys.readouterr().out
    assert "train: 12 of 24 rows left out as bad:\n  line 3: sentence2 is ''; expected text" in said
    assert "\n  line 17: score is '7'; expected a number from 0 to 5" in said
    assert "\n  and 2 more\n" in said
    assert "test: 10 pairs" in said
    assert "test: 0 of" not in said
    splits = read_json(layout.evidence("data"))["splits"]
    assert [split["bad_rows"] for split in splits.values()] == [12, 0, 0]
    assert [row["place"] for row in splits["train"]["first_bad_rows"]] == [
        f"line {number}" for number in (3, *range(17, 28))
    ]
    assert read_json(layout.metrics("data"))["bad_rows"] == 12


def test_too_few_rows_are_left(folder):
    """A message, and no output."""
    prepare(folder, "a,b,1\nc,d,7\n", data__on_bad_row="drop")
    with pytest.raises(UserError, match=r"which leaves 1 pairs; a split needs at least 10"):
        normalize.main()
    assert not layout.NORMALIZED.exists()
    assert not Path("evidence").exists()


@pytest.mark.parametrize(
    ("on_leak", "kept"), [("keep", 3), ("drop_from_train", 2), ("drop_sentences_from_train", 1)]
)
def test_what_it_writes(folder, capsys, on_leak, kept):
    """Pairs, what is known of them, and what a conversion looks at; leaks dropped where that is
    wanted, and counted.
    """
    prepare(folder, "a,b,1\nE ,x,2\nc,d,2.5\n", data__on_leak=on_leak)
    capsys.readouterr()
    normalize.main()
    train, validation = (Pairs.read(layout.normalized(split)) for split in ("train", "validation"))
    expected = [["a", "b", 0.2], ["E", "x", 0.4], ["c", "d", 0.5]]
    assert train.table().to_numpy().tolist() == expected[-kept:]
    assert validation.table().to_numpy().tolist()[0] == ["b", "a", 0.8]
    evidence = read_json(layout.evidence("data"))
    assert evidence["splits"]["train"]["dropped"] == 3 - kept
    left = {"keep": [1, 2], "drop_from_train": [0, 1], "drop_sentences_from_train": [0, 0]}
    assert list(evidence["leaks"].values()) == left[on_leak]
    said = f"train: {3 - kept} of 3 pairs left out by data.on_leak={on_leak}\n"
    assert (said in capsys.readouterr().out) == (on_leak != "keep")
    rows = read_json(layout.metrics("data"))["rows"]
    assert rows == {"train": kept, "validation": 10, "test": 10}
    calibration.main()
    sentences = [["c", "d"], ["E", "c", "x", "d"], ["a", "E", "c", "b", "x", "d"]]
    assert read_sentences() == sentences[kept - 1]


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("a,b,1\n" * 9, "has 9 pairs; intervals need at least 10"),
        ("a,b,1\n" * 30, "all 30 gold scores are 0.2"),
        ("a,b,1\n" * 30 + "c,d,2\n", "30 of 31 gold scores are 0.2"),
    ],
)
def test_gold_scores_that_say_nothing(folder, split, rows, expected):
    """That is said here, before anything is trained, and nothing is written."""
    (folder / f"data/own/{split}.csv").write_text(HEADER + rows)
    prepare(folder, GOOD)
    with pytest.raises(UserError, match=f"^{split}:? {expected}"):
        normalize.main()
    assert not layout.NORMALIZED.exists()


SETS = {"own": {"source": "local", "file": "own.csv", "score_range": [1, 5]}}
ROWS = "".join(f"s{n},r{n},{1 + n / 3}\n" for n in range(12))


def test_further_test_sets(folder):
    """Pairs and what is known of them stand beside those of the splits, and change nothing there;
    what they share with train stays there.
    """
    prepare(folder, GOOD)
    normalize.main()
    paths = [layout.normalized(split) for split in layout.SPLITS]
    before = [path.read_bytes() for path in [*paths, layout.metrics("data")]]
    description = read_json(layout.evidence("data"))
    assert held_out() == ["validation", "test"]

    (folder / "data/own/own.csv").write_text(HEADER + ROWS + "a1,b1,1\n")
    on_leak = {"data__on_leak": "drop_sentences_from_train"}
    prepare(folder, GOOD, data__test_sets=SETS, **on_leak)
    normalize.main()
    assert [path.read_bytes() for path in [*paths, layout.metrics("data")]] == before
    assert held_out() == ["validation", "test", "own"]
    assert Pairs.read(layout.normalized("own")).score.tolist()[:4] == pytest.approx(
        [0, 1 / 12, 1 / 6, 1 / 4]
    )
    found = read_json(layout.evidence("data"))
    assert found["test_sets"]["own"]["rows"] == 13
    assert {**found, "test_sets": {}} == description


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("a,b,score\nx,y,2\n", "own: own.csv: no column 'sentence1' for sentence1; it has 'a', "),
        (HEADER + ROWS + "x,y,0\n", "from 1 to 5 (data.test_sets.own.score_range)"),
        (HEADER + "x,y,2\nx,y,3\n", "test set own has 2 pairs; intervals need at least 10"),
        (HEADER + "x,y,2\n" * 20, "check data.test_sets.own.columns.score and data.test_sets.own."),
        (HEADER.replace(",", ";") + "x;y;2\n", "Set data.test_sets.own.delimiter=semicolon if"),
    ],
    ids=["column", "range", "few", "constant", "delimiter"],
)
def test_a_bad_test_set(folder, own, expected):
    """The keys that are named are its own; nothing is written."""
    (folder / "data/own/own.csv").write_text(own)
    prepare(folder, GOOD, data__test_sets=SETS)
    with pytest.raises(UserError) as error:
        normalize.main()
    assert expected in str(error.value)
    assert not layout.NORMALIZED.exists()


def test_nothing_to_calibrate(folder):
    """A SPLADE model needs no sentences: its stage does not depend on the data."""
    prepare(folder, "a,b,1\n", base_model__target_active_dims=None)
    normalize.main()
    calibration.main()
    assert read_sentences() == []
