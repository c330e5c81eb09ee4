"""The folder of an export: one file that is checked, its tokenizer, and how to use both."""

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import ModelCard, ModelCardData

from splade_sts import layout
from splade_sts.comparison.statistics import Bootstrap
from splade_sts.data.pairs import Pairs, check_gold
from splade_sts.data.tables import read_table
from splade_sts.errors import UserError
from splade_sts.export.check import FLOAT, Bounds, Difference, compare, int8_bounds
from splade_sts.export.formats import FORMATS, Batch, check_packages, quietly
from splade_sts.export.graph import INPUTS, OUTPUT, graph_of
from splade_sts.export.tokens import (
    TOKENIZER,
    batch_of,
    longest,
    read_tokenizer,
    write_tokenizer,
)
from splade_sts.files import (
    check_no_link,
    check_outside,
    read_json,
    replacing_folder,
    sha256,
    write_json,
)
from splade_sts.model.card import UNKNOWN, read_license
from splade_sts.model.encoder import load_encoder, transformer_folder
from splade_sts.text import markdown_table

# What says that a folder is an export, and what it is.
RECORD = "export.json"
# Sentences of train that the scales of 8 bits are taken from.
CALIBRATION = 300
LONGEST_MESSAGE = 1000  # characters


@dataclass(frozen=True)
class Export:
    """What is exported.

    Attributes:
        model: the model's folder.
        format: a key of `FORMATS`.
        int8: weights and products in 8 bits.
        data: a folder with validation.parquet, and train.parquet for `int8`, as `normalize` writes
            them.
        loss: the largest loss in Spearman that `int8` may have.
    """

    model: Path
    format: str
    int8: bool
    data: Path
    loss: float


def export(wanted: Export, output: Path, bootstrap: Bootstrap) -> Difference:
    """Write the folder `output`, once its file has passed the check on the validation split.

    Args:
        wanted: what is exported.
        output: a folder that is not there, empty, or an export.
        bootstrap: how the interval of the loss is made.

    Raises:
        UserError: packages, the model or the data are missing or not fit, `output` holds something
            else, the format cannot hold this model, or the file differs too much from the model.
    """
    check_packages(wanted.format, wanted.int8)
    _check_output(output)
    check_outside(output, wanted.model)
    pairs = _read(wanted.data, "validation")
    check_gold(pairs, "validation", key="--data")
    calibration = _read(wanted.data, "train").sentences if wanted.int8 else []
    model = load_encoder(wanted.model, "cpu")
    bounds = int8_bounds(wanted.loss) if wanted.int8 else FLOAT
    form = FORMATS[wanted.format]
    with replacing_folder(output) as folder:
        write_tokenizer(model, folder)
        tokenizer = read_tokenizer(folder)
        path = folder / form.file
        with quietly(), _said_by(wanted):
            batches: list[Batch] | None = None
            if wanted.int8:
                batches = [batch_of(tokenizer, [text]) for text in _spread(calibration)]
            form.write(graph_of(model), path, batches)
            run = form.open(path, torch.get_num_threads())
        with quietly():
            difference = compare(run, tokenizer, model, pairs, bootstrap)
        if beyond := difference.beyond(bounds):
            raise UserError(
                f"the {_name(wanted)} file of {wanted.model} differs too much from it on "
                f"{len(pairs)} validation pairs: {'; '.join(beyond)}. Nothing was written. "
                + (
                    "Export without --int8, or allow more with --max-loss"
                    if wanted.int8
                    else "Take the other format"
                )
            )
        record = _record(wanted, folder, longest(model), difference, bounds, bootstrap)
        write_json(folder / RECORD, record)
        card = _card(wanted, record, difference, bounds, bootstrap)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return difference


def _check_output(output: Path) -> None:
    """Refuse to put an export in the place of something else."""
    check_no_link(output)
    if output.is_dir() and any(output.iterdir()) and not (output / RECORD).is_file():
        raise UserError(
            f"--output: {output} holds something that is no export (no {RECORD}); name a new folder"
        )
    if output.exists() and not output.is_dir():
        raise UserError(f"--output: {output} is a file; expected a new folder")


def _read(data: Path, split: str) -> Pairs:
    """The pairs of a split below `data`.

    Raises:
        UserError: there are none, or they are not as `normalize` writes them.
    """
    path = layout.table(data, split)
    use = {"validation": "the file is checked on it", "train": "the scales of 8 bits come from it"}
    if not path.is_file():
        raise UserError(
            f"--data: {path} not found; {use[split]}. dvc repro normalize makes it, or name a "
            "folder with --data"
        )
    table = read_table(path, key="--data")
    columns = ["sentence1", "sentence2", "score"]
    if missing := [column for column in columns if column not in table]:
        raise UserError(
            f"--data: {path} has no column {', '.join(missing)}; it has "
            f"{', '.join(map(str, table.columns))}"
        )
    for row, values in enumerate(zip(*(table[column] for column in columns), strict=True)):
        *sentences, score = values
        number = isinstance(score, int | float) and 0 <= score <= 1
        if not (number and all(isinstance(text, str) and text.strip() for text in sentences)):
            raise UserError(
                f"--data: {path}, row {row}: found {reprlib.repr(values)}; expected two sentences "
                "that are not empty and a score from 0 to 1"
            )
    return Pairs.from_table(table)


def _spread(sentences: list[str]) -> list[str]:
    """`CALIBRATION` of the sentences, or all, from the first to the last."""
    places = np.linspace(0, len(sentences) - 1, min(CALIBRATION, len(sentences)))
    return [sentences[round(place)] for place in places]


