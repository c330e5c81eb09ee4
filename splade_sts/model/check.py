"""What a model folder may ask for before anything in it is loaded: no code, no other places.

Loading is done by sentence-transformers and transformers without remote code, and with
`weights_only`. Their configuration files can still ask for more than that: classes to import,
keyword arguments of the loader, files elsewhere, sizes that no weights are there for. Such a folder
is refused as a whole.
"""

import errno
import json
import os
import re
import reprlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from splade_sts.errors import UserError

SENTENCE = "sentence_embedding"
DENSE_SETTINGS = {
    "in_features",
    "out_features",
    "bias",
    "activation_function",
    "module_input_name",
    "module_output_name",
    "use_residual",
}
POOLING_SETTINGS = {
    "embedding_dimension",
    "word_embedding_dimension",
    "pooling_mode",
    "pooling_mode_cls_token",
    "pooling_mode_max_tokens",
    "pooling_mode_mean_tokens",
    "pooling_mode_mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens",
    "pooling_mode_lasttoken",
    "include_prompt",
}
SPLADE_SETTINGS = {
    "pooling_strategy",
    "activation_function",
    "embedding_dimension",
    "word_embedding_dimension",
}
# The modules that a model is made of, under the names of this and of older releases of
# sentence-transformers, and what the config.json of each may set. That of a transformer is none of
# sentence-transformers'.
MODULES: dict[str, set[str] | None] = {
    "Transformer": None,
    "MLMTransformer": None,
    "SpladePooling": SPLADE_SETTINGS,
    "Pooling": POOLING_SETTINGS,
    "Normalize": {"module_input_name", "module_output_name"},
    "Dense": DENSE_SETTINGS,
}
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
# What sentence_bert_config.json and its older names may set, besides such arguments.
TRANSFORMER_SETTINGS = {
    "max_seq_length",
    "do_lower_case",
    "transformer_task",
    "modality_config",
    "module_output_name",
    *ARGUMENTS,
}
# sentence-transformers takes Tanh where it does not trust the name of an activation function.
ACTIVATION = re.compile(r"torch\.nn\.modules\.(activation|linear)\.\w+")
CODE = ("auto_map", "custom_pipelines", "trust_remote_code")
# Of attention and of experts: what PyTorch brings. Others start compilers, or fetch code.
IMPLEMENTATIONS = (None, "eager", "sdpa")
# Other ways to the weights than the two that are checked, wherever they stand.
OTHER_WAYS = (
    "transformers_weights",
    "quantization_config",
    "fusion_config",
    "weights_only",
    "device_map",
    "offload_folder",
    "gguf_file",
    "tokenizer_name_or_path",
)
# What changes the vectors of a model whenever it encodes, and would stand in no parameter.
SILENT_SETTINGS = ("max_active_dims", "truncate_dim")
# Where a model was when it was saved. The libraries read no file by these names; old releases
# wrote folders of the machine there.
ORIGINS = ("_name_or_path", "name_or_path", "special_tokens_map_file", "best_model_checkpoint")
# Data of the tokenizer library, which has no way to name code or files.
VOCABULARIES = ("tokenizer.json", "vocab.json")
LARGEST_CONFIG = 64 * 2**20
LONGEST_PATH = 4096  # what Linux opens
# What is built one by one takes time even without weights.
REPEATED = re.compile("layer|group|expert|block|label")
MOST_REPEATED = 1000
# A file of DVC's cache is named by its content, like one of the Hub's.
DVC_CACHE = re.compile(r".*/files/md5/[0-9a-f]{2}/[0-9a-f]{30}")
WEIGHTS = ("*.safetensors", "*.bin")
# Where the weights of a module are, if they are in one file; the first that there is is loaded.
ONE_FILE = ("model.safetensors", "pytorch_model.bin")
# Parts of a distributed checkpoint: transformers would read them past every check of weights.
SHARD = re.compile(r"shard-.*\.safetensors|.*\.distcp|\.metadata")


