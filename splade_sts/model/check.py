"""What a model folder may ask for before anything in it is loaded: no code, no other places.

Loading is done by sentence-transformers and transformers without remote code, and with
`weights_only`. Their configuration files can still ask for more than that: classes to import,
keyword arguments of the loader, files elsewhere. Such a folder is refused as a whole.
"""

import json
import reprlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from splade_sts.errors import UserError

# The modules a SPLADE model is made of, under the names of this and of older releases of
# sentence-transformers.
MODULES = ("Transformer", "MLMTransformer", "SpladePooling", "Pooling", "Normalize", "Dense")
# Arguments that a folder may set for its loader and tokenizer; none of them names a file or code.
HARMLESS = {
    "dtype",
    "torch_dtype",
    "attn_implementation",
    "model_max_length",
    "max_length",
    "padding_side",
    "truncation_side",
    "do_lower_case",
    "use_fast",
}
ARGUMENTS = (
    "model_kwargs",
    "model_args",
    "processor_kwargs",
    "tokenizer_args",
    "config_kwargs",
    "config_args",
)
LARGEST_CONFIG = 64 * 2**20


def check_folder(folder: str | Path) -> None:
    """Refuse a folder that asks for code, for a loader's keyword arguments, or for files elsewhere.

    Raises:
        UserError: says which file asks for what.
    """
    folder = Path(folder)
    for path in sorted(folder.rglob("*.json")):
        if path.name in ("tokenizer.json", "vocab.json"):
            continue  # data of the tokenizer library, which has no way to name code
        for key, value in _items(_read(path)):
            _check(path, key, value)
    modules = folder / "modules.json"
    if modules.is_file():
        _check_modules(modules)
    for path in (folder / "config.json", *folder.glob("*/config.json")):
        if path.is_file():
            _check_claims(path)
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"{folder} is an adapter, which needs another model; merge it into its base model first"
        )


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise UserError(
                f"{path} has {path.stat().st_size} bytes; "
                f"expected a configuration of at most {LARGEST_CONFIG}"
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from None


def _items(content: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _check(path: Path, key: str, value: Any) -> None:
    if key in ("auto_map", "custom_pipelines", "trust_remote_code") and value:
        raise UserError(
            f"{path} asks for code of its own ({key}: {value!r}); such models are not loaded"
        )
    if key in ARGUMENTS and isinstance(value, dict) and (unknown := set(value) - HARMLESS):
        raise UserError(
            f"{path} sets {', '.join(sorted(unknown))} for the loader ({key}); "
            "remove it, or take another model"
        )
    if key.endswith("attn_implementation") and "/" in str(value):
        raise UserError(
            f"{path} asks for attention code from the Hub ({value!r}); such models are not loaded"
        )
    if (
        (key.endswith("_file") or key == "transformers_weights")
        and isinstance(value, str)
        and not _inside(value)
    ):
        raise UserError(
            f"{path} names a file outside the model's folder ({key}: {value!r}); "
            "such models are not loaded"
        )
    if key == "weight_map":
        names = value.values() if isinstance(value, dict) else [value]
        if foreign := [name for name in names if not (isinstance(name, str) and _inside(name))]:
            raise UserError(
                f"{path} names a file outside the model's folder ({foreign[0]!r}); "
                "such models are not loaded"
            )


def _check_claims(path: Path) -> None:
    """Refuse a transformer that claims more parameters than there are bytes of weights.

    It would be filled with noise.
    """
    config = _read(path)
    if not isinstance(config, dict):
        raise UserError(f"{path} is no JSON object")
    keys = ("hidden_size", "num_hidden_layers", "vocab_size")
    sizes = {key: config[key] for key in keys if key in config}
    if wrong := {key: value for key, value in sizes.items() if type(value) is not int or value < 1}:
        raise UserError(
            f"{path}: found {reprlib.repr(wrong)}; expected whole numbers of at least 1"
        )
    files = [*path.parent.glob("*.safetensors"), *path.parent.glob("*.bin")]
    weights = sum(file.stat().st_size for file in files)
    hidden, layers, vocabulary = (sizes.get(key, 1) for key in keys)
    if weights and hidden * max(vocabulary, layers * hidden) > weights:
        raise UserError(
            f"{path} claims {reprlib.repr(sizes)}, "
            f"more than the {weights:,} bytes of weights beside it can hold"
        )


def _check_modules(path: Path) -> None:
    modules = _read(path)
    wanted = all(
        isinstance(module, dict)
        and all(isinstance(module.get(key), str) for key in ("name", "path", "type"))
        for module in (modules if isinstance(modules, list) else [None])
    )
    if not wanted or not modules:
        raise UserError(f"{path} is no list of modules, each with name, path and type")
    for module in modules:
        kind, place = module["type"], module["path"]
        if not kind.startswith("sentence_transformers.") or kind.rsplit(".", 1)[1] not in MODULES:
            raise UserError(
                f"{path} names the module {kind!r}; expected one of sentence-transformers' own: "
                f"{', '.join(MODULES)}. Code from a model's folder is never run"
            )
        if place and not _inside(place):
            raise UserError(
                f"{path} names the folder {place!r}; expected one inside the model's folder"
            )


def _inside(name: str) -> bool:
    """Whether a name stays inside the folder it is in."""
    path = PurePosixPath(name)
    odd = "\0" in name or "\\" in name
    return not odd and not path.is_absolute() and ".." not in path.parts
