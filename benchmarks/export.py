"""Encoding the sentences of a split: exported files, this project's encoding and the library's own,
alternating.

    python -m benchmarks.export --exports DIR [--workspace DIR] [--split validation] [--share 0.5]
                                [--rounds 2] [--results FOLDER]

`--workspace` is a project in which `dvc repro` has run. `--exports` holds what `python -m
splade_sts export` made of its models/finetuned: folders onnx, onnx-int8, openvino and
openvino-int8. Stock is `SparseEncoder.encode` with its defaults, each distinct sentence once. Each
run is a process of its own on all cores; the clock starts when the model is loaded and has encoded
a batch. The loss is measured on the same sentences, against stock.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, in_process, read_pairs, report, settings
from splade_sts import layout
from splade_sts.comparison.statistics import Bootstrap, estimates


def measured(encode: Callable[[list[str]], Any], workspace: Path, **which: Any) -> dict[str, Any]:
    """Seconds, active dims and cosines of an encoding; `encode` gives `EncodedSentences`."""
    from sentence_transformers.util import pairwise_cos_sim

    from splade_sts.model.encoder import quiet

    quiet()
    pairs = read_pairs(workspace, **which)
    encode(pairs.sentences[:32])
    started = time.perf_counter()
    encoded = encode(pairs.sentences)
    seconds = time.perf_counter() - started
    cosine = pairwise_cos_sim(encoded.of(pairs.sentence1), encoded.of(pairs.sentence2))
    return {
        "seconds": seconds,
        "sentences per second": len(encoded.sentences) / seconds,
        "active dims": encoded.active_dims,
        "cosine": cosine.tolist(),
    }


def stock(workspace: Path, **which: Any) -> dict[str, Any]:
    """The library's encoding."""
    from splade_sts.evaluation.encoded import EncodedSentences
    from splade_sts.model.encoder import load_encoder

    model = load_encoder(workspace / layout.model("finetuned"), "cpu")

    def encode(sentences: list[str]) -> EncodedSentences:
        vectors = model.encode(sentences, save_to_cpu=True)
        return EncodedSentences(sentences, vectors.coalesce(), 0.0)

    return measured(encode, workspace, **which)


def ours(workspace: Path, precision: str, **which: Any) -> dict[str, Any]:
    """What the evaluation stage does, in its precision."""
    import torch

    from splade_sts.evaluation.encoded import encode
    from splade_sts.model.encoder import load_encoder
    from splade_sts.model.head.swap import fused

    model = load_encoder(workspace / layout.model("finetuned"), "cpu")
    size = settings().evaluate.batch_size
    with fused(model), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        return measured(lambda sentences: encode(model, sentences, size), workspace, **which)


def file(workspace: Path, folder: Path, precision: str, **which: Any) -> dict[str, Any]:
    """An exported file; `precision` is that of OpenVINO."""
    import torch

    from splade_sts.export.check import encode_with
    from splade_sts.export.formats import open_onnx, open_openvino, quietly
    from splade_sts.export.tokens import read_tokenizer

    threads, tokenizer = torch.get_num_threads(), read_tokenizer(folder)
    with quietly():
        if folder.name.startswith("onnx"):
            run = open_onnx(folder / "model.onnx", threads)
        else:
            run = open_openvino(folder / "model.xml", threads, precision)
    return measured(lambda sentences: encode_with(run, tokenizer, sentences), workspace, **which)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=ROOT)
    parser.add_argument("--exports", type=Path, required=True)
    parser.add_argument("--split", choices=layout.HELD_OUT, default="validation")
    parser.add_argument("--share", type=float, default=0.5, help="of the pairs")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON")
    arguments = parser.parse_args()
    where = {
        "workspace": arguments.workspace.resolve(),
        "split": arguments.split,
        "share": arguments.share,
    }
    exports = arguments.exports.resolve()
    kinds: dict[str, tuple[Callable[..., dict[str, Any]], dict[str, Any]]] = {
        "stock float32": (stock, {}),
        "ours float32": (ours, {"precision": "fp32"}),
        "ours bfloat16": (ours, {"precision": "bf16"}),
        "ONNX Runtime float32": (file, {"folder": exports / "onnx", "precision": "f32"}),
        "ONNX Runtime int8": (file, {"folder": exports / "onnx-int8", "precision": "f32"}),
        "OpenVINO float32": (file, {"folder": exports / "openvino", "precision": "f32"}),
        "OpenVINO bfloat16": (file, {"folder": exports / "openvino", "precision": "bf16"}),
        "OpenVINO int8": (file, {"folder": exports / "openvino-int8", "precision": "f32"}),
        "OpenVINO int8, bfloat16": (
            file,
            {"folder": exports / "openvino-int8", "precision": "bf16"},
        ),
    }
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
    for _ in range(arguments.rounds):
        for name, (job, options) in kinds.items():
            runs[name].append(in_process(job, **where, **options))
            print(f"{name}: {runs[name][-1]['seconds']:.2f} s", flush=True)
    gold = read_pairs(**where).score
    cosines = {name: np.array(found[0]["cosine"]) for name, found in runs.items()}
    reference = next(iter(kinds))
    differences = {f"{name}, gain": (name, reference) for name in kinds}
    bootstrap = Bootstrap.of(settings().compare)
    made = estimates(gold, cosines, differences, bootstrap)
    fastest = {name: min(found, key=lambda run: run["seconds"]) for name, found in runs.items()}
    rows = []
    for name, best in fastest.items():
        gain = made[f"{name}, gain"].spearman
        rows.append(
            {
                "run": name,
                **{key: value for key, value in best.items() if key != "cosine"},
                "times as fast as stock": fastest[reference]["seconds"] / best["seconds"],
                "spearman": made[name].spearman.value,
                "difference": gain.value,
                "low": gain.low,
                "high": gain.high,
            }
        )
    report("export", rows, arguments.results)


if __name__ == "__main__":
    main()
