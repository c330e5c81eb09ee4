"""params.yaml: what is accepted, and what is said about the rest."""

import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from splade_sts import params
from splade_sts.errors import UserError
from tests.conftest import ROOT


def content(**changes) -> dict:
    """The committed parameters with `changes`, `section__key=value` or `section__key__key=value`."""
    result = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for path, value in changes.items():
        *sections, key = path.split("__")
        place = result
        for section in sections:
            place = place[section]
        place[key] = value
    return result


def message(raw) -> str:
    with pytest.raises(UserError) as error:
        params.parse(raw)
    return str(error.value)


def test_committed_file_is_valid():
    """Everything in it is read, nothing is filled in."""
    assert params.load(ROOT / "params.yaml").model_dump() == content()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train__learning_rte": 1}, "train.learning_rte: unknown key; did you mean learning_rate? allowed here: loss, "),
        ({"data__files__validaton": None}, "data.files.validaton: unknown key; did you mean validation? "),
        ({"trian": {}}, "trian: unknown key; did you mean train? allowed here: data, model, "),
        ({"train__zzzzzz": 1}, "train.zzzzzz: unknown key; allowed here: loss, "),
    ],
)
def test_unknown_key(changes, expected):
    """The full path, the nearest name where one is near, and all names that are allowed."""
    assert f"\n  {expected}" in message(content(**changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train__learning-rate": 1}, "train.learning-rate: unknown key; did you mean learning_rate? "),
        ({"my-section": 1}, "my-section: unknown key; "),
    ],
)
def test_unknown_key_that_is_no_identifier(changes, expected):
    """A hyphen for an underscore is the likeliest slip."""
    assert f"\n  {expected}" in message(content(**changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train__batch_size": "16"}, "train.batch_size: found '16'; input should be a valid integer"),
        ({"train__batch_size": 16.5}, "train.batch_size: found 16.5; "),
        ({"train__batch_size": True}, "train.batch_size: found True; "),
        ({"train__epochs": True}, "train.epochs: found True; "),
        ({"train__learning_rate": "fast"}, "train.learning_rate: found 'fast'; input should be a valid number"),
        ({"train__learning_rate": "nan"}, "train.learning_rate: found 'nan'; input should be a finite number"),
        ({"train__warmup_ratio": 1}, "train.warmup_ratio: found 1"),
        ({"data__header": "yes"}, "data.header: found 'yes'; "),
        ({"data__files__train": ["a.csv"]}, "data.files.train: found ['a.csv']; "),
        ({"data__delimiter": ","}, "data.delimiter: found ','; input should be 'comma', 'tab' or 'semicolon'"),
        ({"train": 3}, "train: found 3; "),
    ],
)
def test_wrong_type_or_value(changes, expected):
    """Full path, what was found, what is wanted."""
    assert f"\n  {expected}" in message(content(**changes))


def test_wrong_type_of_a_column():
    """The path is that of the key in the file."""
    assert "\n  data.columns.score: found 1.5; " in message(content(data__columns__score=1.5))


@pytest.mark.parametrize("text", ["2e-05", "2e-5", "0.00002"])
def test_number_as_text(text):
    """DVC writes 2e-05 for 2e-5, which some readers take for a string."""
    rate = params.parse(content(train__learning_rate=text)).train.learning_rate
    assert isinstance(rate, float) and rate == 2e-5


def test_number_as_text_in_the_file(tmp_path):
    """The same through YAML, quoted and not."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert "learning_rate: 5.0e-5" in text
    for written in ("2e-05", '"2e-05"'):
        (tmp_path / "params.yaml").write_text(text.replace("learning_rate: 5.0e-5", f"learning_rate: {written}"), encoding="utf-8")
        assert params.load(tmp_path / "params.yaml").train.learning_rate == 2e-5


def test_all_problems_at_once():
    """Missing keys included; one line each."""
    raw = content(train__epochs=0, train__extra=1)
    del raw["train"]["loss"], raw["compare"]
    lines = message(raw).splitlines()
    assert lines[0] == "params.yaml is not valid:" and len(lines) == 5
    assert {"  train.loss: missing", "  compare: missing"} < set(lines)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([5, 0], "score_range is [5.0, 0.0]; expected [lowest, highest] with lowest < highest"),
        ([1, 1], "lowest < highest"),
        ([0], "data.score_range: found [0]"),
        ([0, 1, 2], "data.score_range: found [0, 1, 2]"),
        ([0, "five"], "data.score_range.1: found 'five'"),
        ([0, float("inf")], "data.score_range.1: found inf"),
        (5, "data.score_range: found 5"),
    ],
)
def test_bad_score_range(value, expected):
    """Two finite numbers, lowest first."""
    assert expected in message(content(data__score_range=value))


@pytest.mark.parametrize("raw", [None, [1], "text"])
def test_no_mapping(raw):
    """An empty file or a list."""
    assert f"the file: found {raw!r}" in message(raw)


def test_hub_defaults():
    """What a user gets without changing anything: upstream's STS example."""
    loaded = params.load(ROOT / "params.yaml")
    assert loaded.data.source == "sentence-transformers/stsb"
    assert loaded.model.source == "naver/splade-cocondenser-ensembledistil"
    assert (loaded.train.batch_size, loaded.train.learning_rate, loaded.train.seed) == (16, 5e-5, 42)
    assert (loaded.train.regularizer_weight, loaded.train.epochs, loaded.model.max_seq_length) == (3e-3, 1.0, 256)


def test_unknown_source():
    """What looks like a path is no data set id; the message names the ways there are."""
    assert "unknown source 'a/b/c'; expected sample, local" in message(content(data__source="a/b/c"))


def test_missing_file(tmp_path):
    """Says where to run from."""
    with pytest.raises(UserError, match=r"params\.yaml not found; run from the project's root"):
        params.load(tmp_path / "params.yaml")


@pytest.mark.parametrize("data", [b"train: [1", b"a: 1\na: 2\n", b"a: caf\xe9", b"a:\n\t- 1", b"a: *b\n"])
def test_broken_yaml(tmp_path, data):
    """Unclosed, a key twice, Latin-1, a tab, an unknown alias."""
    (tmp_path / "params.yaml").write_bytes(data)
    with pytest.raises(UserError, match=r"params\.yaml cannot be read as YAML: "):
        params.load(tmp_path / "params.yaml")


@pytest.mark.parametrize("stage", ["download", "normalize"])
def test_stages_refuse_bad_parameters(tmp_path, stage):
    """Non-zero exit, one message without a traceback, nothing written."""
    with open(tmp_path / "params.yaml", "w", encoding="utf-8") as file:
        YAML().dump(content(train__epoch=1), file)
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error:") and "train.epoch: unknown key; did you mean epochs?" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
