"""From raw rows to normalized pairs."""

import unicodedata

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_sts.data.normalize import INVISIBLE, BadRow, listing, normalize_split
from splade_sts.data.pairs import MINIMUM_PAIRS, Pairs
from splade_sts.data.tables import read_table
from splade_sts.errors import UserError
from splade_sts.params import ColumnsParams

NAMES = ["sentence1", "sentence2", "score"]


def columns(**places: str | int | None) -> ColumnsParams:
    """Each field in the column of its own name, none for the genre, but for `places`."""
    return ColumnsParams(**{**{name: name for name in NAMES}, "genre": None, **places})


def table(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame([(*row, 0.5)[:3] for row in rows], columns=NAMES)


def normalized(raw: pd.DataFrame, score_range=(0, 5), **places: str | int | None) -> Pairs:
    return normalize_split(raw, "own/train.csv", columns(**places), score_range).pairs


def refused(raw: pd.DataFrame, **places: str | int | None) -> str:
    with pytest.raises(UserError) as error:
        normalized(raw, **places)
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
    scores = pd.Series(scores, dtype=object)
    found = normalized(
        pd.DataFrame({"sentence1": "a", "sentence2": "b", "score": scores}), score_range
    )
    assert found.score.tolist() == expected
    assert found.score.dtype == "float64"


@pytest.mark.parametrize("places", [("x", "y", "s"), (1, 2, 0)])
def test_text_and_columns(places):
    """NFC, stripped, inner space kept; columns by name or number."""
    raw = pd.DataFrame(
        [("5", " cafe\u0301 \n", "\u00a0a  b\t", "more")], columns=["s", "x", "y", "z"]
    )
    found = normalized(raw, **dict(zip(NAMES, places, strict=True)))
    assert found.table().to_numpy().tolist() == [["caf\u00e9", "a  b", 1.0]]


@pytest.mark.parametrize(
    "score",
    ["abc", "", None, "5.1", -0.1, 6, "nan", float("nan"), "inf", True, "2,5", [1], "1_0", b"1"],
)
def test_bad_score(score):
    """File, row and value are named, and the range."""
    scores = pd.Series([1, score], dtype=object)
    raw = pd.DataFrame({"sentence1": ["a"] * 2, "sentence2": ["b"] * 2, "score": scores})
    assert refused(raw) == (
        f"own/train.csv: 1 of 2 rows are bad:\n  row 2: score is {score!r}; "
        "expected a number from 0 to 5 (data.score_range)\n"
        "Mend them, or leave them out with data.on_bad_row=drop"
    )


def test_genre():
    """Where a column is named it comes along as text; a column that is missing, or a cell without
    text, is told.
    """
    raw = pd.DataFrame(
        [("a", "b", 1, " main-news "), ("c", "d", 2, "main-forums")], columns=[*NAMES, "kind"]
    )
    assert normalized(raw, genre="kind").genre == ["main-news", "main-forums"]
    assert normalized(raw, genre=3).genre == ["main-news", "main-forums"]
    assert normalized(raw).genre is None
    assert "own/train.csv: no column 'genre' for genre; it has 'sentence1', " in refused(
        raw, genre="genre"
    )
    assert "row 2: genre is ' '; expected text" in refused(
        raw.assign(kind=["x", " "]), genre="kind"
    )


@pytest.mark.parametrize("text", ["", "  \t", "\u00a0", None, 7, float("nan")])
@pytest.mark.parametrize("field", ["sentence1", "sentence2"])
def test_bad_sentence(field, text):
    """Empty, white space only, or no text."""
    raw = pd.DataFrame(
        [{"sentence1": "a", "sentence2": "b", "score": 1, field: text}], dtype=object
    )
    assert (
        f"own/train.csv: 1 of 1 rows are bad:\n  row 1: {field} is {text!r}; expected text"
        in refused(raw)
    )


def test_first_ten_bad_rows_are_shown():
    """All are counted; a row with two faults counts once."""
    rows = [("a", "b", 1), ("", "b", 9)] * 13
    lines = refused(table(*rows)).splitlines()
    assert lines[0] == "own/train.csv: 13 of 26 rows are bad:"
    assert len(lines) == 13
    shown = [line.split(":")[0].strip() for line in lines[1:11]]
    assert shown == [f"row {number}" for number in range(2, 21, 2)]
    assert "sentence1 is ''" in lines[1]
    assert "score is 9" in lines[1]
    assert lines[11].strip() == "and 3 more"
    assert "more" not in refused(table(*rows[:20]))


def test_lines_of_the_file():
    """Where the table knows them they are named instead of rows."""
    raw = table(("a", "b"), ("", "b"), ("c", "d")).set_axis(pd.Index([2, 5, 6], name="line"))
    assert "\n  line 5: sentence1 is ''; expected" in refused(raw)


@pytest.mark.parametrize("bad", [0, 1, 13])
def test_bad_rows_are_dropped(bad):
    """The others stay as they are, in their order; each bad row is kept with what is wrong."""
    good = [(f"a{number}", f"b{number}", number / 4) for number in range(MINIMUM_PAIRS)]
    rows = [*good[:3], *[("a", "", "x")] * bad, *good[3:]]
    found = normalize_split(table(*rows), "t", columns(), (0, 5), "drop")
    assert found.pairs.same_as(normalized(table(*good)))
    assert [row.place for row in found.bad_rows] == [f"row {4 + number}" for number in range(bad)]
    problem = (
        "sentence2 is ''; expected text that is not empty; "
        "score is 'x'; expected a number from 0 to 5 (data.score_range)"
    )
    assert {row.problem for row in found.bad_rows} == ({problem} if bad else set())


@pytest.mark.parametrize("left", [0, 1, MINIMUM_PAIRS - 1])
def test_too_few_rows_are_left(left):
    """That is an error, with the rows that are bad."""
    raw = table(*[("a", "b")] * left, ("", "b"))
    with pytest.raises(UserError) as error:
        normalize_split(raw, "t", columns(), (0, 5), "drop")
    assert str(error.value).startswith(f"t: 1 of {left + 1} rows are bad:\n  row {left + 1}: sent")
    assert str(error.value).endswith(f"which leaves {left} pairs; a split needs at least 10")


def test_few_rows_that_are_good():
    """Where nothing is dropped, how many there are is the concern of later stages."""
    assert len(normalize_split(table(("a", "b")), "t", columns(), (0, 5), "drop").pairs) == 1


def test_listing():
    """At most ten, and how many more."""
    rows = [BadRow(f"line {number}", "x") for number in range(12)]
    assert listing(rows[:1]) == "line 0: x"
    assert listing(rows).splitlines()[9:] == ["  line 9: x", "  and 2 more"]


@pytest.mark.parametrize("column", ["gold", 3, -1])
def test_missing_column(column):
    """What there is instead, and the parameter to set."""
    text = refused(table(("a", "b")), score=column)
    expected = f"no column {column!r} for score; it has 'sentence1', 'sentence2', 'score'"
    assert f"own/train.csv: {expected}" in text
    assert "data.columns.score" in text
    assert "from 0 to 2" in text


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ({"sentence2": "sentence1"}, "data.columns.sentence1 and data.columns.sentence2 are one"),
        ({"sentence2": 0}, "data.columns.sentence1 and data.columns.sentence2 are one column"),
        ({"score": "sentence2"}, "data.columns.sentence2 and data.columns.score are one column"),
        ({"genre": 1}, "data.columns.sentence2 and data.columns.genre are one column, 'sentence2'"),
    ],
)
def test_two_fields_in_one_column(places, expected):
    """By name, by number, or by both."""
    assert f"own/train.csv: {expected}" in refused(table(("a", "b")), **places)