def check_folder(folder: str | Path) -> None:
    """Refuse a folder that asks for code, for a loader's keyword arguments, or for files elsewhere.

    Raises:
        UserError: says which file asks for what.
    """
    folder = Path(folder)
    for path in list(_files(folder)):  # nothing is read before every link is known
        _check_holes(path)
        if path.name == "adapter_config.json":
            raise UserError(
                f"{folder} is an adapter, which needs another model; "
                "merge it into its base model first"
            )
        if SHARD.fullmatch(path.name):
            raise UserError(
                f"{path} is part of a distributed checkpoint; "
                "expected model.safetensors or pytorch_model.bin. Save the model as one of these"
            )
        if path.suffix == ".json" and path.name not in VOCABULARIES:
            content = _read(path)
            for key, value in _items(content):
                _check(path, key, value)
            _check_file(path, content)


def weights_size(folder: Path) -> int:
    """Size of the files of weights that lie directly in a folder, in bytes without holes."""
    return sum(_real_bytes(path) for kind in WEIGHTS for path in folder.glob(kind))


def module_folders(folder: str | Path) -> list[tuple[str, Path]]:
    """The modules of a model: the kind of each, and where it lies.

    Empty where there is no modules.json. The folder has passed `check_folder`.
    """
    path = Path(folder, "modules.json")
    if not path.is_file():
        return []
    return [(_kind(module), Path(folder, module["path"])) for module in _read(path)]


def _kind(module: dict[str, Any]) -> str:
    kind: str = module["type"]
    return kind.rsplit(".", 1)[-1]


def _real_bytes(path: Path) -> int:
    """How many bytes of a file are on the disk; what is not, its holes, reads as zeros.

    Where the file system does not know, all of them.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = place = 0
        while place < size:
            try:
                start = os.lseek(file.fileno(), place, os.SEEK_DATA)
            except OSError as error:
                return found if error.errno == errno.ENXIO else size  # ENXIO: only holes follow
            place = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found += place - start
    return found


def _check_holes(path: Path) -> None:
    """Refuse a file that is mostly holes: reading it takes memory that nobody had to write.

    Some holes may be: a file system, or a copy, may leave out a run of zeros.
    """
    try:
        size, real = path.stat().st_size, _real_bytes(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if 2 * real < size:
        raise UserError(
            f"{path} is {size:,} bytes long, but only {real:,} of them are on the disk; the rest "
            "are holes. Copy or fetch the model again"
        )


def _files(folder: Path) -> Iterator[Path]:
    """Every file in the folder, in order.

    Raises:
        UserError: a link leads out of the folder, or there is something that is no file.
    """
    home = folder.resolve()
    homes = [home]
    if home.parent.name == "snapshots":  # the Hub's cache: files are links to ../../blobs
        homes.append(home.parents[1] / "blobs")

    def stop(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=stop):
        folders.sort()
        for name in sorted([*folders, *names]):
            path = Path(place, name)
            try:
                target = path.resolve(strict=True)
                mode = target.stat().st_mode
            except (OSError, RuntimeError) as error:
                raise UserError(f"{path} cannot be read: {error}") from None
            if path.is_symlink():
                if stat.S_ISDIR(mode):
                    raise UserError(
                        f"{path} is a link to the folder {target}; expected a folder. Copy it"
                    )
                inside = any(target.is_relative_to(root) for root in homes)
                if not inside and not DVC_CACHE.fullmatch(str(target)):
                    raise UserError(
                        f"{path} is a link to {target}, outside the model's folder; "
                        "copy the file, or take another model"
                    )
            if stat.S_ISREG(mode):
                yield path
            elif not stat.S_ISDIR(mode):
                raise UserError(f"{path} is neither a file nor a folder; remove it")


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
    """Every value at any depth with its key; what is in a list has the list's key."""
    waiting = [("", content)]
    while waiting:
        key, value = waiting.pop()
        yield key, value
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += ((key, item) for item in value)


