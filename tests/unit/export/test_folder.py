"""What `export` refuses, with and without the packages that it needs, and what it leaves."""

import sys

import pytest

from splade_sts import cli
from splade_sts.cli import export as command
from splade_sts.errors import UserError
from splade_sts.export import folder as exporting
from splade_sts.export import formats
from tests.support import tiny


@pytest.fixture
def data(tmp_path, pairs):
    """A folder of normalized splits."""
    made = tmp_path / "data"
    made.mkdir()
    for split in ("train", "validation"):
        pairs.write(made / f"{split}.parquet")
    return made


@pytest.fixture
def export(monkeypatch, tmp_path, data, tiny_splade):
    """The command in a folder with a params.yaml, with the tiny model and its data by default."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(tiny.PARAMS.read_text())

    def call(*arguments):
        given = ["export", "--model", str(tiny_splade), "--data", str(data), *arguments]
        parsed = cli.parser().parse_args(given)
        parsed.function(parsed)

    return call


@pytest.fixture
def installed(monkeypatch):
    """All packages count as installed."""
    monkeypatch.setattr(formats, "find_spec", lambda name: name)


def test_formats_have_one_list():
    """The command line knows them without importing what writes them."""
    assert set(command.FORMATS) == set(formats.FORMATS)


@pytest.mark.parametrize("name", formats.FORMATS)
def test_missing_packages(export, monkeypatch, name):
    """All of them at once, and what to do; nothing is written."""
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"onnxruntime|openvino") as said:
        export("--format", name, "--int8")
    assert "nncf, not installed here: pip install -r requirements-export.txt" in str(said.value)


def test_a_format_that_nobody_makes(export, capsys):
    """The formats that there are."""
    with pytest.raises(SystemExit):
        export("--format", "tflite")
    assert "onnx" in capsys.readouterr().err


def test_arguments_that_do_not_go_together(export, installed):
    """A loss is for 8 bits."""
    with pytest.raises(UserError, match="--max-loss is for --int8"):
        export("--format", "onnx", "--max-loss", "0.1")


def test_no_margin(export, installed, tmp_path):
    """Where params.yaml says no loss that does not matter, the command asks for one."""
    text = (tmp_path / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("margin: 0.01", "margin: null"))
    with pytest.raises(UserError, match=r"compare\.margin is null: .* --max-loss 0\.01"):
        export("--format", "onnx", "--int8")


@pytest.mark.parametrize(
    ("split", "arguments", "message"),
    [
        ("validation", [], "validation.parquet not found; the file is checked on it"),
        ("train", ["--int8"], "train.parquet not found; the scales of 8 bits come from it"),
    ],
)
def test_no_data(export, installed, data, split, arguments, message):
    """Said before the model is loaded."""
    (data / f"{split}.parquet").unlink()
    with pytest.raises(UserError, match=message):
        export("--format", "onnx", "--model", "none", *arguments)


def test_data_of_another_form(export, installed, data, pairs):
    """File, row and what was found; columns that are missing."""
    table = pairs.table()
    table.drop(columns="score").to_parquet(data / "validation.parquet")
    with pytest.raises(UserError, match=r"validation\.parquet has no column score"):
        export("--format", "onnx")
    table.assign(score=table["score"] * 5).to_parquet(data / "validation.parquet")
    with pytest.raises(UserError, match=r"validation\.parquet, row \d+: found .*from 0 to 1"):
        export("--format", "onnx")
    table.iloc[:5].to_parquet(data / "validation.parquet")
    with pytest.raises(UserError, match="validation has 5 pairs"):
        export("--format", "onnx")


def test_models_that_are_none(export, installed, tiny_bert, tmp_path):
    """No folder; an encoder without a head."""
    with pytest.raises(UserError, match="no/such"):
        export("--format", "onnx", "--model", "no/such")
    with pytest.raises(UserError, match="the weights do not fit the BertForMaskedLM"):
        export("--format", "onnx", "--model", str(tiny_bert))
    assert not (tmp_path / "exports").exists()


def test_a_folder_of_something_else(export, installed, tmp_path, tiny_splade):
    """Is not replaced; nor is a file."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="mine holds something that is no export"):
        export("--format", "onnx", "--output", "mine")
    with pytest.raises(UserError, match=r"letter\.txt is a file"):
        export("--format", "onnx", "--output", "mine/letter.txt")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    (tmp_path / "link").symlink_to("mine")
    with pytest.raises(UserError, match=r"--output: link is a link"):
        export("--format", "onnx", "--output", "link")
    with pytest.raises(UserError, match=r"lies in .*, of which it is made"):
        export("--format", "onnx", "--output", str(tiny_splade / "onnx"))


def test_nobody_is_told(monkeypatch):
    """The package that reports the use of OpenVINO and NNCF cannot be imported any more."""
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    with formats.quietly():
        assert sys.modules["openvino_telemetry"] is None
    assert 'sys.modules["openvino_telemetry"] = None' in exporting.LOAD["openvino"]


def test_what_a_format_cannot_hold(export, installed, monkeypatch, tmp_path):
    """One message for what its packages raise; nothing is left."""

    def write(program, path, calibration):
        path.write_bytes(b"half")
        raise RuntimeError("no operator for aten::odd")

    form = formats.Format("model.onnx", (), write, formats.open_onnx)
    monkeypatch.setitem(formats.FORMATS, "onnx", form)
    with pytest.raises(UserError, match="cannot be written as onnx: RuntimeError: no operator"):
        export("--format", "onnx")
    assert list((tmp_path / "exports").iterdir()) == []


def test_a_file_that_differs_is_not_left(export, installed, monkeypatch, tmp_path):
    """A file of zeros: what differs, by how much, and what to do; the former export stays."""
    kept = tmp_path / "exports" / "onnx"
    kept.mkdir(parents=True)
    (kept / exporting.RECORD).write_text("{}")

    def zeros(path, threads):
        def run(batch):
            import numpy as np

            vectors = np.zeros((len(batch["input_ids"]), 76), dtype=np.float32)
            vectors[:, 7] = batch["input_ids"].sum(axis=1)
            vectors[:, 8] = 1
            return vectors

        return run

    form = formats.Format("model.onnx", (), lambda program, path, calibration: None, zeros)
    monkeypatch.setitem(formats.FORMATS, "onnx", form)
    with pytest.raises(UserError, match=r"differs too much .*Nothing was written\. Take the other"):
        export("--format", "onnx")
    assert [path.name for path in kept.iterdir()] == [exporting.RECORD]


def test_the_licence(tmp_path, tiny_splade):
    """The model's card says it, else what is known of a project's base model."""
    for name in ("finetuned", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "base.json").write_text('{"license": "cc-by-nc-sa-4.0"}')
    assert exporting._license(tmp_path / "finetuned") == "cc-by-nc-sa-4.0"
    assert exporting._license(tmp_path / "other") == "unknown"
    (tmp_path / "finetuned" / "README.md").write_text("---\nlicense: mit\n---\n")
    assert exporting._license(tmp_path / "finetuned") == "mit"
