"""Are a model's weights all there, all its own, and all finite?

transformers fills what is missing with random numbers, another time with others, and leaves out
what it does not know. Both would be measured as if they were the model.
"""

import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from splade_sts.errors import UserError
from splade_sts.model.check import ONE_FILE, weights_size

# Keys that may be there although the model has no place for them, and why that loses nothing.
LEFT_OUT = {
    "positions counted from 0, which releases before 4.31 saved": r"(^|\.)position_ids$",
    "the pooler of BERT's second pre-training task; poolings here read the tokens": r"pooler\.",
    "the head of that task": r"^(cls\.seq_relationship|sop_classifier)\.",
}
# Heads of other tasks: they read the encoder, and are not part of it.
OTHER_HEADS = (
    r"^(cls|lm_head|mlm_head|generator_\w+|vocab_\w+|classifier|qa_outputs|head|decoder)\."
)
# Types of numbers by their names in safetensors and in PyTorch. Of others the libraries would make
# float32 too: without the imaginary part, or as if small whole numbers were the weights.
TYPES = {
    *("F64", "F32", "F16", "BF16"),
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
}
# What is no weight, and counts something.
COUNTS = r"(_ids|num_batches_tracked)$"
LONGEST_NAME = 200  # of a weight, in a message
# A pooler that no file has is made of random numbers; poolings here read the tokens.
UNUSED = r"(^|\.)pooler\."


def check_weights(
    model_class: Any,
    folder: Path,
    *,
    may_lack: str = "(?!)",
    may_have: str = "(?!)",
) -> None:
    """Refuse weights that do not fit a model; nothing of the model's size is allocated.

    The library itself says what it would make of the files: it loads them onto PyTorch's `meta`
    device, where tensors have a shape and no content.

    Args:
        model_class: a class with `from_pretrained` that the folder is loaded with.
        folder: where its config.json and weights lie; it has passed `check_folder`.
        may_lack: a regular expression; keys that it finds may be missing.
        may_have: the same for keys that the model has no place for.

    Raises:
        UserError: as `check_types`; names the keys that are missing, unknown or of another shape,
            or says how much is claimed beyond the bytes of the files.
    """
    check_types(folder, shards=True)
    model, found = model_class.from_pretrained(
        folder,
        device_map="meta",
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
        weights_only=True,
    )
    name = type(model).__name__
    has = "|".join([*LEFT_OUT.values(), may_have])
    wrong = {
        "has no": _without(found["missing_keys"], may_lack),
        "has, unknown to the model:": _without(found["unexpected_keys"], has),
        "has in another shape": sorted(key for key, *_ in found["mismatched_keys"]),
    }
    for what, keys in wrong.items():
        if keys:
            raise UserError(
                f"{folder}: the weights do not fit the {name} of its config.json. The file {what} "
                f"{', '.join(repr(key[:LONGEST_NAME]) for key in keys[:3])}"
                f"{f' and {len(keys) - 3} more' if len(keys) > 3 else ''}. "
                "Fetch or save the model anew, or take another one"
            )
    tensors = [*model.parameters(), *model.buffers()]
    numbers, size = sum(tensor.numel() for tensor in tensors), weights_size(folder)
    if numbers > size:
        raise UserError(
            f"{folder}: config.json claims {numbers:,} numbers, more than the {size:,} bytes of "
            "weights can hold"
        )


def check_types(folder: Path, *, shards: bool) -> None:
    """Refuse weights that are no real numbers, and files that unpack to more than they are.

    Args:
        folder: of a module; it has passed `check_folder`.
        shards: whether the weights may be in several files.

    Raises:
        UserError: names the weight or the file.
    """
    for path in _files(folder, shards):
        for name, kind in _types(path):
            if kind not in TYPES and not re.search(COUNTS, name):
                raise UserError(
                    f"{path}: weight {name[:LONGEST_NAME]} is of the type {kind}; expected "
                    "float64, float32, float16 or bfloat16. Save the model as one of these, or "
                    "take another one"
                )


def _files(folder: Path, shards: bool) -> list[Path]:
    """The files that the libraries open; they take the first of these that there is."""
    for name in ONE_FILE:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if shards and index.is_file():
            names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            return [folder / shard for shard in sorted(set(names))]
    return []


def _types(path: Path) -> Iterator[tuple[str, object]]:
    """The type of each weight of a file, by its name; no weight is read."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            yield from ((name, file.get_slice(name).get_dtype()) for name in names)
        return
    packed = _is_zip(path)
    weights = torch.load(path, map_location="meta", weights_only=True, mmap=packed)
    if isinstance(weights, dict):
        yield from (
            (str(name), weight.dtype)
            for name, weight in weights.items()
            if isinstance(weight, Tensor)
        )


def _is_zip(path: Path) -> bool:
    """Whether PyTorch takes a file for a ZIP archive, as newer releases write it.

    Raises:
        UserError: its content is longer than the file: compressed, or one part for several.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\3\4":
            return False
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > (size := path.stat().st_size):
        raise UserError(
            f"{path} has {size:,} bytes and unpacks to {unpacked:,}; expected weights that are not "
            "compressed. Save the model anew, or take another one"
        )
    return True


def check_finite(model: nn.Module, folder: str | Path) -> None:
    """Refuse NaN and infinite weights.

    Raises:
        UserError: names the first one.
    """
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(
                f"{folder}: weight {name} is not finite (NaN or infinity); "
                "the training that saved it failed. Take an earlier checkpoint or another model"
            )


def _without(keys: Iterable[str], pattern: str) -> list[str]:
    return sorted(key for key in keys if not re.search(pattern, key))
