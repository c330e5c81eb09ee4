"""What the user hands in: parameters and data files, good and bad."""

import bz2
import gzip
import lzma
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from splade_sts import params
from splade_sts.errors import UserError
from splade_sts.normalization import describe, drop_leaks, normalize_split
from splade_sts.tables import find_split, read_table
from tests.conftest import ROOT

COLUMNS = {"sentence1": "sentence1", "sentence2": "sentence2", "score": "score"}
TABLE = pd.DataFrame(
    {"sentence1": ["A cat, asleep.", 'He said "no".'], "sentence2": ["Ein Kätzchen.", "x"], "score": ["2.5", "5"]}
)


def content() -> dict:
    return YAML(typ="safe").load((ROOT / "params.yaml").read_text())


def changed(**changes) -> dict:
    result = content()
    for key, value in changes.items():
        section, name = key.split("__")
        result[section][name] = value
    return result


def test_committed_params_are_the_hub_defaults():
    """What a user gets without changing anything."""
    loaded = params.load(ROOT / "params.yaml")
    assert loaded.data.source == "sentence-transformers/stsb"
    assert loaded.model.source == "naver/splade-cocondenser-ensembledistil"
    assert (loaded.train.batch_size, loaded.train.learning_rate, loaded.train.seed) == (16, 5e-5, 42)


def test_number_as_text_is_a_number():
    """DVC writes 2e-05, which some YAML readers take for a string."""
    assert params.parse(changed(train__learning_rate="2e-05")).train.learning_rate == 2e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__epoch": 2}, r"train\.epoch: unknown key; did you mean epochs\?"),
        ({"train__batch_size": "16"}, r"train\.batch_size: found '16'"),
        ({"train__batch_size": True}, r"train\.batch_size: found True"),
        ({"train__learning_rate": "fast"}, r"train\.learning_rate: found 'fast'"),
        ({"train__learning_rate": float("nan")}, r"train\.learning_rate: found nan"),
        ({"train__loss": "cosines"}, r"train\.loss: found 'cosines'.*'cosine', 'cosent' or 'angle'"),
        ({"data__score_range": [5, 0]}, "score_range is .*lowest < highest"),
        ({"data__source": "a/b/c"}, "unknown source 'a/b/c'"),
        ({"data__on_leak": "drop"}, r"data\.on_leak: found 'drop'"),
        ({"model__target_active_dims": 0}, r"model\.target_active_dims: found 0"),
    ],
)
def test_bad_parameters(changes, message):
    """One message, with the key's full path, what was found and what is allowed."""
    with pytest.raises(UserError, match=message):
        params.parse(changed(**changes))


def test_missing_keys_and_files(tmp_path):
    """A section's missing key, a missing file, and a file that is no YAML."""
    broken = content()
    del broken["data"]["revision"]
    with pytest.raises(UserError, match=r"data\.revision: missing"):
        params.parse(broken)
    with pytest.raises(UserError, match="not found"):
        params.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        params.load(tmp_path / "params.yaml")


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.csv.bz2", "t.csv.xz", "t.tsv", "t.tsv.gz", "t.jsonl", "t.jsonl.gz", "t.parquet"])
def test_every_format_reads_the_same(tmp_path, name):
    """Plain and compressed, quotes and umlauts included."""
    path = tmp_path / name
    plain = name.split(".")[1]
    if plain == "jsonl":
        data = TABLE.to_json(orient="records", lines=True, force_ascii=False).encode()
    elif plain == "parquet":
        data = TABLE.to_parquet()
    else:
        data = TABLE.to_csv(index=False, sep="," if plain == "csv" else "\t").encode()
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}.get(name.split(".")[-1], bytes)
    path.write_bytes(pack(data))
    assert read_table(path).to_dict("records") == TABLE.to_dict("records")


def test_original_sts_layout(tmp_path):
    """No header row, seven or more tab-separated columns, quotes that mean nothing."""
    path = tmp_path / "sts-train.csv"
    path.write_text(
        'main-captions\tMSRvid\t2012test\t0001\t5.000\tA "plane is off.\tAn air plane.\n'
        "main-news\tx\t2012\t0002\t0.5\tOne.\tTwo.\tlicence\thttp://example.org\n"
    )
    raw = read_table(find_split(tmp_path, "train"), header=False, delimiter="tab", quotes=False)
    pairs = normalize_split(raw, path.name, {"sentence1": 5, "sentence2": 6, "score": 4}, [0, 5])
    assert pairs.to_dict("records") == [
        {"sentence1": 'A "plane is off.', "sentence2": "An air plane.", "score": 1.0},
        {"sentence1": "One.", "sentence2": "Two.", "score": 0.1},
    ]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", "sentence1\ncaf\xe9\n".encode("latin-1"), "not UTF-8"),
        ("t.csv.gz", gzip.compress(b"sentence1\n" + bytes(range(32, 127)) * 50)[:-20], "truncated or corrupt"),
        ("t.csv.gz", b"not gzip at all", "truncated or corrupt"),
        ("t.parquet", TABLE.to_parquet()[:-30], "truncated or corrupt"),
        ("t.parquet", b"", "truncated or corrupt"),
        ("t.csv", b"", "no rows"),
        ("t.csv", b"a,b\n", "no rows"),
        ("t.csv", b"a,a\n1,2\n", "occurs twice"),
        ("t.csv", b'a,b\n"x" y,2\n', r"line 2.*data\.quotes"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "line 2: not JSON"),
        ("t.jsonl", b"[1]\n", "line 1.*JSON object"),
    ],
)
def test_unreadable_files(tmp_path, name, data, message):
    """Each gets one message that names the file."""
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UserError, match=message) as error:
        read_table(path)
    assert str(path) in str(error.value)


