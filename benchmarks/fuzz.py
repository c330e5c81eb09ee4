"""Feed the project broken inputs.

    python -m benchmarks.fuzz [--inputs 10000] [--seed 0] [--only TARGET NUMBER] [--json FILE]

Every input is made from the seed and its number by mutation of a good one, and is handed to the
real code, each kind of input in a process of its own: data files to the stages download and
normalize, params.yaml to its reader, model folders to the loaders, arguments to the command line.
Allowed are a good result and a `UserError` (for arguments also argparse's own refusal); any other
exception, a partial output, a result that breaks the promises of the normalized data, a model with
random weights or with weights that were no real numbers, settings of a model that are not ours,
vectors that depend on the batch, code of a model that ran, a file beside a model that was opened, a
call of more than `LONGEST` seconds, and more than `PEAK` of memory are findings. The address space
is limited to `MEMORY`, so that a bomb is a MemoryError and not the end of the machine; a refusal
for that reason is a finding too. A finding prints its number: `--only TARGET NUMBER` repeats it.

Hypothesis drives the property tests; here plain mutation is enough and makes thousands of inputs a
minute.
"""

import argparse
import bz2
import collections
import contextlib
import csv
import gzip
import io
import json
import lzma
import os
import pickle
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from ruamel.yaml import YAML

from benchmarks.common import ROOT, in_process, machine, write
from benchmarks.tiny import WORDS, make_encoder, write_params
from splade_sts import cli as command_line
from splade_sts import layout, params
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError, memory_problem
from stages import download, normalize

LONGEST = 20.0  # seconds
MEMORY = 8 * 2**30  # bytes of address space, PyTorch's libraries included
PEAK = 3 * 2**30  # bytes that were really taken; the tables' own bound is a third of it
LONG = 4 * 2**30  # bytes of a file that is mostly holes
LONGEST_FILE = 2**23  # bytes; no other accident makes one
MANY = 50  # inputs of which some have to be accepted
SHARES = {"data": 0.4, "params": 0.2, "arguments": 0.1, "models": 0.3}

TEXTS = [
    "A man is playing a guitar.",
    "",
    " ",
    "\t",
    "\u200b",
    "\ufeff",
    "\x00",
    "\x1b[31mred\x1b[0m",
    "👩‍👩‍👧‍👦 🇩🇪",
    "مرحبا بالعالم",
    "שלום",
    "\u202eevil\u202c",
    "e\u0301\u0323 vs \u1ec7",
    "ﬁ ﬃ Å",
    '=HYPERLINK("http://x")',
    "+1+1",
    "-2",
    "@SUM(A1)",
    "<script>alert(1)</script>",
    '"quoted"',
    "'",
    ",",
    ";",
    "\n",
    "\r\n",
    "\\N",
    "NULL",
    "nan",
    "𝕳𝖊𝖑𝖑𝖔",
    "x" * 5000,
    "word " * 2000,
    "\ud83d",
]
SCORES = [
    "0",
    "5",
    "2.5",
    "-1",
    "6",
    "nan",
    "inf",
    "1e400",
    "1_0",
    "٣",
    "",
    " 3 ",
    "0x3",
    "3,5",
    "true",
    "None",
    "5" * 400,
]
JSON_SCORES = [0, 5, 2.5, -1, 1e308, None, True, "3", [3], {"a": 3}, 10**30, "٣", float("nan")]
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": lambda data: _zip(data),
}
PARAM_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    10**30,
    0.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\x00",
    "../../etc",
    "2e-05",
    "1e400",
    "local",
    "sample",
    "a/b/c",
    [],
    [1],
    [5, 0],
    [0, 5],
    ["a", "b"],
    {},
    {"a": 1},
    {1: 2},
    [[[[]]]],
    "x" * 10000,
    "\u202e",
    "pip:x",
    -0.0,
    "null",
]
CONFIG_VALUES = [
    None,
    True,
    0,
    -1,
    1,
    3,
    10**12,
    1e300,
    "",
    "x",
    "../x",
    [],
    [1],
    {},
    {"a": 1},
    "bert",
    "t5",
    "evil.Evil",
    "x" * 5000,
    "sentence_transformers.SentenceTransformer",
    ["BertForMaskedLM"],
    [None],
    "relu",
    "max",
]


