"""Tables as users bring them: every format, and every way to be broken."""

import gzip

import pandas as pd
import pytest

from splade_sts.data.normalize import normalize_split
from splade_sts.data.tables import find_split, read_table
from splade_sts.errors import UserError
from splade_sts.params import ColumnsParams
from tests.support.tables import PACK, formats, zipped

ROWS = [
    {"sentence1": 'He said, "no".', "sentence2": "Ein Kätzchen\tschläft.", "score": "2.50"},
    {"sentence1": "two\nlines", "sentence2": "日本", "score": "5"},
]
TABLE = pd.DataFrame(ROWS)


PLAIN = formats(TABLE)


def refused(path, **options) -> str:
    with pytest.raises(UserError) as error:
        read_table(path, **options)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("compression", PACK)
@pytest.mark.parametrize("kind", PLAIN)
def test_every_format(tmp_path, kind, compression):
    """Same rows from each, quotes, umlauts, tabs and line breaks included."""
    path = tmp_path / f"train.{kind}{compression}"
    path.write_bytes(PACK[compression](PLAIN[kind]))
    assert read_table(find_split(tmp_path, "train")).to_dict("records") == ROWS


def test_delimiter_byte_order_mark_and_capital_ending(tmp_path):
    """What Excel writes; the parameter goes before the ending."""
    path = tmp_path / "TRAIN.CSV"
    path.write_bytes("sentence1;score\r\nä, b;1,5\r\n".encode("utf-8-sig"))
    assert read_table(path, delimiter="semicolon").to_dict("records") == [
        {"sentence1": "ä, b", "score": "1,5"}
    ]