def test_mixed_types_in_json_lines(tmp_path):
    """A score that is a number here and text there cannot be stored; the file and column are named."""
    for split in params.SPLITS:
        (tmp_path / f"{split}.jsonl").write_text('{"sentence1": "a", "sentence2": "b", "score": 1}\n'
                                                 '{"sentence1": "a", "sentence2": "b", "score": "2"}\n')
    with open(tmp_path / "params.yaml", "w") as file:
        YAML().dump(changed(data__source="local", data__path="."), file)
    done = subprocess.run(
        [sys.executable, "-m", "stages.download"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "train.jsonl" in done.stderr and "score" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "data/raw").exists()


def test_splits_are_found_by_name(tmp_path):
    """Usual names are known; none or two candidates are an error that lists them."""
    for name in ("sts-train.csv", "dev.jsonl.gz", "my_test.parquet"):
        (tmp_path / name).touch()
    assert find_split(tmp_path, "validation").name == "dev.jsonl.gz"
    assert find_split(tmp_path, "test").name == "my_test.parquet"
    (tmp_path / "val.csv").touch()
    with pytest.raises(UserError, match="more than one file for split validation: dev.jsonl.gz, val.csv"):
        find_split(tmp_path, "validation")
    assert find_split(tmp_path, "validation", "val.csv").name == "val.csv"
    (tmp_path / "sts-train.csv").unlink()
    with pytest.raises(UserError, match="no file for split train"):
        find_split(tmp_path, "train")
    with pytest.raises(UserError, match="not a folder"):
        find_split(tmp_path / "nowhere", "train")


def test_bad_rows_are_counted_and_shown():
    """Row and value of the first ten; all are counted."""
    good = ("a", "b", "1")
    bad = [("", "b", "1"), ("a", "  ", "1"), ("a", "b", "abc"), ("a", "b", ""), ("a", "b", "5.1"), ("a", "b", "nan")]
    raw = pd.DataFrame([good, *bad * 2], columns=list(COLUMNS))
    with pytest.raises(UserError) as error:
        normalize_split(raw, "x.csv", COLUMNS, [0, 5])
    message = str(error.value)
    assert "x.csv: 12 of 13 rows are bad" in message and "and 2 more" in message
    assert "row 2: sentence1 is ''" in message and "row 4: score is 'abc'" in message and "row 6: score is '5.1'" in message
    with pytest.raises(UserError, match="no column 'gold' for score; it has 'sentence1', 'sentence2', 'score'"):
        normalize_split(raw, "x.csv", {**COLUMNS, "score": "gold"}, [0, 5])


def test_text_is_nfc_and_stripped():
    """One form for what looks the same."""
    raw = pd.DataFrame([(" cafe\u0301 \n", "\u00a0b", 4)], columns=list(COLUMNS))
    assert normalize_split(raw, "x", COLUMNS, [0, 5]).values.tolist() == [["caf\u00e9", "b", 0.8]]


@given(st.lists(st.tuples(st.text(), st.text(), st.floats(0, 5)), min_size=1))
def test_normalization_is_idempotent(rows):
    """Whatever the text: rows that pass are in [0, 1], not empty, in order, and pass again unchanged."""
    rows = [row for row in rows if row[0].strip() and row[1].strip()]
    if not rows:
        return
    once = normalize_split(pd.DataFrame(rows, columns=list(COLUMNS)), "x", COLUMNS, [0, 5])
    assert len(once) == len(rows) and once["score"].between(0, 1).all()
    assert once["score"].tolist() == [row[2] / 5 for row in rows]
    assert normalize_split(once, "x", COLUMNS, [0, 1]).equals(once)


def test_duplicates_and_leaks_regardless_of_order():
    """(a, b) and (b, a) are the same pair."""
    def table(*rows):
        return pd.DataFrame([(a, b, 0.5) for a, b in rows], columns=list(COLUMNS))

    splits = {
        "train": table(("a", "b"), ("b", "a"), ("c", "d")),
        "validation": table(("d", "c"), ("e", "f")),
        "test": table(("g", "h")),
    }
    found = describe(splits)
    assert found["train"]["duplicate_pairs"] == 1
    assert found["shared_pairs"] == {"train_validation": 1, "train_test": 0, "validation_test": 0}
    assert sum(found["train"]["score"]["histogram"]) == found["train"]["rows"] == 3
    assert drop_leaks(splits)["train"]["sentence1"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "files", "stage", "message"),
    [
        ({"train__epoch": 1}, ("train", "validation", "test"), "download", "train.epoch: unknown key"),
        ({}, ("train", "validation"), "download", "no file for split test"),
        ({"data__score_range": [0, 1]}, ("train", "validation", "test"), "normalize", "row 1: score is '2.5'"),
    ],
)
def test_stages_fail_with_one_message(tmp_path, changes, files, stage, message):
    """Non-zero exit, one message, no traceback, and no output."""
    (tmp_path / "own").mkdir()
    for name in files:
        TABLE.to_csv(tmp_path / "own" / f"{name}.csv", index=False)
    with open(tmp_path / "params.yaml", "w") as file:
        YAML().dump(changed(data__source="local", data__path="own", **{"data__score_range": [0, 5], **changes}), file)

    def run(name):
        return subprocess.run(
            [sys.executable, "-m", f"stages.{name}"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)},
            capture_output=True, text=True,
        )

    if stage == "normalize":
        assert run("download").returncode == 0
    done = run(stage)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and message in done.stderr and "Traceback" not in done.stderr
    output = tmp_path / "data" / {"download": "raw", "normalize": "normalized"}[stage]
    assert not output.exists() and not list(tmp_path.rglob("*.tmp"))