def _check(path: Path, key: str, value: Any) -> None:
    if key in CODE and value:
        raise UserError(
            f"{path} asks for code of its own ({key}: {reprlib.repr(value)}); "
            "such models are not loaded"
        )
    if key in ARGUMENTS and isinstance(value, dict) and (unknown := set(value) - HARMLESS):
        raise UserError(
            f"{path} sets {reprlib.repr(sorted(unknown))} for the loader ({key}); "
            "remove it, or take another model"
        )
    if key in OTHER_WAYS and value is not None:
        raise UserError(
            f"{path} sets {key} ({reprlib.repr(value)}), which would change what is loaded; "
            "remove it, or take another model"
        )
    if key.endswith("_implementation") and value not in IMPLEMENTATIONS:
        raise UserError(
            f"{path} asks for another implementation than PyTorch's own ({key}: "
            f"{reprlib.repr(value)}); expected eager or sdpa. Remove it, or take another model"
        )
    if isinstance(value, str) and not _inert(path, key) and _outside(value):
        raise UserError(
            f"{path} names a file outside the model's folder ({key}: {reprlib.repr(value)}); "
            "such models are not loaded"
        )


def _check_file(path: Path, content: Any) -> None:
    """What holds for a file of this name."""
    if path.name == "modules.json":
        _check_modules(path, content)
    elif path.name == "config.json":
        _check_claims(path, content)
    elif re.fullmatch(r"sentence_[\w-]+_config\.json", path.name):
        _check_settings(path, content)
    elif path.name == "config_sentence_transformers.json":
        _check_encoding(path, content)


def _check_claims(path: Path, config: Any) -> None:
    """Refuse numbers that are larger than the weights: sizes of what would be filled with noise."""
    if not isinstance(config, dict):
        raise UserError(f"{path} is no JSON object")
    keys = ("hidden_size", "num_hidden_layers", "vocab_size", "in_features", "out_features")
    sizes = {key: config[key] for key in keys if key in config}
    if wrong := {key: value for key, value in sizes.items() if type(value) is not int or value < 1}:
        raise UserError(
            f"{path}: found {reprlib.repr(wrong)}; expected whole numbers of at least 1"
        )
    counts = [(key, value) for key, value in _items(config) if type(value) is int]
    for key, value in counts:
        if REPEATED.search(key) and value > MOST_REPEATED:
            raise UserError(
                f"{path} claims {key} {reprlib.repr(value)}; expected at most {MOST_REPEATED}"
            )
    weights = weights_size(path.parent)
    if not weights:
        return
    hidden, layers, vocabulary, width, height = (sizes.get(key, 1) for key in keys)
    needed = max(hidden * vocabulary, layers * hidden**2, width * height)
    largest = max((value for _, value in counts), default=0)
    if max(needed, largest) > weights:
        named = sizes if needed > weights else {k: v for k, v in counts if v == largest}
        raise UserError(
            f"{path} claims {reprlib.repr(named)}, "
            f"more than the {weights:,} bytes of weights beside it can hold"
        )


def _check_settings(path: Path, settings: Any) -> None:
    if not isinstance(settings, dict):
        raise UserError(f"{path} is no JSON object")
    unknown = [
        key
        for key, value in settings.items()
        if key not in TRANSFORMER_SETTINGS and value not in (None, {})
    ]
    if unknown:
        raise UserError(
            f"{path} sets {reprlib.repr(sorted(unknown))}; expected only "
            f"{', '.join(sorted(TRANSFORMER_SETTINGS))}. Remove it, or take another model"
        )


def _check_encoding(path: Path, settings: Any) -> None:
    if not isinstance(settings, dict):
        raise UserError(f"{path} is no JSON object")
    for key in SILENT_SETTINGS:
        if (value := settings.get(key)) is not None:
            raise UserError(
                f"{path} sets {key}: {reprlib.repr(value)}, so not the whole vectors would be "
                "measured; set it to null in a copy, or take another model"
            )
    prompts, name = settings.get("prompts") or {}, settings.get("default_prompt_name")
    if not isinstance(prompts, dict) or not isinstance(name, str | None):
        raise UserError(
            f"{path}: found prompts {reprlib.repr(prompts)} and default_prompt_name "
            f"{reprlib.repr(name)}; expected an object and a name"
        )
    if name is not None and prompts.get(name) != "":
        raise UserError(
            f"{path} puts a prompt before every sentence (default_prompt_name: "
            f"{reprlib.repr(name)}); the pairs are compared without. "
            "Set it to null in a copy, or take another model"
        )


