"""download, from files: what is refused, and that a failure leaves everything as it was."""

import gzip
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from splade_sts import layout
from splade_sts.data.provenance import Provenance
from splade_sts.data.search import Search, SearchOrigin, read_origins
from splade_sts.errors import UserError
from stages import download
from tests.support.commands import ROOT
from tests.support.projects import write_params
from tests.support.searches import write_beir

TABLE = pd.DataFrame([{"sentence1": "a", "sentence2": "b", "score": "2.50"}] * 2)
CSV = TABLE.to_csv(index=False).encode()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A project of two good splits in `data/own`; the test's own split is missing."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    (tmp_path / "data/own").mkdir(parents=True)
    for split in ("train", "validation"):
        (tmp_path / f"data/own/{split}.csv").write_bytes(CSV)
    return tmp_path


def written() -> dict[str, bytes]:
    return {
        str(path.relative_to(layout.RAW)): path.read_bytes()
        for path in layout.RAW.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("best.csv", CSV, "no file for split test; tables found: best.csv, train.csv, validation"),
        ("test.csv.gz", gzip.compress(CSV, mtime=0)[:-9], "test.csv.gz is truncated or corrupt"),
        ("test.jsonl", b'{"score": 1}\n{"score": "2"}\n', "values of different types"),
        (
            "test.jsonl",
            b'{"sentence1": "\\ud83d", "score": 1}\n',
            "test.jsonl holds text that is no Unicode",
        ),
        ("test.jsonl", b'{"score": 100000000000000000000}\n', "test.jsonl: "),
        ("test.csv", b"a,3,b\n1,2,3,4\n", "test.csv: "),
    ],
    ids=["no split", "truncated", "types", "half an emoji", "huge integer", "number as name"],
)
def test_bad_files(folder, name, data, expected):
    """Two good splits first: still nothing is left in data/raw."""
    (folder / "data/own" / name).write_bytes(data)
    with pytest.raises(UserError) as error:
        download.main()
    assert expected in str(error.value)
    assert not layout.RAW.exists()
    assert not list(folder.rglob("*.tmp"))


def test_what_was_there_is_kept(folder):
    """A good run, provenance included, survives a bad one."""
    (folder / "data/own/test.csv").write_bytes(CSV)
    download.main()
    before = written()
    tables = {"train.parquet", "validation.parquet", "test.parquet"}
    assert set(before) == {*tables, "provenance.json", "retrieval/provenance.json"}
    assert json.loads(before["provenance.json"])["splits"]["test"]["rows"] == 2
    (folder / "data/own/test.csv").unlink()
    with pytest.raises(UserError):
        download.main()
    assert written() == before


@pytest.mark.parametrize(
    "names", ["line", "__index_level_0__", "line,__index_level_0__"], ids=["one", "other", "both"]
)
def test_lines_beside_the_rows(folder, names):
    """Whatever the user's columns are called, they come through, and so do the lines."""
    (folder / "data/own/test.csv").write_text(f'a,{names}\n\n"1\n2",x,y\n3,z\n')
    download.main()
    raw = pd.read_parquet(layout.raw("test"))
    assert [*raw.columns][: 1 + len(names.split(","))] == ["a", *names.split(",")]
    assert raw.iloc[:, :2].to_numpy().tolist() == [["1\n2", "x"], ["3", "z"]]
    assert (raw.index.name, raw.index.tolist()) == ("line", [3, 5])


def test_rows_of_parquet(folder):
    """They have no lines."""
    TABLE.to_parquet(folder / "data/own/test.parquet")
    download.main()
    raw = pd.read_parquet(layout.raw("test"))
    assert raw.equals(TABLE)
    assert raw.index.name is None


def test_our_own_data(folder):
    """`sample` is read from data/sample, whatever else is said of files."""
    shutil.copytree(ROOT / layout.SAMPLE, layout.SAMPLE)
    write_params(folder, data__source="sample", data__path="nowhere", data__header=False)
    download.main()
    provenance = Provenance.read()
    assert (provenance.source, provenance.revision) == ("sample", None)
    assert {"sentence1", "sentence2", "score"} <= set(pd.read_parquet(layout.raw("test")))


OWN = {"source": "local", "file": "more/own.tsv", "score_range": [0, 5]}


def test_further_test_sets(folder):
    """Files below data.path, whatever the splits come from; each read in its own way."""
    shutil.copytree(ROOT / layout.SAMPLE, layout.SAMPLE)
    sets = {"own": {**OWN, "header": False, "quotes": False}, "same": {**OWN, "file": "train.csv"}}
    write_params(folder, data__source="sample", data__test_sets=sets)
    (folder / "data/own/more").mkdir()
    (folder / "data/own/more/own.tsv").write_text('"a\tb"\t3\n')
    download.main()
    assert pd.read_parquet(layout.raw("own")).to_numpy().tolist() == [['"a', 'b"', "3"]]
    assert pd.read_parquet(layout.raw("same"))["score"].tolist() == ["2.50"] * 2
    origins = Provenance.read().test_sets
    assert list(origins) == ["own", "same"]
    assert (origins["own"].source, origins["own"].revision) == ("local", None)
    assert (origins["own"].rows.file, origins["own"].rows.rows) == ("own.tsv", 1)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (None, b"", "data.test_sets.own.file: data/own/more/own.tsv not found"),
        ("own.txt", b"a", "data.test_sets.own.file: data/own/more/own.txt is none of .csv, "),
        ("own.tsv", b'a\tb\n"x"y\tz\n', "set data.test_sets.own.quotes to false"),
        ("own.tsv", b"a\ta\n1\t2\n", "set data.test_sets.own.header=false"),
    ],
)
def test_a_bad_file_of_a_test_set(folder, name, content, expected):
    """The keys that are named are its own; nothing is written."""
    (folder / "data/own/test.csv").write_bytes(CSV)
    (folder / "data/own/more").mkdir()
    if name:
        (folder / "data/own/more" / name).write_bytes(content)
    write_params(folder, data__test_sets={"own": {**OWN, "file": f"more/{name or 'own.tsv'}"}})
    with pytest.raises(UserError) as error:
        download.main()
    assert expected in str(error.value)
    assert not layout.RAW.exists()


def test_a_name_that_is_no_text(folder):
    """It is kept, and shown, with escapes; so a JSON file can hold it."""
    (folder / "data/own/test-\x1b[2J\udcff.csv").write_bytes(CSV)
    download.main()
    assert Provenance.read().splits["test"].file == "test-\\x1b[2J\\udcff.csv"


def test_a_folder_to_search_in(folder):
    """It lies below data.path; its tables stand beside the rows, with how many there are."""
    (folder / "data/own/test.csv").write_bytes(CSV)
    write_beir(folder / "data/own/mine")
    write_params(folder, evaluate__retrieval_set=["mine"])
    download.main()
    assert [*Search.read("mine").queries] == ["q1", "q2"]
    origin = SearchOrigin("mine", None, 2, 3, {"queries": 1, "documents": 1})
    assert read_origins() == {"mine": origin}


def test_a_name_that_is_no_set(folder):
    """Before anything is read: all names are listed, and nothing is left."""
    write_params(folder, evaluate__retrieval_set="NanoMSMACRO")
    with pytest.raises(UserError) as error:
        download.main()
    assert "NanoMSMACRO is no set of NanoBEIR, and data/own/NanoMSMACRO is no folder" in str(
        error.value
    )
    assert "NanoMSMARCO, NanoNFCorpus" in str(error.value)
    assert not layout.RAW.exists()