def _zip(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", data)
    return buffer.getvalue()


def mutate(data: bytes, dice: random.Random) -> bytes:
    """Zero to three accidents: bytes flipped, cut, repeated, inserted or swapped for others."""
    for _ in range(dice.choice([0, 0, 1, 1, 2, 3])):
        place, length = dice.randrange(len(data) + 1), dice.choice([1, 1, 2, 8, 64])
        kind = dice.choice(["flip", "cut", "drop", "repeat", "insert", "number"])
        if kind == "flip" and place < len(data):
            data = (
                data[:place] + bytes([data[place] ^ (1 << dice.randrange(8))]) + data[place + 1 :]
            )
        elif kind == "cut":
            data = data[:place]
        elif kind == "drop":
            data = data[:place] + data[place + length :]
        elif kind == "repeat":
            data = (
                data[:place]
                + data[place : place + length] * dice.choice([2, 10, 1000])
                + data[place + length :]
            )
        elif kind == "insert":
            data = (
                data[:place]
                + dice.choice(
                    [b"\xff", b"\x00", b'"', b"\n", b"{", b"[" * 3000, b",", b"\xed\xa0\x80"]
                )
                + data[place:]
            )
        elif kind == "number":
            data = data[:place] + dice.randbytes(4) + data[place + 4 :]
    return data


def table(dice: random.Random) -> tuple[str, bytes]:
    """A table of some format with usual and unusual values: its ending and its bytes."""
    kind = dice.choice(["csv", "tsv", "jsonl", "parquet"])
    plain = dice.random() < 0.5
    rows = [
        (
            *(dice.choice(TEXTS[:1] if plain else TEXTS) for _ in range(2)),
            dice.choice(SCORES[:3] if plain else SCORES),
        )
        for _ in range(dice.choice([1, 2, 5, 30]))
    ]
    names = ["sentence1", "sentence2", "score"]
    if dice.random() < 0.1:
        names = dice.choice(
            [
                ["sentence1", "sentence1", "score"],
                ["a", "b", "c"],
                ["sentence1", "sentence2", ""],
                ["sentence1", "score"],
            ]
        )
    if kind in ("csv", "tsv"):
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, delimiter="," if kind == "csv" else "\t")
        writer.writerows([names, *rows])
        data = buffer.getvalue().encode("utf-8", "surrogatepass")
    elif kind == "jsonl":
        records = [
            dict(
                zip(
                    names,
                    (*row[:2], float(row[2]) if plain else dice.choice(JSON_SCORES)),
                    strict=False,
                )
            )
            for row in rows
        ]
        data = "\n".join(json.dumps(record) for record in records).encode()
    else:
        values = [row[2] if dice.random() < 0.2 else dice.choice([0.0, 2.5, 5.0]) for row in rows]
        frame = pd.DataFrame(
            {"sentence1": [r[0] for r in rows], "sentence2": [r[1] for r in rows], "score": values},
            dtype=object,
        )
        try:
            data = frame.to_parquet()
        except Exception:  # values that Parquet cannot hold: a good file instead
            data = pd.DataFrame(
                {"sentence1": ["a"], "sentence2": ["b"], "score": [1.0]}
            ).to_parquet()
    packing = dice.choice(["", "", *PACK])
    data = PACK[packing](mutate(data, dice))
    if packing:
        data = mutate(data, dice)
    return f".{kind}{packing}", data


class Data:
    """Data files, through the stages download and normalize."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, dice: random.Random) -> str:
        os.chdir(self.folder)
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        Path("own").mkdir()
        good = "".join(f"A dog {row}.,A cat.,{row % 6}\n" for row in range(30))
        for split in layout.SPLITS:
            Path(f"own/{split}.csv").write_text(f"sentence1,sentence2,score\n{good}", "utf-8")
        broken = dice.choice(["train", "test"])  # test is refused with fewer than ten pairs
        Path(f"own/{broken}.csv").unlink()
        ending, data = table(dice)
        Path(f"own/{broken}{ending}").write_bytes(data)
        section = {
            "source": "local",
            "path": "own",
            "score_range": [0, 5],
            "header": dice.random() < 0.9,
            "quotes": dice.random() < 0.8,
            "delimiter": dice.choice([None, None, None, "comma", "tab", "semicolon"]),
        }
        write_params(layout.PARAMS, {"data": section})
        stage = "download"
        try:
            download.main()
            stage = "normalize"
            normalize.main()
        except UserError:
            assert not layout.NORMALIZED.exists(), "normalized data of a refused input"
            assert stage == "normalize" or not layout.RAW.exists(), "raw data of a refused input"
            return "refused"
        finally:
            left = [str(path) for path in Path().rglob("*.tmp")]
            assert not left, f"left behind: {left}"
        for split in layout.SPLITS:
            pairs = Pairs.read(layout.normalized(split))
            assert len(pairs), "no pairs"
            assert ((pairs.score >= 0) & (pairs.score <= 1)).all(), "scores outside of [0, 1]"
            for text in pairs.sentences:
                assert isinstance(text, str), f"text {text!r}"
                assert text.strip() == text != "", f"text {text!r}"
        return "accepted"


class Parameters:
    """params.yaml: values exchanged, keys renamed, bytes mutated."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.text = (ROOT / layout.PARAMS).read_bytes()

    def __call__(self, dice: random.Random) -> str:
        path = self.folder / "params.yaml"
        if dice.random() < 0.3:
            path.write_bytes(mutate(self.text, dice))
        else:
            content = YAML(typ="safe").load(self.text)
            for _ in range(dice.choice([1, 1, 2, 5])):
                section = content
                while isinstance(section, dict) and section:
                    key = dice.choice(list(section))
                    if not isinstance(section[key], dict) or dice.random() < 0.1:
                        break
                    section = section[key]
                if not isinstance(section, dict) or not section:
                    continue
                what = dice.choice(["value", "value", "rename", "drop", "add"])
                if what == "value":
                    section[key] = dice.choice(PARAM_VALUES)
                elif what == "rename":
                    section[dice.choice([f"{key}s", "", 7, None, 1.5, True, "x" * 1000])] = (
                        section.pop(key)
                    )
                elif what == "drop":
                    section.pop(key)
                else:
                    section[dice.choice(["new", 3, None])] = dice.choice(PARAM_VALUES)
            with path.open("w", encoding="utf-8") as file:
                YAML(typ="safe").dump(content, file)
        try:
            params.load(path)
        except UserError as error:
            assert len(str(error)) < 20_000, "a message of more than 20,000 characters"
            return "refused"
        return "accepted"


