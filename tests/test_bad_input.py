"""Bad input at scale: properties over generated input, a seeded thousand of the fuzzer, and files that want all memory."""

import bz2
import gzip
import json
import lzma
import resource
import subprocess
import sys
import unicodedata
import zipfile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from benchmarks import fuzz
from splade_sts import params
from splade_sts.data import tables
from splade_sts.errors import UserError, without_secrets
from splade_sts.data.pairs import INVISIBLE, normalize_split
from splade_sts.data.tables import read_table
from tests.conftest import ROOT

COLUMNS = {"sentence1": "sentence1", "sentence2": "sentence2", "score": "score"}
SETTINGS = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize("target", ["data", "params", "arguments", "models"])
def test_a_seeded_thousand(target):
    """No exception but UserError, nothing left behind, in bounded time; see benchmarks/fuzz.py, which feeds ten thousand."""
    inputs = {"data": 400, "params": 400, "arguments": 150, "models": 50}[target]
    counts, findings, _ = fuzz.run(target, range(inputs), seed=1)
    assert not findings, findings[0]
    assert counts.total() == inputs and counts["refused"] and (counts["accepted"] or target == "arguments")


@SETTINGS
@given(
    rows=st.lists(st.tuples(TEXT, TEXT, st.floats(0, 5)), min_size=1, max_size=5),
    kind=st.sampled_from(["csv", "tsv", "jsonl", "parquet"]),
)
def test_any_text_arrives_or_is_named(tmp_path, rows, kind):
    """What has something to see arrives as its NFC, whatever the format; every row without is counted."""
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    path = tmp_path / f"t.{kind}"
    if kind == "parquet":
        frame.to_parquet(path, index=False)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in frame.to_dict("records")), encoding="utf-8")
    else:
        frame.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",", encoding="utf-8", quoting=1)
    expected = [unicodedata.normalize("NFC", text).strip() for row in rows for text in row[:2]]
    blank = [not any(unicodedata.category(c) not in INVISIBLE for c in text) for text in expected]
    raw = read_table(path)
    if any(blank):
        bad = sum(first or second for first, second in zip(blank[::2], blank[1::2], strict=True))
        with pytest.raises(UserError, match=f"{bad} of {len(rows)} rows are bad"):
            normalize_split(raw, "t", COLUMNS, [0, 5])
        return
    pairs = normalize_split(raw, "t", COLUMNS, [0, 5])
    assert pairs[["sentence1", "sentence2"]].to_numpy().ravel().tolist() == expected
    assert pairs["score"].tolist() == pytest.approx([row[2] / 5 for row in rows])


@SETTINGS
@given(
    data=st.binary(max_size=200),
    ending=st.sampled_from([f".{kind}{pack}" for kind in ("csv", "jsonl", "parquet") for pack in ("", ".gz", ".zip", ".xz")]),
)
def test_any_bytes_are_a_table_or_refused(tmp_path, data, ending):
    """Random bytes under any name."""
    path = tmp_path / f"t{ending}"
    path.write_bytes(data)
    try:
        assert len(read_table(path))
    except UserError as error:
        assert str(path) in str(error)


YAML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers() | st.none(), inner, max_size=3),
    max_leaves=8,
)


@SETTINGS
@given(
    key=st.sampled_from(sorted(params.flatten(YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))))),
    value=YAML_VALUES,
)
def test_any_value_of_any_parameter(key, value):
    """Either it fits, or the message names the key."""
    content = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    section = content
    *path, last = key.split(".")
    for part in path:
        section = section[part]
    section[last] = value
    try:
        params.parse(content)
    except UserError as error:
        assert ".".join(path) in str(error) and len(str(error)) < 5000


def test_yaml_bombs(tmp_path):
    """Aliases of aliases, a list in itself, endless nesting, an endless file: one short message each."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefghi", "bcdefghij", strict=True)
    )
    for text in (
        bomb, "data: &d [*d]\n", "[" * 100_000, "x: " + "y" * 2_000_000, "&a : *a\n",
        "data: !!python/object/apply:os.system [id]\n",
    ):
        path = tmp_path / "params.yaml"
        path.write_text(text)
        with pytest.raises(UserError) as refused:
            params.load(path)
        assert len(str(refused.value)) < 5000


MEGABYTE = 2**20
READ = """
import resource, sys
from splade_sts.errors import run_stage
from splade_sts.data.tables import read_table
from pathlib import Path
run_stage(lambda: read_table(Path(sys.argv[1])))
"""


def parquet_bomb(path) -> None:
    """One long text, in a dictionary, for each of a hundred thousand rows."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * MEGABYTE]))
    pq.write_table(pa.table({"sentence1": text}), path, compression="zstd", store_schema=False)


