"""Rows of tables in a stream: the same as of the whole table, and what is wrong with them."""

import json

import pandas as pd
import pyarrow as pa
import pytest

from splade_sts.apply.rows import BadRow, Row, Source, shards, survey
from splade_sts.data.tables import Delimited, read_table, stream_table
from splade_sts.errors import UserError
from tests.support.tables import PACK, formats

TABLE = pd.DataFrame(
    {
        "text": ['He said, "no".', "two\nlines", "日本\tx"] * 100,
        "key": [f"k{number}" for number in range(300)],
    }
)
PLAIN = formats(TABLE)


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, "zstd", asbytes=True)
    return packed


PACKED = {**PACK, ".zst": zstd}


@pytest.mark.parametrize(
    ("kind", "packing"),
    [
        (kind, packing)
        for kind in PLAIN
        for packing in PACKED
        if (kind, packing) != ("parquet", ".zst")
    ],
)
def test_every_format_in_a_stream(tmp_path, kind, packing):
    """The rows that `read_table` has, on the same lines."""
    path = tmp_path / f"t.{kind}{packing}"
    path.write_bytes(PACKED[packing](PLAIN[kind]))
    found = list(stream_table(path, ["key", "text"], Delimited()))
    table = read_table(path)
    lines = table.index if table.index.name else range(1, len(table) + 1)
    assert [row.place for row in found] == [f"{table.index.name or 'row'} {n}" for n in lines]
    assert [row.values for row in found] == list(zip(table["key"], table["text"], strict=True))


def test_parquet_in_a_packing_that_is_read_forwards_only(tmp_path):
    path = tmp_path / "t.parquet.zst"
    path.write_bytes(zstd(PLAIN["parquet"]))
    with pytest.raises(UserError, match="cannot be read from such a packing; unpack the file"):
        list(stream_table(path, ["text"], Delimited()))


@pytest.mark.parametrize("packing", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_file_that_ends_in_the_middle(tmp_path, kind, packing):
    data = PACKED[packing](PLAIN[kind])
    path = tmp_path / f"t.{kind}{packing}"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"trunc|corrupt"):
        survey(Source((path,), ("text",)), skip_bad=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", 'text\na\n"b', "line 3: unexpected end of data.*give --no-quotes"),
        ("t.jsonl", '{"text": "a"}\n{"tex', "line 2: not JSON"),
        ("t.csv", "", "t.csv: no row to encode$"),
        ("t.csv", "text,text\na,b\n", "more than one column is called text"),
        ("t.csv", "txt\na\n", "no column text; it has txt; use --text"),
    ],
)
def test_files_that_are_refused(tmp_path, name, content, message):
    """Also where bad rows are left out: what cannot be read is no row."""
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        survey(Source((tmp_path / name,), ("text",), remedy="use --text"), skip_bad=True)


LINES = [
    {"text": "a", "id": 7},
    {"text": " ", "id": 8},
    {"id": 9},
    {"text": 5, "id": 10},
    {"text": "\ud83d", "id": 11},
    {"text": "b", "id": None},
    {"text": "c", "id": True},
    {"text": "d", "id": "x"},
]


def test_bad_rows(tmp_path):
    """Each is told with its line and what was found; ids may be whole numbers, and numbers of rows
    count those that are left out.
    """
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, LINES)))
    source = Source((path, path), ("text",), "id")
    with pytest.raises(UserError, match=r"t\.jsonl, line 2: column text: found ' '.*--skip-bad"):
        survey(source, skip_bad=False)
    found = survey(source, skip_bad=True)
    assert (found.rows, found.left_out) == (4, 12)
    bad: list[BadRow] = []
    pieces = list(shards(source, 3, bad.append))
    assert [[row.number for row in piece] for piece in pieces] == [[0, 7, 8], [15]]
    assert pieces[0][:2] == [Row(0, "7", ("a",)), Row(7, "x", ("d",))]
    assert [(row.place, row.why.split(";")[0]) for row in bad[:6]] == [
        ("line 2", "column text: found ' '"),
        ("line 3", "column text: found nothing"),
        ("line 4", "column text: found 5"),
        ("line 5", "column text holds no Unicode text: surrogates not allowed"),
        ("line 6", "column id: found nothing"),
        ("line 7", "column id: found True"),
    ]


def test_no_limit_on_the_whole(tmp_path, monkeypatch):
    """What is read as a whole is bounded; a stream is not, but its lines are."""
    monkeypatch.setattr("splade_sts.data.tables.LARGEST_TABLE", 1000)
    monkeypatch.setattr("splade_sts.data.tables.MOST_CELLS", 10)
    monkeypatch.setattr("splade_sts.data.tables.LONGEST_LINE", 100)
    for kind in ("csv", "jsonl", "parquet"):
        path = tmp_path / f"t.{kind}"
        path.write_bytes(PLAIN[kind])
        with pytest.raises(UserError, match="expected"):
            read_table(path)
        assert len(list(stream_table(path, ["text"], Delimited()))) == 300
    (tmp_path / "t.csv").write_text("text\n" + "x" * 200)
    with pytest.raises(UserError, match="line 2 has more than 100 characters"):
        list(stream_table(tmp_path / "t.csv", ["text"], Delimited()))