class Arguments:
    """Arguments of `python -m splade_sts`; MLflow's store is where nothing can be written."""

    ARGUMENTS: ClassVar[list[str]] = [
        "score",
        "sync",
        "ui",
        "--file",
        "--model",
        "--json",
        "--port",
        "--branch",
        "--help",
        "-h",
        "--",
        "-1",
        "0",
        "65536",
        "5000x",
        "",
        " ",
        "A dog runs.",
        "nowhere.csv",
        "x.csv",
        "/",
        "x" * 5000,
        "a.parquet",
        "--port=-5",
        "--port=999999",
        "\udcff",
        "models/base",
        "..",
        "~",
        "demo",
        "--branch=--upload-pack=x",
        "--unknown",
    ]

    def __init__(self, folder: Path):
        self.folder = folder
        shutil.copy(ROOT / layout.PARAMS, folder)
        (folder / "x.csv").write_text("sentence1,sentence2\nA dog.,\n", encoding="utf-8")

    def __call__(self, dice: random.Random) -> str:
        os.chdir(self.folder)
        words = [
            dice.choice(self.ARGUMENTS[:3]),
            *(dice.choice(self.ARGUMENTS) for _ in range(dice.randrange(6))),
        ]
        sys.argv = ["splade_sts", *words]
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{self.folder / 'nowhere' / 'mlflow.db'}"
        with (
            contextlib.redirect_stderr(io.StringIO()) as said,
            contextlib.redirect_stdout(io.StringIO()),
        ):
            try:
                command_line.main()
            except SystemExit as end:
                text = f"{end.code}{said.getvalue()}"
                assert "Traceback" not in text, text
                return "accepted" if end.code in (0, None) else "refused"
        return "accepted"


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