TEXT_FILE = "sentence1\tsentence2\tscore\nA man, a dog, a cat.\tb; c; d.\t4.2\nx\ty\t1\n"


@pytest.mark.parametrize(
    ("name", "text", "options", "hint"),
    [
        ("a.csv", TEXT_FILE, {}, "Set data.delimiter=tab if"),
        ("a.csv", TEXT_FILE.replace("; ", " ").replace("\t", ";"), {}, "Set data.delimiter=semi"),
        ("a.tsv", "sentence1,sentence2,score\na,b,1\n", {}, "Set data.delimiter=comma if"),
        ("a.csv", "a\tb\t1\nc\td\t2\n", {"header": False}, "Set data.delimiter=tab if"),
        (
            "a.tsv",
            TEXT_FILE.split("\n", 1)[1],
            {},
            "Set data.header=false if the first line is a row",
        ),
        ("a.csv", "a man,a dog,5\nb,c,1\n", {}, "Set data.header=false if the first line is a row"),
        ("a.csv", "text,other\nA man; a dog; b,b\n", {}, ""),
        ("a.jsonl", '{"text": "a, b, c", "other": 4}\n', {}, ""),
    ],
)
def test_how_the_file_may_have_been_meant(tmp_path, name, text, options, hint):
    """Where a column is missing because of it, the parameter is named; the rest of the message is
    as ever.
    """
    (tmp_path / name).write_text(text, encoding="utf-8")
    raw = read_table(tmp_path / name, **options)
    said = refused(raw, sentence1="sentence1", sentence2="no such")
    assert "Set data.columns.sentence" in said
    assert hint in said
    assert ("data.delimiter" in said or "data.header" in said) == bool(hint)


