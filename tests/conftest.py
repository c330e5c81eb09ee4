"""A tiny SPLADE model and small data, real files that every test of a stage can start from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
WORDS = (
    "a the man woman dog cat child is are was runs walks sits plays eats sleeps in on at with red blue green small big "
    "park house street ball car tree guitar piano bread apple river train fast slowly happy old young two three"
).split()


def train_params(**changes):
    """The train section of params.yaml, for tiny trainings of 6 steps an epoch on `pairs`, with `changes`."""
    from splade_sts import params

    defaults = params.load(ROOT / "params.yaml").train.model_dump()
    return params.TrainParams(**{**defaults, "precision": "fp32", "batch_size": 8, "eval_steps": 4, **changes})


def make_bert(folder: Path) -> None:
    """Write a random dense BERT encoder: 2 layers, 32 dimensions, a word-level vocabulary, seed 0."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *WORDS]
    vocabulary += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> Path:
    """Folder of the encoder that `make_bert` writes."""
    folder = tmp_path_factory.mktemp("tiny-bert")
    make_bert(folder)
    return folder


def make_pairs() -> pd.DataFrame:
    """48 normalized pairs in the tiny vocabulary; the score is the share of common words."""
    import random

    generator = random.Random(0)
    rows = []
    for _ in range(48):
        first = generator.sample(WORDS, 6)
        kept = generator.randint(0, 6)
        second = first[:kept] + generator.sample(WORDS, 6 - kept)
        rows.append((" ".join(first), " ".join(second), kept / 6))
    return pd.DataFrame(rows, columns=["sentence1", "sentence2", "score"])


@pytest.fixture(scope="session")
def pairs() -> pd.DataFrame:
    """The pairs of `make_pairs`."""
    return make_pairs()


@pytest.fixture(scope="session")
def tiny_splade(tiny_bert, pairs, tmp_path_factory) -> Path:
    """Folder of the SPLADE model converted from `tiny_bert` with 8 active dimensions wanted."""
    from splade_sts.model.conversion import convert_dense

    folder = tmp_path_factory.mktemp("tiny-splade") / "model"
    sentences = pairs["sentence1"].tolist() + pairs["sentence2"].tolist()
    convert_dense(tiny_bert, sentences, 8, 32).save_pretrained(str(folder), create_model_card=False)
    return folder


def user_environment() -> dict[str, str]:
    """As a user would have it: this interpreter's scripts first on PATH, nobody's Git settings, no network."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        **{f"GIT_{role}_{part}": "tester@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")},
    }
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        environment.pop(name, None)
    return environment


def run(command: list[str], cwd: Path, check: bool = True) -> subprocess.CompletedProcess:
    """Run a command in `user_environment`."""
    done = subprocess.run(command, cwd=cwd, env=user_environment(), capture_output=True, text=True, timeout=400)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def dvc(cwd: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    return run([sys.executable, "-m", "dvc", *arguments], cwd, check)


def stages_run(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def set_params(project: Path, **changes) -> None:
    yaml = YAML()
    path = project / "params.yaml"
    content = yaml.load(path)
    for key, value in changes.items():
        section, name = key.split("__")
        content[section][name] = value
    yaml.dump(content, path)


def make_project(folder: Path, bert: Path, pairs: pd.DataFrame, **changes) -> None:
    """Write a committed copy of the project whose parameters name small CSV files and the encoder `bert`.

    `changes` are further parameters, as `set_params` takes them. Nothing has run yet.
    """
    names = run(["git", "ls-files", "-co", "--exclude-standard"], ROOT).stdout.split("\n")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    data = folder / "data" / "own"
    data.mkdir(parents=True)
    for split, part in (("train", pairs[:32]), ("validation", pairs[24:40]), ("test", pairs[32:])):
        part.assign(score=part["score"] * 5).to_csv(data / f"{split}.csv", index=False)
    set_params(folder, **{
        "data__source": "local", "data__path": "data/own", "data__score_range": [0, 5], "model__source": str(bert),
        "model__target_active_dims": 8, "model__max_seq_length": 32, "evaluate__min_sparsity_ratio": 0.0,
        "train__learning_rate": 1e-3, "train__precision": "fp32", **changes,
    })
    run(["git", "init", "-q"], folder)
    run(["git", "add", "-A"], folder)
    run(["git", "commit", "-qm", "start"], folder)


@pytest.fixture(scope="session")
def project(tmp_path_factory, tiny_bert, pairs) -> Path:
    """The project of `make_project` after `dvc repro`, committed."""
    folder = tmp_path_factory.mktemp("project")
    make_project(folder, tiny_bert, pairs)
    first = dvc(folder, "repro")
    assert stages_run(first.stdout) == [
        "download", "normalize", "base_model", "controls", "evaluate@base", "finetune", "evaluate@finetuned", "compare",
        "track",
    ]
    run(["git", "add", "-A"], folder)
    run(["git", "commit", "-qm", "first run"], folder)
    return folder


@pytest.fixture(scope="session")
def record(project):
    """What is recorded of the run of `project`."""
    from splade_sts.runs.record import collect

    return collect(lambda path: (project / path).read_bytes())