def many_columns(path) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for number in range(20_000):
            file.write(f'{{"k{number}": 1}}\n')




@pytest.mark.parametrize(
    ("name", "write", "expected"),
    [
        ("t.csv", lambda path: path.write_bytes(b"sentence1\n" + b"x" * 100 * MEGABYTE), "line 2 has more than"),
        ("t.csv", lambda path: path.write_bytes(b"," * 100 * MEGABYTE), "line 1 has more than"),
        ("t.csv", lambda path: path.write_bytes(b'a\n"' + b"x\n" * 50 * MEGABYTE), "field larger than"),
        ("t.jsonl", lambda path: path.write_bytes(b'{"a": "' + b"x" * 100 * MEGABYTE), "line 1 has more than"),
        ("t.jsonl", many_columns, "cells"),
        ("t.parquet", parquet_bomb, "more than"),
    ],
    ids=["long line", "commas", "open quote", "long json", "columns", "dictionary"],
)
def test_memory_is_bounded(tmp_path, name, write, expected):
    """Files that would take many times their size are refused within 3 GiB of address space."""
    path = tmp_path / name
    write(path)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30)),
    )
    assert done.returncode == 1 and expected in done.stderr and "Traceback" not in done.stderr, done.stderr[-2000:]


@pytest.mark.parametrize("pack", [gzip, bz2, lzma, None], ids=["gz", "bz2", "xz", "zip"])
def test_compression_bombs(tmp_path, pack, monkeypatch):
    """A packed file is read no further than the bound (lowered here to a megabyte)."""
    monkeypatch.setattr(tables, "LARGEST_TABLE", MEGABYTE)
    path = tmp_path / f"t.csv.{'zip' if pack is None else {'gzip': 'gz', 'bz2': 'bz2', 'lzma': 'xz'}[pack.__name__]}"
    data = b"some text,1\n" * 500_000
    if pack is None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("t.csv", data)
    else:
        path.write_bytes(pack.compress(data))
    assert path.stat().st_size < MEGABYTE / 20
    with pytest.raises(UserError, match="holds more than"):
        read_table(path)


@pytest.mark.parametrize(
    "text",
    ["x" * 100_000, "a\x00b\x1b[31m", "👩‍👩‍👧‍👦 🇩🇪", "مرحبا بالعالم", "\u202eabc\u202c", "=1+1", "+1", "-1",
     "@SUM(A1)", "<script>alert(1)</script>"],
    ids=["long", "control", "emoji", "arabic", "override", "equals", "plus", "minus", "at", "script"],
)
def test_unusual_texts_are_texts(tmp_path, text):
    """They pass through unchanged: what they mean is up to the model, and the reports escape them."""
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"sentence1": text, "sentence2": "a", "score": 1}) + "\n", encoding="utf-8")
    pairs = normalize_split(read_table(path), "t", COLUMNS, [0, 5])
    assert pairs["sentence1"].tolist() == [text]


@pytest.mark.parametrize("text", ["", " \t\n", "\u200b\u200d", "\ufeff", "\x00\x01", "\u00a0\u3000", "\u202e\u202c"])
def test_texts_without_anything_to_see_are_empty(text):
    """White space, zero-width, control and direction characters alone are no sentence."""
    raw = pd.DataFrame({"sentence1": [text], "sentence2": ["a"], "score": [1.0]})
    with pytest.raises(UserError, match="1 of 1 rows are bad"):
        normalize_split(raw, "t", COLUMNS, [0, 5])


def test_normal_forms_are_one():
    """Composed and decomposed letters are the same sentence afterwards."""
    raw = pd.DataFrame({"sentence1": ["\u1e69 \u212b"], "sentence2": ["s\u0323\u0307 A\u030a"], "score": [1.0]})
    pairs = normalize_split(raw, "t", COLUMNS, [0, 5])
    assert pairs["sentence1"].tolist() == pairs["sentence2"].tolist() == ["\u1e69 \u00c5"]


def test_secrets_are_taken_out(monkeypatch):
    """Credentials in URLs and the values of the environment variables that hold them."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    said = without_secrets(
        "GET https://me:pa@ss@host.example/x?y=1 (hf_secret) postgresql://u:p@h/db and mail a@b.example http://h/@x"
    )
    assert said == "GET https://…@host.example/x?y=1 (…) postgresql://…@h/db and mail a@b.example http://h/@x"