def test_a_first_row_that_was_read_as_names(tmp_path):
    """Columns that are named by their numbers do not miss it: it would be lost without a word."""
    (tmp_path / "a.csv").write_text("a man,a dog,5\nb,c,1\n")
    places = {"sentence1": 0, "sentence2": 1, "score": 2}
    raw = read_table(tmp_path / "a.csv")
    assert "that of score is '5': set data.header=false" in refused(raw, **places)
    raw = read_table(tmp_path / "a.csv", header=False)
    assert normalized(raw, **places).sentence1 == ["a man", "b"]
    (tmp_path / "a.csv").write_text("first,second,2012\nb,c,1\n")
    raw = read_table(tmp_path / "a.csv")
    assert normalized(raw, sentence1=0, sentence2=1, score="2012").sentence1 == ["b"]


def visible(text: str) -> bool:
    return any(unicodedata.category(character) not in INVISIBLE for character in text)


RANGES = st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).filter(
    lambda ends: ends[0] < ends[1]
)
TEXTS = st.text(min_size=1).filter(visible)


# the first run builds a table of all characters
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    RANGES.flatmap(
        lambda ends: st.tuples(
            st.just(ends),
            st.lists(st.tuples(TEXTS, TEXTS, st.floats(*ends)), min_size=1, max_size=8),
        )
    )
)
def test_normalization_is_idempotent(ends_and_rows):
    """Whatever the text and range: rows keep their order, are in [0, 1], NFC and stripped, and pass
    again unchanged.
    """
    ends, rows = ends_and_rows
    once = normalized(table(*rows), ends)
    assert len(once) == len(rows)
    assert ((once.score >= 0) & (once.score <= 1)).all()
    order = sorted(range(len(rows)), key=lambda row: rows[row][2])
    assert (once.score[order][1:] >= once.score[order][:-1]).all()
    for text in [*once.sentence1, *once.sentence2]:
        assert text
        assert text == text.strip() == unicodedata.normalize("NFC", text)
    assert normalized(once.table(), (0, 1)).same_as(once)


@pytest.mark.parametrize(
    "text", ["", " \t\n", "\u200b\u200d", "\ufeff", "\x00\x01", "\u00a0\u3000", "\u202e\u202c"]
)
def test_texts_without_anything_to_see_are_empty(text):
    """White space, zero-width, control and direction characters alone are no sentence."""
    assert "1 of 1 rows are bad" in refused(table((text, "a", 1.0)))


def test_normal_forms_are_one():
    """Composed and decomposed letters are the same sentence afterwards."""
    found = normalized(table(("\u1e69 \u212b", "s\u0323\u0307 A\u030a", 1.0)))
    assert found.sentence1 == found.sentence2 == ["\u1e69 \u00c5"]