class Models:
    """Model folders, whole and broken and malicious, through every loader.

    One to three accidents happen to a good folder, of the families below. Where a folder is
    accepted, loading it again with another random seed must give the same weights, all of them
    finite, and our settings; a sentence must have the same vector alone and in a batch. No payload
    may have run, no file beside the folder been opened.
    """

    ANOTHER = "elsewhere"  # a folder beside the model, with the files of a good one
    OUTSIDE: ClassVar[list[str]] = [
        "../elsewhere/tokenizer.json",
        "../elsewhere/model.safetensors",
        "../elsewhere/vocab.txt",
        "../elsewhere",
        "x/../../elsewhere/config.json",
        "/etc/passwd",
        "..",
        "..\\elsewhere",
        "link/../../elsewhere/config.json",
    ]
    WISHES: ClassVar[list[tuple[str, Any]]] = [
        ("auto_map", {"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"}),
        ("trust_remote_code", True),
        ("weights_only", False),
        ("model_kwargs", {"weights_only": False, "dtype": "auto"}),
        ("model_args", {"weights_only": False}),
        ("model_kwargs", {"device_map": "disk", "offload_folder": "../elsewhere/new"}),
        ("model_kwargs", {"dtype": "float16"}),
        ("processor_kwargs", {"tokenizer_file": "../elsewhere/tokenizer.json"}),
        ("config_kwargs", {"transformers_weights": "../elsewhere/model.safetensors"}),
        ("tokenizer_name_or_path", "../elsewhere"),
        ("transformers_weights", "../elsewhere/model.safetensors"),
        ("tokenizer_file", "../elsewhere/tokenizer.json"),
        ("vocab_file", "../elsewhere/vocab.txt"),
        ("fast_tokenizer_files", ["../elsewhere/tokenizer.4.0.json"]),
        ("attn_implementation", "somebody/kernel"),
        ("_attn_implementation", "flex_attention"),
        ("model_kwargs", {"attn_implementation": "flash_attention_2"}),
        ("quantization_config", {"quant_method": "bitsandbytes", "load_in_8bit": True}),
        ("fusion_config", {"x": True}),
        ("dtype", "float16"),
        ("max_active_dims", 2),
        ("truncate_dim", 2),
        ("default_prompt_name", "query"),
        ("prompts", {"query": "find: "}),
        ("similarity_fn_name", "dot"),
        ("model_type", "SentenceTransformer"),
        ("transformer_task", "feature-extraction"),
        ("transformer_task", "text-generation"),
        ("tie_word_embeddings", False),
        ("is_decoder", True),
        ("architectures", ["BertModel"]),
        ("architectures", None),
    ]
    # Settings that change the vectors, by the files that have them; some of them are good.
    LENGTHS: ClassVar[list[Any]] = [0, 1, 3, 8, 64, 256, 10**30, -1, None, "8", [8], 2.5]
    POOLINGS: ClassVar[list[dict[str, Any]]] = [
        {"pooling_strategy": "sum"},
        {"pooling_strategy": "mean"},
        {"activation_function": "log1p_relu"},
        {"activation_function": "tanh"},
        {"chunk_size": 1},
        {"pooling_mode": "cls"},
        {"pooling_mode": ["max", "mean"]},
        {"pooling_mode": "weightedmean", "pooling_mode_mean_tokens": False},
        {"include_prompt": False},
        {"embedding_dimension": 3},
        {"module_input_name": "token_embeddings"},
        {"module_output_name": "x"},
        {"p": 1},
    ]
    LAYERS: ClassVar[list[dict[str, Any]]] = [
        {},
        {"in_features": 5},
        {"out_features": 10**6},
        {"in_features": 10**5, "out_features": 10**5},
        {"use_residual": True},
        {"module_output_name": "x"},
        {"module_input_name": "token_embeddings"},
        {"activation_function": "torch.nn.modules.linear.Identity"},
        {"activation_function": "torch.nn.modules.activation.MultiheadAttention"},
        {"activation_function": "evil.Evil"},
        {"scale": 2},
    ]
    SIZES: ClassVar[list[str]] = [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "type_vocab_size",
        "num_labels",
    ]

    def __init__(self, folder: Path):
        from safetensors.torch import load_file

        from splade_sts.model.conversion import convert_dense
        from splade_sts.model.encoder import load_dense

        folder = folder.resolve()
        self.home, self.folder, self.good = folder, folder / "model", folder / "good"
        self.marker = folder / "ran"
        bert = make_encoder(self.good / "bert")
        model = convert_dense(bert, WORDS, 4, 32)
        model.save_pretrained(str(self.good / "splade"), create_model_card=False)
        dense = load_dense(bert, "cpu")
        dense.save_pretrained(str(self.good / "dense"), create_model_card=False)
        plain = self.good / "plain"  # as on the Hub: pickled weights, no modules.json
        shutil.copytree(self.good / "splade", plain)
        self._pickle(plain, load_file(plain / "model.safetensors"))
        for name in ("modules.json", "sentence_bert_config.json"):
            (plain / name).unlink()
        shutil.copytree(bert, folder / self.ANOTHER)
        tokenizer = folder / self.ANOTHER / "tokenizer.json"
        shutil.copy(tokenizer, tokenizer.with_name("tokenizer.4.0.json"))
        self.opened: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note which files are opened by Python beside the model."""
        if event == "open" and isinstance(arguments[0], str):
            try:
                path = Path(arguments[0]).resolve()
            except RuntimeError:  # a link to itself
                return
            if path.is_relative_to(self.home) and not path.is_relative_to(self.folder):
                self.opened.append(str(path))

    def __call__(self, dice: random.Random) -> str:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.marker, ignore_errors=True)
        kind = dice.choice(["splade", "splade", "dense", "bert", "plain"])
        shutil.copytree(self.good / kind, self.folder)
        families = [
            *(self._values, self._values, self._bytes, self._wish, self._path),
            *(self._link, self._weights, self._weights, self._payload, self._size),
            *(self._modules, self._modules, self._holes, self._length, self._pooling, self._types),
            self._padding,
        ]
        for _ in range(dice.choice([0, 1, 1, 1, 2, 3])):
            paths = list(self.folder.rglob("*"))
            # whoever reads a pipe waits for ever; accidents read what they change
            if any(path.is_fifo() or path.lstat().st_size > LONGEST_FILE for path in paths):
                break
            if any(path.is_file() for path in paths):
                dice.choice(families)(dice)
        before = {path: path.stat().st_mtime_ns for path in (self.home / self.ANOTHER).iterdir()}
        self.opened.clear()
        try:
            loaded = self._load(kind, dice.random())
        except UserError as error:
            assert len(str(error)) < 20_000, "a message of more than 20,000 characters"
            assert str(self.folder) in str(error), "a message without the folder"
            assert not memory_problem(error.__cause__), f"refused for want of memory: {error}"
            loaded = False
        assert not self.marker.exists(), "a payload has run"
        assert not self.opened, f"opened outside of the model's folder: {self.opened}"
        after = {path: path.stat().st_mtime_ns for path in (self.home / self.ANOTHER).iterdir()}
        assert after == before, "a file was written outside of the model's folder"
        return "accepted" if loaded else "refused"

    def _load(self, kind: str, chance: float) -> bool:
        import torch

        from splade_sts.controls.dense import DenseControl
        from splade_sts.model.conversion import convert_dense
        from splade_sts.model.encoder import ALONE, load_dense, load_encoder
        from splade_sts.model.splade import load_splade

        # `load_encoder` and `load_dense` take the length from the folder; who calls them sets it.
        sparse: list[Callable[[], Any]] = [
            lambda: load_splade(self.folder, 32),
            lambda: load_encoder(self.folder),
        ]
        dense: list[Callable[[], Any]] = [
            lambda: DenseControl(str(self.folder), None, 32).model,
            lambda: load_dense(self.folder),
            lambda: convert_dense(self.folder, ["a dog runs", "a cat sits"], 4, 32),
        ]
        others, own = (sparse, dense) if kind in ("dense", "bert") else (dense, sparse)
        loaders = own if chance < 0.9 else others
        number = round(chance * 100) % len(loaders)
        load = loaders[number]
        torch.manual_seed(1)
        model = load()
        torch.manual_seed(2)
        again = load().state_dict()
        for name, weight in model.state_dict().items():
            if "pooler." not in name:  # random where it is missing, and never read
                assert torch.equal(weight, again[name]), f"{name} is another one each time"
            assert not weight.is_floating_point() or weight.isfinite().all(), f"{name} not finite"
        assert model.similarity_fn_name == "cosine", "the model's own similarity"
        assert set(model.prompts.values()) <= {""}, "the model's own prompts"
        assert model.default_prompt_name is None, "the model's own default prompt"
        for key in ("max_active_dims", "truncate_dim"):
            assert getattr(model, key, None) is None, f"the model's own {key}"
        attention = model[0].auto_model.config._attn_implementation
        assert attention in ("eager", "sdpa"), f"the model's own attention {attention}"
        types = {parameter.dtype for parameter in model.parameters()}
        assert types == {torch.float32}, f"the model's own types {types}"
        if number != 1:
            assert model.max_seq_length == 32, f"the model's own length {model.max_seq_length}"
        self._check_files(model, converted=number == 2)
        vectors = model.encode(["a dog runs", ""], convert_to_tensor=True).to_dense()
        if not vectors.isfinite().all():  # an evaluation refuses what overflows for some word
            return False
        long = " ".join(WORDS[:20])
        alone, beside = (
            model.encode(texts, convert_to_tensor=True).to_dense()[0]
            for texts in (["a dog runs"], ["a dog runs", long])
        )
        apart, length = float(torch.dist(alone, beside)), float(alone.norm())
        assert apart <= ALONE * max(1.0, length), f"{apart} apart alone and in a batch"
        return True

    def _check_files(self, model: Any, converted: bool) -> None:
        """What was accepted is what the files say: real numbers, in files without holes, and how
        the tokens are pooled. A conversion reads the transformer alone.
        """
        from safetensors.torch import load_file

        for path in self.folder.rglob("*"):
            if path.is_file():
                taken = path.stat().st_blocks * 512
                assert 2 * taken >= path.stat().st_size, f"{path} is mostly holes"
        modules = self.folder / "modules.json"
        places = [""]
        if modules.is_file() and not converted:
            content = json.loads(modules.read_bytes())
            names = [module["name"] for module in content]
            places = [module["path"] for module in content]
            assert len(set(names)) == len(names), "two modules of one name"
            assert len(set(places)) == len(places), "two modules in one folder"
            assert len(model) in (2, len(names)), "other modules than modules.json names"
        for place in places:
            path = self.folder / place / "model.safetensors"
            for name, weight in load_file(path).items() if path.is_file() else ():
                real = weight.is_floating_point() and weight.element_size() > 1
                assert real or name.endswith("_ids"), f"{path}: {name} is {weight.dtype}"
        pooling = self.folder / "1_SpladePooling" / "config.json"
        pools = hasattr(model[1], "pooling_strategy") and modules.is_file()
        if pools and pooling.is_file() and not converted:
            for key, value in json.loads(pooling.read_bytes()).items():
                if key in ("pooling_strategy", "activation_function"):
                    assert getattr(model[1], key) == value, f"another {key}"

    def _file(self, dice: random.Random, ending: str = "") -> Path:
        files = [path for path in sorted(self.folder.rglob(f"*{ending}")) if path.is_file()]
        return dice.choice(files) if files else self.folder / "config.json"

    def _json(self, dice: random.Random) -> tuple[Path, Any]:
        """One of the JSON files with its content; None where that is broken already."""
        path = self._file(dice, ".json")
        if path.name == "tokenizer.json" and dice.random() < 0.7:
            path = self.folder / "config.json"
        try:
            return path, json.loads(path.read_bytes())
        except (ValueError, OSError):
            return path, None

    def _place(self, dice: random.Random, content: Any) -> tuple[Any, Any] | None:
        """A dictionary or list in the content, and a key of it."""
        section = content
        while section and isinstance(section, (dict, list)):
            keys = list(section) if isinstance(section, dict) else range(len(section))
            key = dice.choice(list(keys))
            deeper = isinstance(section[key], (dict, list)) and section[key]
            if not deeper or dice.random() < 0.6:
                return section, key
            section = section[key]
        return None

    def _values(self, dice: random.Random) -> None:
        """Another value somewhere in a JSON file."""
        path, content = self._json(dice)
        if place := self._place(dice, content):
            place[0][place[1]] = dice.choice(CONFIG_VALUES)
            path.write_text(json.dumps(content), encoding="utf-8")

    def _bytes(self, dice: random.Random) -> None:
        """A file that is missing, or bytes of it changed."""
        path = self._file(dice)
        if dice.random() < 0.2:
            path.unlink(missing_ok=True)
        elif path.is_file():
            path.write_bytes(mutate(path.read_bytes(), dice))

    def _wish(self, dice: random.Random) -> None:
        """A key that asks for code, another way to the weights, or settings of its own."""
        path, content = self._json(dice)
        (self.folder / "evil.py").write_text(f"open({str(self.marker)!r}, 'w')\n")
        if isinstance(content, dict):
            key, value = dice.choice(self.WISHES)
            content[key] = value
            path.write_text(json.dumps(content), encoding="utf-8")

    def _path(self, dice: random.Random) -> None:
        """A path outside, as some value, in a list, or under the name of a file's key."""
        path, content = self._json(dice)
        if path.name == "tokenizer.json" or content is None:
            return
        outside = dice.choice(self.OUTSIDE)
        kind = dice.choice(["value", "list", "key", "index"])
        if kind == "index":
            names = dict.fromkeys(["bert.x", "unk_token", "content", "name_or_path"], outside)
            index = self.folder / "model.safetensors.index.json"
            index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
            (self.folder / "model.safetensors").unlink(missing_ok=True)
        elif kind == "key" and isinstance(content, dict):
            key = dice.choice(["tokenizer_file", "vocab", "merges", "merges_file", "spm_file", "x"])
            content[key] = outside
            path.write_text(json.dumps(content), encoding="utf-8")
        elif place := self._place(dice, content):
            place[0][place[1]] = [outside] if kind == "list" else outside
            path.write_text(json.dumps(content), encoding="utf-8")

    def _link(self, dice: random.Random) -> None:
        """A file or folder that is a link, to inside or outside or nowhere, or a pipe."""
        path = self._file(dice)
        if not path.exists():
            return
        if dice.random() < 0.3 and path.parent != self.folder:
            path = path.parent
        kept = self.home / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        kind = dice.choice(["outside", "elsewhere", "inside", "nowhere", "loop", "pipe"])
        moved = self.folder / "moved" if kind == "inside" else kept / path.name
        if moved.exists():
            return
        path.rename(moved)
        if kind == "pipe":
            os.mkfifo(path)
        else:
            other = self.home / self.ANOTHER / path.name
            targets = {"outside": moved, "elsewhere": other, "inside": moved, "loop": path}
            path.symlink_to(targets.get(kind, self.home / "nowhere"))

    def _weights(self, dice: random.Random) -> None:
        """Weights that are missing, renamed, of another model, or broken."""
        import torch
        from safetensors.torch import load_file, save_file

        path = self.folder / "model.safetensors"
        pickled = self.folder / "pytorch_model.bin"
        try:
            weights = load_file(path) if path.is_file() else torch.load(pickled, weights_only=True)
            key = dice.choice(sorted(weights))
            tensor = weights[key]
        except Exception:  # broken or gone by an accident before this one
            return
        kind = dice.choice(
            ["drop", "head", "layer", "prefix", "nan", "inf", "shape", "extra", "none", "half"]
        )
        if kind == "drop":
            del weights[key]
        elif kind in ("head", "layer"):
            part = "cls." if kind == "head" else "layer.1."
            weights = {name: value for name, value in weights.items() if part not in name}
        elif kind == "prefix":
            prefix = dice.choice(["x.", "bert.", "model.", "bert.bert."])
            weights = {f"{prefix}{name}": value for name, value in weights.items()}
        elif kind in ("nan", "inf") and tensor.is_floating_point():
            tensor.view(-1)[dice.randrange(tensor.numel())] = float(kind)
        elif kind == "shape":
            weights[key] = dice.choice([tensor[:1], tensor[..., :-1], tensor.flatten()]).clone()
        elif kind == "extra":
            name = key.replace("layer.1", "layer.2").replace("word", "sense")
            weights[dice.choice([f"{key}.x", name, "cls.x.weight", "pooler.x"])] = tensor.clone()
        elif kind == "none":
            weights = {}
        elif kind == "half":
            type_ = dice.choice([torch.float16, torch.bfloat16, torch.float64, torch.int64])
            weights = {name: value.nan_to_num(0).to(type_) for name, value in weights.items()}
        if path.is_file():
            save_file(weights, path, metadata={"format": "pt"})
        else:
            torch.save(weights, pickled)

    def _payload(self, dice: random.Random) -> None:
        """A pickle that makes a folder, where weights or other files are looked for."""
        import torch
        from safetensors.torch import load_file

        path = self.folder / "model.safetensors"
        kind = dice.choice(["weights", "plain", "legacy", "metadata", "beside", "dense"])
        try:
            weights = load_file(path)
        except Exception:  # broken or gone by an accident before this one
            weights = {}
        if kind in ("weights", "legacy"):
            self._pickle(
                self.folder,
                {**weights, "evil": Payload(self.marker)},
                _use_new_zipfile_serialization=kind == "weights",
            )
            if dice.random() < 0.5:
                settings = {"model_kwargs": {"weights_only": False, "dtype": "auto"}}
                (self.folder / "sentence_bert_config.json").write_text(json.dumps(settings))
            if dice.random() < 0.5:
                file, content = self.folder / "config.json", {}
                with contextlib.suppress(ValueError, OSError):
                    content = json.loads(file.read_bytes())
                content.pop("dtype", None) if isinstance(content, dict) else None
                file.unlink(missing_ok=True)
                file.write_text(json.dumps(content))
        elif kind == "plain":
            path.unlink(missing_ok=True)
            name = dice.choice(["pytorch_model.bin", "model.safetensors", "tokenizer.json"])
            (self.folder / name).unlink(missing_ok=True)
            (self.folder / name).write_bytes(pickle.dumps(Payload(self.marker)))
        elif kind == "metadata":
            if path.is_file():
                path.rename(self.folder / "shard-00000-model-00001-of-00001.safetensors")
            (self.folder / ".metadata").write_bytes(pickle.dumps(Payload(self.marker)))
        elif kind == "dense":
            layer = self.folder / "2_Dense"
            layer.mkdir(exist_ok=True)
            torch.save({"linear.weight": Payload(self.marker)}, layer / "pytorch_model.bin")
            sizes = {"in_features": 32, "out_features": 4}
            (layer / "config.json").write_text(json.dumps(sizes))
            kinds = "sentence_transformers.models"
            names = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
            modules = [
                {"idx": number, "name": str(number), "path": place, "type": f"{kinds}.{name}"}
                for number, (place, name) in enumerate(names.items())
            ]
            (self.folder / "modules.json").unlink(missing_ok=True)
            (self.folder / "modules.json").write_text(json.dumps(modules))
        else:
            for name in ("optimizer.pt", "training_args.bin", "rng_state.pth", "vocab.pkl"):
                (self.folder / name).write_bytes(pickle.dumps(Payload(self.marker)))

    def _size(self, dice: random.Random) -> None:
        """A size in config.json that is none of the weights'."""
        path = self.folder / "config.json"
        try:
            content = json.loads(path.read_bytes())
            key = dice.choice(self.SIZES)
            was = content.get(key, 2)
            content[key] = dice.choice(
                [was + 1, was - 1, was * 2, was * 1000, 10**5, 10**7, 2**31, 10**12, 0, -1]
            )
        except Exception:  # broken or gone by an accident before this one
            return
        path.write_text(json.dumps(content), encoding="utf-8")

    def _change(self, path: Path, values: dict[str, Any]) -> None:
        """Set keys of a JSON file, if it still is an object."""
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, OSError):  # broken or gone by an accident before this one
            return
        if isinstance(content, dict):
            path.write_text(json.dumps({**content, **values}), encoding="utf-8")

    def _modules(self, dice: random.Random) -> None:
        """Modules twice, of one name, in one folder, in another order, left out, or more of them,
        with a layer that may have no weights, or others than it says.
        """
        import torch
        from safetensors.torch import save_file

        path = self.folder / "modules.json"
        try:
            modules = json.loads(path.read_bytes())
            one = dict(dice.choice(modules))
        except Exception:  # broken or gone by an accident before this one, or never there
            return
        number = len(modules)
        kind = dice.choice(["name", "folder", "twice", "order", "drop", "layer", "layer", "copy"])
        name = one["name"] if kind == "name" or dice.random() < 0.1 else str(number)
        if kind in ("name", "twice"):
            place = one["path"] if kind == "twice" else f"{number}_More"
            modules.append({**one, "idx": number, "name": name, "path": place})
        elif kind == "folder":
            spelled = dice.choice([one["path"], f"./{one['path']}", f"{one['path']}/", "x/.."])
            modules.append({**one, "idx": number, "name": name, "path": spelled})
        elif kind == "order":
            dice.shuffle(modules)
        elif kind == "drop":
            modules.remove(dice.choice(modules))
        elif kind == "copy":  # a whole second model, that would be loaded by its own files
            place = f"{number}_Transformer"
            source = dice.choice(["splade", "bert"])
            shutil.copytree(self.good / source, self.folder / place, dirs_exist_ok=True)
            modules.append({**modules[0], "idx": number, "name": name, "path": place})
            if dice.random() < 0.5:
                self._change(self.folder / place / "config.json", {"vocab_size": 10**7})
                self._stretch(self.folder / place / "model.safetensors", dice)
        else:
            place = f"{number}_{dice.choice(['Dense', 'Normalize'])}"
            kinds = "sentence_transformers.models"
            module = {"idx": number, "name": name, "path": place}
            modules.append({**module, "type": f"{kinds}.{place.split('_')[1]}"})
            home = self.folder / place
            home.mkdir(exist_ok=True)
            if place.endswith("Dense"):
                settings = {"in_features": 32, "out_features": 4, **dice.choice(self.LAYERS)}
                weights = {"linear.weight": torch.ones(4, 32), "linear.bias": torch.zeros(4)}
                if dice.random() < 0.3:
                    weights["linear.weight"] = weights["linear.weight"].to(self._unreal(dice))
                if dice.random() < 0.5:
                    save_file(weights, home / "model.safetensors")
                elif dice.random() < 0.7:
                    torch.save(weights, home / "pytorch_model.bin")
                    if dice.random() < 0.5:
                        self._pack(home / "pytorch_model.bin")
            else:
                settings = dice.choice([{}, {}, *self.POOLINGS[-3:]])
            (home / "config.json").write_text(json.dumps(settings))
        path.write_text(json.dumps(modules), encoding="utf-8")

    @staticmethod
    def _pack(path: Path) -> None:
        """Compress a pickled file, as PyTorch reads and never writes it."""
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in parts.items():
                archive.writestr(name, content)

    def _holes(self, dice: random.Random) -> None:
        """A file that goes on with nothing."""
        self._stretch(self._file(dice, dice.choice(["", "", ".safetensors", ".txt"])), dice)

    @staticmethod
    def _stretch(path: Path, dice: random.Random) -> None:
        """Make a file long; with a header that says so, where it has one."""
        if not path.is_file():
            return
        if path.suffix == ".safetensors" and dice.random() < 0.7:
            kind, width = dice.choice([("F32", 4), ("F16", 2), ("I8", 1), ("C64", 8)])
            name = dice.choice(["linear.weight", "embeddings.word_embeddings.weight", "pooler.x"])
            rows = LONG // (32 * width)
            claim = {"dtype": kind, "shape": [rows, 32], "data_offsets": [0, rows * 32 * width]}
            header = json.dumps({name: claim}).encode()
            path.write_bytes(len(header).to_bytes(8, "little") + header)
            os.truncate(path, 8 + len(header) + rows * 32 * width)
        else:
            os.truncate(path, dice.choice([path.stat().st_size + 2**16, 2**24, LONG]))

    def _length(self, dice: random.Random) -> None:
        """A longest input of the model's own, where the libraries look for one."""
        name, key = dice.choice(
            [
                ("sentence_bert_config.json", "max_seq_length"),
                ("tokenizer_config.json", "model_max_length"),
                ("tokenizer_config.json", "truncation_side"),
                ("sentence_bert_config.json", "processor_kwargs"),
            ]
        )
        length = dice.choice(self.LENGTHS)
        values = {"truncation_side": "left", "processor_kwargs": {"model_max_length": length}}
        self._change(self.folder / name, {key: values.get(key, length)})

    def _pooling(self, dice: random.Random) -> None:
        """Another way to make a vector of tokens."""
        folders = [path for path in sorted(self.folder.glob("[0-9]_*")) if path.is_dir()]
        if folders:
            self._change(dice.choice(folders) / "config.json", dice.choice(self.POOLINGS))

    def _padding(self, dice: random.Random) -> None:
        """Padding elsewhere, of another token, or without a mask, where the libraries look."""
        side = dice.choice(["left", "left", "right", "both", None])
        token = dice.choice(["[PAD]", "[UNK]", "a"])
        fast = {
            "strategy": dice.choice(["BatchLongest", {"Fixed": 20}]),
            "direction": "Left",
            "pad_to_multiple_of": dice.choice([None, 8]),
            "pad_id": dice.choice([0, 5]),
            "pad_type_id": dice.choice([0, 1]),
            "pad_token": token,
        }
        names = [["input_ids"], ["input_ids", "token_type_ids"], ["attention_mask"], "input_ids"]
        changes: list[tuple[str, dict[str, Any]]] = [
            ("tokenizer_config.json", {"padding_side": side}),
            ("tokenizer_config.json", {"pad_token": token}),
            ("tokenizer_config.json", {"model_input_names": dice.choice(names)}),
            ("sentence_bert_config.json", {"processor_kwargs": {"padding_side": side}}),
            ("tokenizer.json", {"padding": fast}),
        ]
        name, values = dice.choice(changes)
        self._change(self.folder / name, values)

    @staticmethod
    def _unreal(dice: random.Random) -> Any:
        """A type of numbers that no weight has."""
        import torch

        kinds = ["complex64", "int8", "uint8", "int64", "bool", "float8_e4m3fn"]
        return getattr(torch, dice.choice(kinds))

    def _types(self, dice: random.Random) -> None:
        """One weight, or all, of a type that no weight has; pickled, in a shard, or as before."""
        from safetensors.torch import load_file, save_file

        path = self.folder / "model.safetensors"
        try:
            weights = load_file(path)
            names = dice.choice([[dice.choice(sorted(weights))], list(weights)])
        except Exception:  # broken or gone by an accident before this one
            return
        kind = self._unreal(dice)
        weights |= {name: weights[name].nan_to_num(0).to(kind) for name in names}
        form = dice.choice(["as it was", "pickled", "shard"])
        if form == "pickled":
            self._pickle(self.folder, weights)
            return
        save_file(weights, path, metadata={"format": "pt"})
        if form == "shard":
            shard = path.rename(self.folder / "model-00001-of-00001.safetensors")
            index = {"metadata": {}, "weight_map": dict.fromkeys(weights, shard.name)}
            place = self.folder / "model.safetensors.index.json"
            place.unlink(missing_ok=True)
            place.write_text(json.dumps(index))

    @staticmethod
    def _pickle(folder: Path, weights: dict[str, Any], **options: Any) -> None:
        import torch

        for path in (folder / "model.safetensors", folder / "pytorch_model.bin"):
            path.unlink(missing_ok=True)
        torch.save(weights, folder / "pytorch_model.bin", **options)


