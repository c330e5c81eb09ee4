"""From raw rows to normalized pairs."""

import subprocess
import sys
import unicodedata

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from splade_sts import params
from splade_sts.errors import UserError
from splade_sts.data.pairs import INVISIBLE, describe, drop_leaks, normalize_split
from tests.conftest import ROOT

NAMES = ["sentence1", "sentence2", "score"]
COLUMNS = {name: name for name in NAMES}


def table(*rows) -> pd.DataFrame:
    return pd.DataFrame([(*row, 0.5)[:3] for row in rows], columns=NAMES)


def refused(raw, columns=COLUMNS, score_range=(0, 5)) -> str:
    with pytest.raises(UserError) as error:
        normalize_split(raw, "own/train.csv", columns, list(score_range))
    return str(error.value)


@pytest.mark.parametrize(
    ("score_range", "scores", "expected"),
    [
        ([0, 5], ["0", "2.5", "5.000", 1, 4.0], [0.0, 0.5, 1.0, 0.2, 0.8]),
        ([0, 1], [0, 0.3, "1"], [0.0, 0.3, 1.0]),
        ([1, 5], [1, 2, 5], [0.0, 0.25, 1.0]),
        ([-1, 1], [-1, "0", 1], [0.0, 0.5, 1.0]),
    ],
)
def test_scores_are_mapped(score_range, scores, expected):
    """Lowest to 0, highest to 1, exactly; text and numbers alike."""
    raw = pd.DataFrame({"sentence1": "a", "sentence2": "b", "score": pd.Series(scores, dtype=object)})
    found = normalize_split(raw, "x", COLUMNS, score_range)
    assert found["score"].tolist() == expected and found["score"].dtype == "float64"


def test_text_and_columns():
    """NFC, stripped, inner space kept; columns by name or number, in our order."""
    raw = pd.DataFrame([("5", " cafe\u0301 \n", "\u00a0a  b\t", "more")], columns=["s", "x", "y", "z"])
    expected = [["caf\u00e9", "a  b", 1.0]]
    for columns in ({"sentence1": "x", "sentence2": "y", "score": "s"}, {"sentence1": 1, "sentence2": 2, "score": 0}):
        found = normalize_split(raw, "x", columns, [0, 5])
        assert list(found.columns) == NAMES and found.values.tolist() == expected


@pytest.mark.parametrize("score", ["abc", "", None, "5.1", -0.1, 6, "nan", float("nan"), "inf", True, "2,5", [1]])
def test_bad_score(score):
    """File, row and value are named, and the range."""
    raw = pd.DataFrame({"sentence1": ["a"] * 2, "sentence2": ["b"] * 2, "score": pd.Series([1, score], dtype=object)})
    assert refused(raw) == (
        f"own/train.csv: 1 of 2 rows are bad:\n  row 2: score is {score!r}; "
        "expected a number from 0 to 5 (data.score_range)"
    )


def test_genre():
    """Where a column is named it comes along as text; a column that is missing, or a cell without text, is told."""
    raw = pd.DataFrame([("a", "b", 1, " main-news "), ("c", "d", 2, "main-forums")], columns=[*NAMES, "kind"])
    found = normalize_split(raw, "x", {**COLUMNS, "genre": "kind"}, [0, 5])
    assert list(found.columns) == [*NAMES, "genre"] and found["genre"].tolist() == ["main-news", "main-forums"]
    assert normalize_split(raw, "x", {**COLUMNS, "genre": 3}, [0, 5]).equals(found)
    assert list(normalize_split(raw, "x", {**COLUMNS, "genre": None}, [0, 5]).columns) == NAMES
    assert "own/train.csv: no column 'genre' for genre; it has 'sentence1', " in refused(raw, {**COLUMNS, "genre": "genre"})
    assert "row 2: genre is ' '; expected text" in refused(raw.assign(kind=["x", " "]), {**COLUMNS, "genre": "kind"})


@pytest.mark.parametrize("text", ["", "  \t", "\u00a0", None, 7, float("nan")])
@pytest.mark.parametrize("field", ["sentence1", "sentence2"])
def test_bad_sentence(field, text):
    """Empty, white space only, or no text."""
    raw = pd.DataFrame([{"sentence1": "a", "sentence2": "b", "score": 1, field: text}], dtype=object)
    assert f"own/train.csv: 1 of 1 rows are bad:\n  row 1: {field} is {text!r}; expected text" in refused(raw)


def test_first_ten_bad_rows_are_shown():
    """All are counted; a row with two faults counts once."""
    rows = [("a", "b", 1), ("", "b", 9)] * 13
    lines = refused(table(*rows)).splitlines()
    assert lines[0] == "own/train.csv: 13 of 26 rows are bad:" and len(lines) == 12
    assert [line.split(":")[0].strip() for line in lines[1:11]] == [f"row {number}" for number in range(2, 21, 2)]
    assert "sentence1 is ''" in lines[1] and "score is 9" in lines[1]
    assert lines[11].strip() == "and 3 more"
    assert "more" not in refused(table(*rows[:20]))


