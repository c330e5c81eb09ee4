"""Files that somebody or something damaged: a table, or one message that names the file."""

import json
import unicodedata

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_sts.data import tables
from splade_sts.data.normalize import INVISIBLE, normalize_split
from splade_sts.data.tables import read_table
from splade_sts.errors import UserError
from splade_sts.params import ColumnsParams
from tests.support.tables import PACK, formats

NAMES = ["sentence1", "sentence2", "score"]
COLUMNS = ColumnsParams(**{name: name for name in NAMES}, genre=None)
SETTINGS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TABLE = pd.DataFrame([('He said, "no".', "Ein Kätzchen\tschläft.", 2.5), ("a", "日本", 5)] * 3)
TABLE.columns = NAMES


PLAIN = formats(TABLE)
ENDINGS = st.sampled_from([f"{kind}{pack}" for kind in PLAIN for pack in PACK])


@SETTINGS
@given(
    rows=st.lists(st.tuples(TEXT, TEXT, st.floats(0, 5)), min_size=1, max_size=5),
    kind=st.sampled_from(list(PLAIN)),
)
def test_any_text_arrives_or_is_named(tmp_path, rows, kind):
    """What has something to see arrives as its NFC, whatever the format; every row without is
    counted.
    """
    frame = pd.DataFrame(rows, columns=NAMES)
    path = tmp_path / f"t.{kind}"
    if kind == "parquet":
        frame.to_parquet(path, index=False)
    elif kind == "jsonl":
        records = "".join(json.dumps(record) + "\n" for record in frame.to_dict("records"))
        path.write_text(records, encoding="utf-8")
    else:
        frame.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",", quoting=1)
    expected = [unicodedata.normalize("NFC", text).strip() for row in rows for text in row[:2]]
    blank = [all(unicodedata.category(c) in INVISIBLE for c in text) for text in expected]
    raw = read_table(path)
    if any(blank):
        bad = sum(first or second for first, second in zip(blank[::2], blank[1::2], strict=True))
        with pytest.raises(UserError, match=f"{bad} of {len(rows)} rows are bad"):
            normalize_split(raw, "t", COLUMNS, (0, 5))
        return
    pairs = normalize_split(raw, "t", COLUMNS, (0, 5)).pairs
    both = zip(pairs.sentence1, pairs.sentence2, strict=True)
    assert [text for pair in both for text in pair] == expected
    assert pairs.score.tolist() == pytest.approx([row[2] / 5 for row in rows])


@SETTINGS
@given(data=st.binary(max_size=200), ending=ENDINGS)
def test_any_bytes(tmp_path, data, ending):
    """Random bytes under any name."""
    check(tmp_path, ending, data)


@st.composite
def damaged(draw, ending: st.SearchStrategy[str]) -> tuple[str, bytes]:
    """A good file with one to three accidents, below its compression or above: flipped, lost,
    repeated or new bytes.
    """
    name = draw(ending)
    kind, _, packing = name.partition(".")
    pack = PACK[f".{packing}" if packing else ""]
    data, inside = PLAIN[kind], draw(st.booleans())
    if not inside:
        data = pack(data)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 1, 2, 8, 64, len(data)]))
        lost = data[place : place + length]
        new = draw(st.sampled_from([b"", lost * 2, lost * 200]) | st.binary(max_size=8))
        data = data[:place] + new + data[place + length :]
    return name, pack(data) if inside else data


@settings(SETTINGS, max_examples=300)
@given(file=damaged(ENDINGS))
def test_damaged_files(tmp_path, file):
    """Good files after some accidents: what is read of them normalizes, or is refused."""
    check(tmp_path, *file)


def check(folder, ending: str, data: bytes) -> None:
    path = folder / f"t.{ending}"
    path.write_bytes(data)
    said = ""
    try:
        pairs = normalize_split(read_table(path), str(path), COLUMNS, (0, 5)).pairs
    except UserError as error:
        said = str(error)
    if said:
        assert str(path) in said
        return
    assert len(pairs)
    assert ((pairs.score >= 0) & (pairs.score <= 1)).all()
    assert all(text == text.strip() != "" for text in pairs.sentences)


MEGABYTE = 2**20


@pytest.mark.parametrize("packing", [".gz", ".bz2", ".xz", ".zip"])
def test_compression_bombs(tmp_path, packing, monkeypatch):
    """A packed file is read no further than the bound (lowered here to a megabyte)."""
    monkeypatch.setattr(tables, "LARGEST_TABLE", MEGABYTE)
    path = tmp_path / f"t.csv{packing}"
    path.write_bytes(PACK[packing](b"some text,1\n" * 150_000))
    assert path.stat().st_size < MEGABYTE / 100
    with pytest.raises(UserError, match="holds more than"):
        read_table(path)


UNUSUAL = {
    "long": "x" * 100_000,
    "control": "a\x00b\x1b[31m",
    "emoji": "👩‍👩‍👧‍👦 🇩🇪",
    "arabic": "مرحبا بالعالم",
    "override": "\u202eabc\u202c",
    "equals": "=1+1",
    "plus": "+1",
    "minus": "-1",
    "at": "@SUM(A1)",
    "script": "<script>alert(1)</script>",
}


@pytest.mark.parametrize("text", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_texts_are_texts(tmp_path, text):
    """They pass through unchanged: what they mean is up to the model, and the reports escape
    them.
    """
    path = tmp_path / "t.jsonl"
    record = json.dumps({"sentence1": text, "sentence2": "a", "score": 1})
    path.write_text(record + "\n", encoding="utf-8")
    assert normalize_split(read_table(path), "t", COLUMNS, (0, 5)).pairs.sentence1 == [text]