TARGETS: dict[str, Callable[[Path], Callable[[random.Random], str]]] = {
    "data": Data,
    "params": Parameters,
    "arguments": Arguments,
    "models": Models,
}


@dataclass(frozen=True)
class Finding:
    """An input that was neither accepted nor refused as it should be."""

    target: str
    number: int
    error: str
    traceback: str


@dataclass
class Figures:
    """What came of the inputs of a target: how many were accepted, refused and findings."""

    inputs: int
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    longest_call_seconds: float = 0.0


def run(name: str, numbers: range, seed: int) -> dict[str, Any]:
    """Feed a target the inputs of these numbers; its `Figures`."""
    figures = Figures(len(numbers))
    before = Path.cwd(), list(sys.argv), dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        target = TARGETS[name](Path(folder))
        try:
            for number in numbers:
                feed(target, name, number, seed, figures)
        finally:
            os.chdir(before[0])
            sys.argv = before[1]
            os.environ.clear()
            os.environ.update(before[2])
    return {"figures": figures}


def feed(
    target: Callable[[random.Random], str], name: str, number: int, seed: int, figures: Figures
) -> None:
    """Feed one input, and add what came of it to `figures`."""
    start, before = time.perf_counter(), _peak()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            figures.outcomes[target(random.Random(f"{seed}/{name}/{number}"))] += 1
    except Exception as error:
        said = f"{type(error).__name__}: {str(error)[:300]}"
        figures.findings.append(Finding(name, number, said, traceback.format_exc()))
    seconds = time.perf_counter() - start
    figures.seconds += seconds
    figures.longest_call_seconds = max(figures.longest_call_seconds, seconds)
    if seconds > LONGEST:
        figures.findings.append(Finding(name, number, f"took {seconds:.1f} s", ""))
    if (taken := _peak()) > max(before, PEAK):
        figures.findings.append(Finding(name, number, f"took {taken / 2**30:.1f} GiB", ""))