@contextmanager
def _said_by(wanted: Export) -> Iterator[None]:
    """One message for whatever a format's packages raise of a model that they cannot hold."""
    try:
        yield
    except (MemoryError, OSError, UserError):
        raise
    except Exception as error:  # the packages' own, of many types
        raise UserError(
            f"{wanted.model} cannot be written as {_name(wanted)}: {type(error).__name__}: "
            f"{str(error)[:LONGEST_MESSAGE]}"
        ) from error


def _name(wanted: Export) -> str:
    return f"{wanted.format} int8" if wanted.int8 else wanted.format


def _license(model: Path) -> str:
    """The model's licence: its card's, or, of a model of a project, that of the base model."""
    found = read_license(model)
    source = model.parent / layout.BASE_SOURCE.name
    if found == UNKNOWN and model.name in layout.MODELS and source.is_file():
        return str(read_json(source).get("license", UNKNOWN))
    return found


def _record(
    wanted: Export,
    folder: Path,
    tokens: int,
    difference: Difference,
    bounds: Bounds,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """What a program has to know of an export; no folder of this machine."""
    needed = (*FORMATS[wanted.format].packages, *(["nncf"] if wanted.int8 else []))
    names = ("torch", "sentence-transformers", "transformers", *needed)
    return {
        "format": wanted.format,
        "int8": wanted.int8,
        "file": FORMATS[wanted.format].file,
        "sha256": {path.name: sha256(path) for path in sorted(folder.glob(f"{_stem(wanted)}.*"))},
        "inputs": list(INPUTS),
        "output": OUTPUT,
        "tokenizer": TOKENIZER,
        "longest_tokens": tokens,
        "license": _license(wanted.model),
        "model": {
            "name": wanted.model.resolve().name,
            "sha256": {
                path.name: sha256(path)
                for pattern in ("*.safetensors", "pytorch_model.bin")
                for path in sorted(transformer_folder(wanted.model).glob(pattern))
            },
        },
        "check": {
            "split": "validation",
            "sha256": sha256(layout.table(wanted.data, "validation")),
            **asdict(difference),
            "bootstrap": asdict(bootstrap),
            "bounds": asdict(bounds),
        },
        "versions": {name: version(name) for name in names},
    }


def _stem(wanted: Export) -> str:
    return Path(FORMATS[wanted.format].file).stem


LOAD = {
    "onnx": """import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")


def run(batch):
    return session.run(None, batch)[0]
""",
    "openvino": """import sys

sys.modules["openvino_telemetry"] = None  # `import openvino` reports its use to Intel otherwise

import openvino

# Without the hint OpenVINO computes in bfloat16 where the processor can.
model = openvino.Core().compile_model("model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def run(batch):
    return model(batch)[0]
""",
}
USE = """import numpy as np
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")  # cuts texts and pads batches as the model does
encoded = tokenizer.encode_batch(["A plane is taking off.", "An air plane is taking off."])
batch = {
    "input_ids": np.array([one.ids for one in encoded], dtype=np.int64),
    "attention_mask": np.array([one.attention_mask for one in encoded], dtype=np.int64),
}
vectors = run(batch)  # float32 (sentences, vocabulary)
for vector in vectors:
    best = vector.argsort()[::-1][:8]
    print([(tokenizer.id_to_token(int(term)), round(float(vector[term]), 3)) for term in best])
"""


def _card(
    wanted: Export,
    record: dict[str, Any],
    difference: Difference,
    bounds: Bounds,
    bootstrap: Bootstrap,
) -> str:
    """The README: what the file is, how it is run, what it loses."""
    licence = record["license"]
    data = ModelCardData(
        license=None if licence == UNKNOWN else licence,
        library_name=wanted.format,
        pipeline_tag="feature-extraction",
        tags=["sparse-encoder", "sparse", "splade", wanted.format],
    )
    found, gain = difference, difference.gain
    rows = [
        ["Spearman", f"{found.model_spearman:.4f}", f"{found.spearman:.4f}"],
        ["active dims", f"{found.model_active_dims:.2f}", f"{found.active_dims:.2f}"],
    ]
    measured = (
        f"The difference in Spearman is {gain.value:+.5f}, "
        f"{bootstrap.confidence:.0%} interval {gain.low:+.5f} to {gain.high:+.5f} (paired "
        f"bootstrap over {found.pairs} validation pairs). A weight differs by "
        f"{found.largest_weight:.2g} at most, in inputs of up to "
        f"{found.longest_tokens} tokens; alone and beside longer sentences, by "
        f"{found.largest_in_batch:.2g}."
    )
    weight = "any" if bounds.weight is None else f"{bounds.weight:g}"
    allowed = (
        f"Allowed: {bounds.spearman:g} of Spearman at the interval's worst end, "
        f"{bounds.active_dims:.1%} of the active dims, {weight} of a weight, "
        f"{bounds.batch:g} between alone and beside others."
    )
    what = (
        f"A SPLADE encoder with its head and pooling: `{record['file']}` takes "
        f"{' and '.join(f'`{name}`' for name in INPUTS)}, int64 (sentences, length), and gives "
        f"`{OUTPUT}`, float32 (sentences, vocabulary)."
    )
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# {record['model']['name']}, as {_name(wanted)}",
        what,
        "## Use",
        f"```python\n{LOAD[wanted.format]}\n\n{USE}```",
        "## Checked",
        markdown_table(["validation", "model", "this file"], rows),
        measured,
        allowed,
        f"Versions, hashes and all figures: `{RECORD}`. Licence: {licence}.",
    ]
    return str(ModelCard("\n\n".join(parts) + "\n", ignore_metadata_errors=False))