def _check_module(folder: Path, kind: str) -> None:
    """What holds for the config.json of a module.

    The library drops settings of some modules that it does not know.
    """
    known = MODULES[kind]
    if known is None:
        return
    path = folder / "config.json"
    settings = _read(path) if path.is_file() else {}
    if not isinstance(settings, dict):
        raise UserError(f"{path} is no JSON object")
    if unknown := set(settings) - known:
        raise UserError(
            f"{path} sets {reprlib.repr(sorted(unknown))}; expected only "
            f"{', '.join(sorted(known))}. Take another model"
        )
    for key in ("module_input_name", "module_output_name"):
        if settings.get(key, SENTENCE) not in (None, SENTENCE):
            raise UserError(
                f"{path} sets {key}: {reprlib.repr(settings[key])}, so the {kind} would be left "
                f"out of the vectors; expected {SENTENCE}. Take another model"
            )
    if kind == "Dense":
        _check_dense(path, settings)


def _check_dense(path: Path, settings: dict[str, Any]) -> None:
    """The layer behind the pooling: the library makes it before it looks for its weights."""
    activation = settings.get("activation_function", "torch.nn.modules.activation.Tanh")
    if not (isinstance(activation, str) and ACTIVATION.fullmatch(activation)):
        raise UserError(
            f"{path} names the activation function {reprlib.repr(activation)}; "
            "expected one of torch.nn. Take another model"
        )
    if not any((path.parent / name).is_file() for name in ONE_FILE):
        raise UserError(f"{path.parent} holds no weights (no {', no '.join(ONE_FILE)})")


def _check_modules(path: Path, modules: Any) -> None:
    wanted = all(
        isinstance(module, dict)
        and all(isinstance(module.get(key), str) for key in ("name", "path", "type"))
        for module in (modules if isinstance(modules, list) else [None])
    )
    if not wanted or not modules:
        raise UserError(f"{path} is no list of modules, each with name, path and type")
    names = [module["name"] for module in modules]
    if len(set(names)) < len(names):
        raise UserError(
            f"{path} names two modules {reprlib.repr(max(names, key=names.count))}; the library "
            "would take the last one alone, of which nothing is checked"
        )
    for module in modules:
        kind = module["type"]
        if not kind.startswith("sentence_transformers.") or _kind(module) not in MODULES:
            raise UserError(
                f"{path} names the module {reprlib.repr(kind)}; "
                f"expected one of sentence-transformers' own: {', '.join(MODULES)}. "
                "Code from a model's folder is never run"
            )
    places = [os.path.normpath(module["path"]) for module in modules]
    if len(set(places)) < len(places):
        raise UserError(
            f"{path} has two modules in {reprlib.repr(max(places, key=places.count))}; "
            "expected a folder for each. Take another model"
        )
    for module in modules:
        _check_module(path.parent / module["path"], _kind(module))


def _inert(path: Path, key: str) -> bool:
    """Whether no value of a key is taken for a path: tokens (`/` is one) and `ORIGINS`.

    In an index of shards the keys are names of weights, and every value is a path.
    """
    is_token = key == "content" or key.endswith(("_token", "_tokens"))
    return (is_token or key in ORIGINS) and not path.name.endswith(".index.json")


def _outside(text: str) -> bool:
    """Whether a text, taken for a path, leads out of the folder it is in.

    Links are not looked at: `_files` refuses those that lead outside.
    """
    if len(text) > LONGEST_PATH:
        return False
    return "\0" in text or text.startswith(("/", "~/", "\\")) or ".." in re.split(r"[/\\]", text)