@pytest.mark.parametrize("column", ["gold", 3, -1])
def test_missing_column(column):
    """What there is instead, and the parameter to set."""
    text = refused(table(("a", "b")), {**COLUMNS, "score": column})
    assert f"own/train.csv: no column {column!r} for score; it has 'sentence1', 'sentence2', 'score'" in text
    assert "data.columns.score" in text and "from 0 to 2" in text


RANGES = st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).filter(lambda ends: ends[0] < ends[1])
TEXTS = st.text(min_size=1).filter(lambda text: any(unicodedata.category(character) not in INVISIBLE for character in text))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first run builds a table of all characters
@given(RANGES.flatmap(lambda ends: st.tuples(
    st.just(ends), st.lists(st.tuples(TEXTS, TEXTS, st.floats(*ends)), min_size=1, max_size=8)
)))
def test_normalization_is_idempotent(ends_and_rows):
    """Whatever the text and range: rows keep their order, are in [0, 1], NFC and stripped, and pass again unchanged."""
    ends, rows = ends_and_rows
    once = normalize_split(table(*rows), "x", COLUMNS, list(ends))
    assert len(once) == len(rows) and once["score"].between(0, 1).all()
    order = sorted(range(len(rows)), key=lambda row: rows[row][2])
    assert once["score"].iloc[order].is_monotonic_increasing
    for text in [*once["sentence1"], *once["sentence2"]]:
        assert text and text == text.strip() == unicodedata.normalize("NFC", text)
    assert normalize_split(once, "x", COLUMNS, [0, 1]).equals(once)


SPLITS = {
    "train": table(("a", "b"), ("b", "a"), ("c", "d"), ("a", "b"), ("h", "g")),
    "validation": table(("d", "c"), ("e", "f"), ("g", "h")),
    "test": table(("g", "h"), ("a", "x")),
}


def test_duplicates_and_shared_pairs():
    """(a, b) and (b, a) are one pair; shared pairs are counted once."""
    found = describe(SPLITS)
    assert {split: found[split]["duplicate_pairs"] for split in SPLITS} == {"train": 2, "validation": 0, "test": 0}
    assert found["shared_pairs"] == {"train_validation": 2, "train_test": 1, "validation_test": 1}


def test_describe():
    """Rows, mean, histogram with a closed last bin, words in a sentence."""
    rows = [("a", "a b c", 0.0), ("a", "b", 0.1), ("a", "b", 0.95), ("a", "b", 1.0)]
    found = describe({"train": table(*rows)})["train"]
    assert found["rows"] == 4 and found["score"]["mean"] == pytest.approx(0.5125)
    assert found["score"]["histogram"] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert found["words"]["p50"] == 1 and found["words"]["max"] == 3


def test_drop_leaks():
    """Only train loses rows, in either order of the pair; its index starts anew."""
    kept = drop_leaks(SPLITS)
    assert kept["train"].equals(table(("a", "b"), ("b", "a"), ("a", "b")))
    assert kept["validation"].equals(SPLITS["validation"]) and kept["test"].equals(SPLITS["test"])
    with pytest.raises(UserError, match="every pair of train"):
        drop_leaks({**SPLITS, "train": table(("c", "d"))})


def prepare(folder, train: str, **data):
    """Write own/*.csv and params.yaml; return a function that runs a stage there."""
    (folder / "own").mkdir()
    for split, rows in (("train", train), ("validation", "b,a,4\n"), ("test", "e,f,5\n")):
        (folder / "own" / f"{split}.csv").write_text("sentence1,sentence2,score\n" + rows)
    content = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["data"] |= {"source": "local", "path": "own", "score_range": [0, 5], **data}
    with open(folder / "params.yaml", "w", encoding="utf-8") as file:
        YAML().dump(content, file)

    def run(stage):
        return subprocess.run(
            [sys.executable, "-m", f"stages.{stage}"], cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
        )

    assert run("download").returncode == 0
    return run


def test_stage_with_a_bad_score(tmp_path):
    """Non-zero exit, file, row and value in one message without a traceback, and no output."""
    done = prepare(tmp_path, "a,b,1\nc,d,7\n")("normalize")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: local: train.csv: 1 of 2 rows are bad:\n  row 2: score is '7'")
    assert not (tmp_path / "data" / "normalized").exists() and not (tmp_path / "metrics").exists()
    assert not list(tmp_path.rglob("*.tmp"))


def test_stage(tmp_path):
    """What it writes, leaks dropped."""
    done = prepare(tmp_path, "a,b,1\nc,d,2.5\n", on_leak="drop_from_train")("normalize")
    assert done.returncode == 0, done.stderr
    found = {split: pd.read_parquet(tmp_path / "data" / "normalized" / f"{split}.parquet") for split in params.SPLITS}
    assert found["train"].values.tolist() == [["c", "d", 0.5]] and found["validation"].values.tolist() == [["b", "a", 0.8]]
    assert '"dropped_leaks": 1' in (tmp_path / "metrics" / "data.json").read_text()