def test_types_of_json_lines_and_parquet_are_kept(tmp_path):
    """Numbers stay numbers; an empty line is no record."""
    (tmp_path / "a.jsonl").write_text(
        '{"score": 2.5, "sentence1": "a"}\n\n{"score": 4, "sentence1": "b"}\n'
    )
    assert read_table(tmp_path / "a.jsonl")["score"].tolist() == [2.5, 4.0]
    pd.DataFrame({"score": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet")["score"].dtype == "int64"


@pytest.mark.parametrize(
    ("name", "data", "header", "expected"),
    [
        ("a.csv", b"a,b\n1,2\n3,4\n", True, [2, 3]),
        ("a.csv", b"1,2\n3,4\n", False, [1, 2]),
        ("a.csv", b"\r\na,b\r\n\r\n1,2\r\n\r\n\r\n3,4", True, [4, 7]),
        ("a.csv", b'"a\nb",c\n"1\n\n",2\n3,4\n5,"6\n"\n7,8\n', True, [3, 6, 7, 9]),
        ("a.csv.gz", gzip.compress(b'a,b\r"1\r\n",2\r3,4\r', mtime=0), True, [2, 4]),
        ("a.tsv", b'a\tb\n"1\n2"\t3\n4\t5\n', True, [2, 4]),
        ("a.jsonl", b'\n{"a": 1}\n  \n\n{"a": 2}\n{"a": 3}', True, [2, 5, 6]),
    ],
)
def test_lines_of_records(tmp_path, name, data, header, expected):
    """Where each record starts: headers, blank lines and quoted line breaks count, and no index is
    a column.
    """
    (tmp_path / name).write_bytes(data)
    table = read_table(tmp_path / name, header=header)
    assert table.index.name == "line"
    assert table.index.tolist() == expected
    assert "line" not in table.columns


def test_parquet_has_no_lines(tmp_path):
    """An index that somebody's file brings is none of ours."""
    table = pd.DataFrame({"a": [1, 2]}, index=pd.Index([7, 9], name="line"))
    table.to_parquet(tmp_path / "a.parquet")
    found = read_table(tmp_path / "a.parquet")
    assert (found.index.name, found.index.tolist()) == (None, [0, 1])


@pytest.mark.parametrize("compression", ["", ".gz"])
def test_original_sts_layout(tmp_path, compression):
    """No header, seven tab-separated columns or nine, quotes that mean nothing."""
    lines = [
        'main-captions\tMSRvid\t2012test\t0001\t5.000\tA "plane is off.\tAn air plane.',
        "main-forums\tdeft\t2014\t0002\t0.500\t\"One.\tIt's two.\tlicence\thttp://example.org",
        'main-news\theadlines\t2013\t0003\t2.5\tx ""y\tz"',
    ]
    data = "\n".join(lines).encode() + b"\n"
    (tmp_path / f"sts-train.csv{compression}").write_bytes(PACK[compression](data))
    raw = read_table(find_split(tmp_path, "train"), header=False, delimiter="tab", quotes=False)
    assert list(raw.columns) == [str(number) for number in range(9)]
    assert raw["7"].tolist() == [None, "licence", None]
    columns = ColumnsParams(sentence1=5, sentence2=6, score=4, genre=0)
    pairs = normalize_split(raw, "sts-train.csv", columns, (0, 5)).pairs
    assert pairs.genre == ["main-captions", "main-forums", "main-news"]
    assert pairs.table()[["sentence1", "sentence2", "score"]].to_numpy().tolist() == [
        ['A "plane is off.', "An air plane.", 1.0],
        ['"One.', "It's two.", 0.1],
        ['x ""y', 'z"', 0.5],
    ]


def test_original_sts_layout_with_quotes_left_on(tmp_path):
    """The message names the line and the parameter to set."""
    (tmp_path / "sts-train.csv").write_text(
        'g\tf\ty\t1\t5\tA plane.\tB.\ng\tf\ty\t2\t5\t"One.\tTwo.\n'
    )
    text = refused(tmp_path / "sts-train.csv", header=False, delimiter="tab")
    assert "line 2" in text
    assert "data.quotes" in text


@pytest.mark.parametrize(
    ("split", "name"),
    [
        ("train", "train.csv"),
        ("train", "sts-train.csv"),
        ("train", "STS_Train.TSV.gz"),
        ("validation", "dev.jsonl"),
        ("validation", "sts-dev.csv"),
        ("validation", "val.parquet"),
        ("validation", "my_valid.csv.xz"),
        ("validation", "validation-00000-of-00001.parquet"),
        ("test", "sts-test.csv.bz2"),
    ],
)
def test_split_is_found_by_its_name(tmp_path, split, name):
    """Whole words of the name count, any case; other files do not matter."""
    for other in (
        "README.md",
        "latest.csv",
        "devices.csv",
        "training.csv",
        "train.txt",
        "test.json",
    ):
        (tmp_path / other).touch()
    (tmp_path / name).touch()
    assert find_split(tmp_path, split) == tmp_path / name


def test_ambiguous_split(tmp_path):
    """Both files and the parameter that settles it are named; then it is settled."""
    for name in ("dev.csv", "sts-val.tsv"):
        (tmp_path / name).touch()
    expected = r"more than one file for split validation: dev.csv, sts-val.tsv; .*data\.files\.val"
    with pytest.raises(UserError, match=expected):
        find_split(tmp_path, "validation")
    assert find_split(tmp_path, "validation", "sts-val.tsv").name == "sts-val.tsv"


def test_missing_split_folder_or_file(tmp_path):
    """What was there is listed."""
    (tmp_path / "train.csv").touch()
    (tmp_path / "test.txt").touch()
    with pytest.raises(
        UserError, match=r"no file for split test; tables found: train.csv\. .*data\.files\.test"
    ):
        find_split(tmp_path, "test")
    with pytest.raises(UserError, match="nowhere is not a folder"):
        find_split(tmp_path / "nowhere", "test")
    with pytest.raises(UserError, match=r"data\.files\.test: .*x.csv not found"):
        find_split(tmp_path, "test", "x.csv")
    with pytest.raises(UserError, match=r"data\.files\.test: .*test.txt is none of"):
        find_split(tmp_path, "test", "test.txt")


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl"])
def test_latin_1(tmp_path, name):
    """Not taken for UTF-8, and not guessed."""
    data = '{"a": "café"}\n' if "jsonl" in name else "a\ncafé\n"
    (tmp_path / name).write_bytes(
        PACK[".gz" if name.endswith("gz") else ""](data.encode("latin-1"))
    )
    assert "is not UTF-8" in refused(tmp_path / name)


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("compression", [".gz", ".bz2", ".xz"])
def test_truncated_compression(tmp_path, kind, compression):
    """Half a download."""
    path = tmp_path / f"a.{kind}{compression}"
    path.write_bytes(PACK[compression](PLAIN[kind])[:-12])
    assert "truncated or corrupt" in refused(path)


@pytest.mark.parametrize("compression", [".gz", ".bz2", ".xz"])
def test_wrong_ending(tmp_path, compression):
    """Plain text that is called compressed."""
    path = tmp_path / f"a.csv{compression}"
    path.write_bytes(PLAIN["csv"])
    assert "corrupt" in refused(path)


@pytest.mark.parametrize(
    "data",
    [b"not zip", zipped(("t.csv", PLAIN["csv"]))[:-12], zipped()],
    ids=["text", "truncated", "empty"],
)
def test_broken_zip(tmp_path, data):
    """The fourth compression, like the others."""
    (tmp_path / "a.csv.zip").write_bytes(data)
    refused(tmp_path / "a.csv.zip")


@pytest.mark.parametrize("folder", ["", "stsb/"])
def test_zip_made_by_macos(tmp_path, folder):
    """Its notes on files and folders are no tables."""
    notes = [(f"__MACOSX/{folder}._t.csv", b"\0\5\x16\7"), (f"{folder}.DS_Store", b"\0\0\0\1Bud1")]
    (tmp_path / "a.csv.zip").write_bytes(zipped((f"{folder}t.csv", PLAIN["csv"]), *notes))
    (tmp_path / "t.csv").write_bytes(PLAIN["csv"])
    assert read_table(tmp_path / "a.csv.zip").equals(read_table(tmp_path / "t.csv"))
    (tmp_path / "a.csv.zip").write_bytes(zipped(*notes))
    assert "holds 0 files" in refused(tmp_path / "a.csv.zip")


def test_zip_of_two_files(tmp_path):
    """Which one is meant is not ours to guess."""
    (tmp_path / "a.csv.zip").write_bytes(zipped(("b.csv", PLAIN["csv"]), ("c.csv", PLAIN["csv"])))
    assert "holds 2 files; expected one: b.csv, c.csv" in refused(tmp_path / "a.csv.zip")


def test_zip_of_many_files(tmp_path):
    """Their list is bounded."""
    members = [(f"{number}.csv", b"") for number in range(100)]
    (tmp_path / "a.csv.zip").write_bytes(zipped(*members))
    assert refused(tmp_path / "a.csv.zip").endswith("28.csv, 29.csv and more")


@pytest.mark.parametrize("kind", PLAIN)
def test_zip_with_a_folder_first(tmp_path, kind):
    """As archivers write a file below a folder."""
    data = zipped(("data/", b""), ("data/deep/", b""), (f"data/deep/t.{kind}", PLAIN[kind]))
    (tmp_path / f"a.{kind}.zip").write_bytes(data)
    assert read_table(tmp_path / f"a.{kind}.zip").to_dict("records") == ROWS


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("name", ["zip::a::b", "s3:", "a b%20?#*[x]"])
def test_names_that_mean_something_elsewhere(tmp_path, name, packing):
    """A name is a name, no address."""
    path = tmp_path / name / f"{name}.csv{packing}"
    path.parent.mkdir()
    path.write_bytes(PACK[packing](PLAIN["csv"]))
    assert read_table(path).to_dict("records") == ROWS
    path.with_name(f"{name}.csv.zip").write_bytes(zipped((f"{name}.csv", PLAIN["csv"])))
    assert read_table(path.with_name(f"{name}.csv.zip")).to_dict("records") == ROWS


ODD_NAMES = ["train-\x1b[2J.csv", "train-\nerror: all is well.csv", "train-\u202evsc.csv"]


@pytest.mark.parametrize("name", [*ODD_NAMES, "train-\udcff.csv"])
def test_names_that_a_terminal_would_obey(tmp_path, name):
    """In messages they are escaped, in one line, wherever they come from."""
    path = tmp_path / name
    path.write_bytes(b"a\n\xff\n")
    (tmp_path / "train.csv").touch()
    for call in (
        lambda: read_table(path),
        lambda: find_split(tmp_path, "test"),
        lambda: find_split(tmp_path, "train"),
        lambda: find_split(path, "train"),
        lambda: find_split(tmp_path, "train", f"{name}.gz"),
    ):
        with pytest.raises(UserError) as error:
            call()
        assert str(error.value).isprintable()
        assert name.encode("unicode_escape").decode() in str(error.value)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_in_an_archive(tmp_path, name):
    """The same for what an archive says of its files."""
    (tmp_path / "a.csv.zip").write_bytes(zipped((name, b""), ("b", b"")))
    said = refused(tmp_path / "a.csv.zip")
    assert said.isprintable()
    assert name.encode("unicode_escape").decode() in said


@pytest.mark.parametrize("data", [b"", b"PAR1", PLAIN["parquet"][:-20], b"x" * 200, PLAIN["csv"]])
def test_corrupt_parquet(tmp_path, data):
    """Empty, cut off, or something else."""
    (tmp_path / "a.parquet").write_bytes(data)
    assert "corrupt" in refused(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b""),
        ("a.csv", b"\n\n"),
        ("a.csv", b"a,b\n"),
        ("a.tsv", b""),
        ("a.jsonl", b""),
        ("a.jsonl", b"\n"),
        ("a.csv.gz", b""),
        ("a.csv.gz", gzip.compress(b"", mtime=0)),
        ("a.parquet", TABLE[:0].to_parquet()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_empty_file(tmp_path, name, data):
    """No rows is an error, header or not."""
    (tmp_path / name).write_bytes(data)
    assert "has no rows" in refused(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "line 2: not JSON"),
        ("a.jsonl", b'{"a": 1}\n\n[1]\n', "line 3: found '[1]'; expected a JSON object"),
        ("a.csv", b"a,b,a\n1,2,3\n", "line 1: a column name occurs twice"),
        (
            "a.csv",
            b"same,same,5\nx,y,3\n",
            "is a row and not the names of columns, set data.header",
        ),
        ("a.csv", b"\n\na,b,a\n1,2,3\n", "line 3: a column name occurs twice"),
        ("a.csv", b'a,b\n1,2\n"open,2\n', "line 3"),
        ("a.csv", b'a,b\n"open,2\n3,4\n5,6\n', "line 2"),
    ],
)
def test_bad_line(tmp_path, name, data, expected):
    """The line is named."""
    (tmp_path / name).write_bytes(data)
    assert expected in refused(tmp_path / name)
