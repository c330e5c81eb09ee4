"""Feed the project broken inputs.

    python -m benchmarks.fuzz [--inputs 10000] [--seed 0] [--only TARGET NUMBER] [--json FILE]

Every input is made from the seed and its number by mutation of a good one, and is handed to the
real code in this process: data files to the stages download and normalize, params.yaml to its
reader, model folders to the loaders, arguments to the command line. Allowed are a good result and a
`UserError` (for arguments also argparse's own refusal); any other exception, a partial output, a
result that breaks the promises of the normalized data, a call of more than `LONGEST` seconds or
memory beyond `MEMORY` is a finding. The address space is limited, so that a bomb is a MemoryError
and not the end of the machine. A finding prints its number: `--only TARGET NUMBER` repeats it.

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

from benchmarks.common import ROOT, write
from benchmarks.tiny import WORDS, make_encoder, write_params
from splade_sts import cli as command_line
from splade_sts import layout, params
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from stages import download, normalize

LONGEST = 20.0  # seconds
MEMORY = 8 * 2**30  # bytes of address space, PyTorch's libraries included
SHARES = {"data": 0.5, "params": 0.3, "arguments": 0.1, "models": 0.1}

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
PACK = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": lambda data: _zip(data),
}
PARAM_VALUES = [
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
        for split in ("train", "validation"):
            good = "sentence1,sentence2,score\nA dog.,A cat.,1\n"
            Path(f"own/{split}.csv").write_text(good, encoding="utf-8")
        ending, data = table(dice)
        Path(f"own/test{ending}").write_bytes(data)
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


class Models:
    """Model folders with values exchanged and files mutated or missing, loaded as base model."""

    def __init__(self, folder: Path):
        from splade_sts.model.conversion import convert_dense

        self.folder, self.good = folder / "model", folder / "good"
        model = convert_dense(make_encoder(folder / "dense"), WORDS, 4, 32)
        model.save_pretrained(str(self.good), create_model_card=False)

    def __call__(self, dice: random.Random) -> str:
        from splade_sts.model.conversion import convert_dense
        from splade_sts.model.splade import load_splade

        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.good, self.folder)
        for _ in range(dice.choice([1, 1, 2, 3])):
            path = dice.choice(sorted(path for path in self.folder.rglob("*") if path.is_file()))
            try:
                content = json.loads(path.read_bytes())
            except ValueError:  # no JSON, or not any more
                content = None
            if content and dice.random() < 0.75:
                section = content
                while section and isinstance(section, (dict, list)):
                    key = dice.choice(
                        list(section) if isinstance(section, dict) else range(len(section))
                    )
                    if (
                        dice.random() < 0.6
                        or not isinstance(section[key], (dict, list))
                        or not section[key]
                    ):
                        section[key] = dice.choice(CONFIG_VALUES)
                        break
                    section = section[key]
                path.write_text(json.dumps(content), encoding="utf-8")
            elif dice.random() < 0.2:
                path.unlink()
            else:
                path.write_bytes(mutate(path.read_bytes(), dice))
            if not any(path.is_file() for path in self.folder.rglob("*")):
                break
        try:
            if dice.random() < 0.8:
                load_splade(self.folder, 32)
            else:
                convert_dense(self.folder, ["a dog runs", "a cat sits"], 4, 32)
        except UserError:
            return "refused"
        return "accepted"


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


def run(name: str, numbers: range, seed: int) -> Figures:
    """Feed a target the inputs of these numbers."""
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
    return figures


def feed(
    target: Callable[[random.Random], str], name: str, number: int, seed: int, figures: Figures
) -> None:
    """Feed one input, and add what came of it to `figures`."""
    start = time.perf_counter()
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
    rows: dict[str, dict[str, Any]] = {}
    findings: list[Finding] = []
    for name, numbers in plan.items():
        found = run(name, numbers, arguments.seed)
        findings += found.findings
        rows[name] = {
            "inputs": found.inputs,
            **found.outcomes,
            "findings": len(found.findings),
            "seconds": round(found.seconds, 1),
            "longest_call_seconds": round(found.longest_call_seconds, 2),
            "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
        print(f"{name}: {rows[name]}", flush=True)
    for finding in findings:
        where = f"--only {finding.target} {finding.number} --seed {arguments.seed}"
        print(f"\n{where}: {finding.error}\n{finding.traceback}")
    if arguments.json:
        write(arguments.json, rows)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
