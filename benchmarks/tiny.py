"""A tiny encoder, random pairs in its vocabulary, and a project that runs in a minute."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from benchmarks.common import ROOT
from splade_sts import layout
from splade_sts.data.pairs import Pairs
from splade_sts.data.stored import PART

WORDS = (
    "a the man woman dog cat child is are was runs walks sits plays eats sleeps in on at with red "
    "blue green small big park house street ball car tree guitar piano bread apple river train "
    "fast slowly happy old young two three"
).split()
# What a run leaves in Git.
RESULTS = ("dvc.lock", "metrics/")


def make_encoder(folder: Path) -> Path:
    """Write a random dense BERT encoder of 2 layers and 32 dimensions; return its folder."""
    import torch
    from transformers.models.bert import BertConfig, BertModel, BertTokenizer

    folder.mkdir(parents=True)
    letters = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *WORDS, *letters]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def make_splade(folder: Path) -> Path:
    """Write that encoder as a SPLADE model with 8 active dimensions; return its folder."""
    from splade_sts.model.conversion import convert_dense

    dense = make_encoder(folder / "dense")
    model = convert_dense(dense, random_pairs(100).sentences, 8, 32)
    model.save_pretrained(str(folder / "splade"), create_model_card=False)
    return folder / "splade"


def random_pairs(count: int, words: int = 6, seed: int = 0) -> Pairs:
    """Pairs of random sentences; the score is the share of positions with the same word."""
    dice = random.Random(seed)
    first, second, scores = [], [], []
    for _ in range(count):
        left = dice.choices(WORDS, k=words)
        kept = dice.randint(0, words)
        right = left[:kept] + dice.choices(WORDS, k=words - kept)
        first.append(" ".join(left))
        second.append(" ".join(right))
        scores.append(sum(a == b for a, b in zip(left, right, strict=True)) / words)
    return Pairs(first, second, np.array(scores))


def random_parts(count: int, words: int = 6) -> Iterator[Pairs]:
    """`count` random pairs, no more than a part held at a time."""
    for seed, start in enumerate(range(0, count, PART)):
        yield random_pairs(min(PART, count - start), words, seed)


def environment() -> dict[str, str]:
    """As a user would have it: this interpreter first on PATH, no Git settings, no network."""
    people = [
        f"GIT_{role}_{part}" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")
    ]
    found = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    for name in ("DVC_ROOT", "PYTHONPATH"):
        found.pop(name, None)
    return {
        **found,
        **dict.fromkeys(people, "benchmark@example.org"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "HF_HUB_OFFLINE": "1",
    }


def output_of(command: list[str], folder: Path) -> str:
    """What a command prints in `environment`.

    Raises:
        RuntimeError: it fails; with what it said.
    """
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def write_params(path: Path, changes: dict[str, dict[str, Any]]) -> None:
    """Write the project's params.yaml with `changes`, by section and key, to `path`."""
    yaml = YAML()
    content = yaml.load(ROOT / layout.PARAMS)
    for section, values in changes.items():
        content[section].update(values)
    yaml.dump(content, path)


def make_project(folder: Path, encoder: Path, train: dict[str, Any]) -> None:
    """Write a committed copy of this project on 64 random pairs and a dense `encoder`.

    Nothing has run in it. `train` are parameters of that section.
    """
    names = output_of(["git", "ls-files", "-co", "--exclude-standard"], ROOT).splitlines()
    for name in names:
        if (ROOT / name).is_file() and not name.startswith(RESULTS):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    data = folder / "data/own"
    data.mkdir(parents=True)
    table = random_pairs(64).table()
    for split, rows in zip(
        layout.SPLITS, (slice(0, 32), slice(32, 48), slice(48, 64)), strict=True
    ):
        table[rows].to_csv(data / f"{split}.csv", index=False)
    write_params(
        folder / layout.PARAMS,
        {
            "data": {"source": "local", "path": "data/own", "score_range": [0, 1]},
            "base_model": {
                "source": str(encoder),
                "target_active_dims": 8,
                "max_seq_length": 32,
            },
            "controls": {"dense_model": False},
            "evaluate": {"min_sparsity_ratio": 0.0},
            "train": {"learning_rate": 1e-3, "precision": "fp32", **train},
        },
    )
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        output_of(["git", *command], folder)
