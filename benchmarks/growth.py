"""How time and memory grow with batch size, sequence length and rows.

    python -m benchmarks.growth [--workspace DIR] [--rows 1000 10000 100000] [--results FOLDER]

`--workspace` is a project in which `dvc repro` has run: its models/base trains; a tiny random encoder encodes the rows, so that
what is seen is our own code rather than the model. The exponent is the slope of log(value) over log(size) from each size to
the next: 1 is proportional growth.
"""

import argparse
import math
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common import ROOT, in_process, report, train_settings

SIZES = (16, 32, 64, 128, 256)
STEPS = 5


def random_pairs(rows: int, words: int = 6) -> pd.DataFrame:
    """Pairs of random sentences in the vocabulary of the tests' encoder; scores from 0 to 5."""
    from tests.conftest import WORDS

    dice = random.Random(0)
    def sentence() -> str:
        return " ".join(dice.choices(WORDS, k=words))
    return pd.DataFrame({"sentence1": [sentence() for _ in range(rows)], "sentence2": [sentence() for _ in range(rows)],
                         "score": [dice.randint(0, 10) / 2 for _ in range(rows)]})


def step(model: Path, batch_size: int, length: int) -> dict[str, Any]:
    """Median seconds of a training step on sentences of exactly `length` tokens."""
    import statistics

    from splade_sts.model.encoder import load_encoder
    from splade_sts.training.trainer import finetune

    encoder = load_encoder(model)
    encoder.max_seq_length = length
    pairs = random_pairs(STEPS * batch_size, words=length)
    pairs["score"] /= 5
    changes = {"batch_size": batch_size, "eval_steps": STEPS, "logging_steps": 1, "learning_rate": 0.0}
    settings = train_settings(**changes)
    times: list[float] = []
    finetune(
        encoder, pairs, pairs[:16], settings, lambda kind, _: times.append(time.perf_counter()) if kind == "train" else None
    )
    return {"seconds": statistics.median(later - earlier for earlier, later in zip(times, times[1:], strict=False))}


def encode(model: Path, rows: int) -> dict[str, Any]:
    """Seconds to evaluate `rows` pairs."""
    from splade_sts.model.encoder import load_encoder
    from splade_sts.evaluation.correlation import evaluate_split

    pairs, encoder = random_pairs(rows), load_encoder(model)
    started = time.perf_counter()
    evaluate_split(encoder, pairs, "validation", 32, 0.0)
    return {"seconds": time.perf_counter() - started}


def normalize(rows: int) -> dict[str, Any]:
    """Seconds of the normalize stage with `rows` pairs in train."""
    from ruamel.yaml import YAML

    from splade_sts.files import write_json
    from stages import normalize as stage

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        yaml = YAML()
        content = yaml.load(ROOT / "params.yaml")
        content["data"]["score_range"] = [0, 5]
        yaml.dump(content, Path("params.yaml"))
        Path("data/raw").mkdir(parents=True)
        splits = {"train": rows, "validation": 100, "test": 100}
        for split, count in splits.items():
            random_pairs(count).to_parquet(f"data/raw/{split}.parquet", index=False)
        write_json("data/raw/provenance.json", {"splits": {split: {"file": f"{split}.parquet"} for split in splits}})
        started = time.perf_counter()
        stage.main()
        return {"seconds": time.perf_counter() - started}


def with_exponents(name: str, sizes: list[int], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for number, (size, values) in enumerate(zip(sizes, found, strict=True)):
        row: dict[str, Any] = {"what": name, "size": size, "seconds": values["seconds"], "peak memory MiB": values["peak_memory_mib"]}
        if number:
            ratio = math.log(size / sizes[number - 1])
            row["exponent of time"] = math.log(values["seconds"] / found[number - 1]["seconds"]) / ratio
            row["exponent of memory"] = math.log(values["peak_memory_mib"] / found[number - 1]["peak_memory_mib"]) / ratio
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=ROOT)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="pairs to encode (1000 10000 100000)")
    parser.add_argument("--normalize-rows", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON")
    arguments = parser.parse_args()
    model = arguments.workspace.resolve() / "models/base"
    rows = with_exponents("training step, pairs in a batch of 32 tokens", list(SIZES), [in_process(step, model=model, batch_size=size, length=32) for size in SIZES])
    rows += with_exponents("training step, tokens of a sentence in 16 pairs", list(SIZES), [in_process(step, model=model, batch_size=16, length=size) for size in SIZES])
    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(folder) / "tiny"
        in_process(make_tiny, folder=Path(folder))
        rows += with_exponents("evaluate, pairs (tiny encoder)", arguments.rows, [in_process(encode, model=tiny, rows=count) for count in arguments.rows])
    rows += with_exponents("normalize, pairs", arguments.normalize_rows, [in_process(normalize, rows=count) for count in arguments.normalize_rows])
    report("growth", rows, arguments.results)


def make_tiny(folder: Path) -> dict[str, Any]:
    """The tests' random encoder as a SPLADE model in `folder`/tiny."""
    from splade_sts.model.conversion import convert_dense
    from tests.conftest import make_bert

    (folder / "dense").mkdir()
    make_bert(folder / "dense")
    sentences = random_pairs(100)["sentence1"].tolist()
    convert_dense(folder / "dense", sentences, 8, 32).save_pretrained(str(folder / "tiny"), create_model_card=False)
    return {}


if __name__ == "__main__":
    main()