def _peak() -> int:
    """The most memory that this process ever had, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs=2, metavar=("TARGET", "NUMBER"), help="repeat one input")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    if arguments.only:
        name, number = arguments.only[0], int(arguments.only[1])
        plan = {name: range(number, number + 1)}
    else:
        plan = {name: range(round(arguments.inputs * share)) for name, share in SHARES.items()}
    rows: list[dict[str, Any]] = []
    findings: list[Finding] = []
    for name, numbers in plan.items():
        measured = in_process(run, name=name, numbers=numbers, seed=arguments.seed)
        found: Figures = measured["figures"]
        findings += found.findings
        rows.append(
            {
                "target": name,
                "inputs": found.inputs,
                "refused": found.outcomes["refused"],
                "accepted": found.outcomes["accepted"],
                "findings": len(found.findings),
                "seconds": round(found.seconds, 1),
                "longest_call_seconds": round(found.longest_call_seconds, 2),
                "peak_memory_mib": round(measured["peak_memory_mib"]),
            }
        )
        print(rows[-1], flush=True)
    for finding in findings:
        where = f"--only {finding.target} {finding.number} --seed {arguments.seed}"
        print(f"\n{where}: {finding.error}\n{finding.traceback}")
    idle = [row["target"] for row in rows if row["inputs"] >= MANY and not row["accepted"]]
    if idle:
        print(f"\nno input was accepted, so nothing behind the refusals was tested: {idle}")
    if arguments.json:
        write(arguments.json, {"machine": machine(), "seed": arguments.seed, "rows": rows})
    sys.exit(1 if findings or idle else 0)


if __name__ == "__main__":
    main()
