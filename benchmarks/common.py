"""What the benchmarks share: jobs in processes of their own, models, peaks, tables."""

import json
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from splade_sts import layout, params
from splade_sts.data.pairs import Pairs

ROOT = Path(__file__).resolve().parent.parent


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def in_process(job: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """Run `job` in a fresh process; its result, with `peak_memory_mib` of that process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, job, arguments).result()


def _measured(job: Callable[..., dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
    return {**job(**arguments), "peak_memory_mib": peak_memory_mib()}


def read_pairs(workspace: Path, split: layout.Split, share: float = 1.0) -> Pairs:
    """A random share of a normalized split of the project in `workspace`."""
    table = Pairs.read(workspace / layout.normalized(split)).table()
    return Pairs.from_table(table.sample(round(len(table) * share), random_state=0))


def first(pairs: Pairs, count: int) -> Pairs:
    """The first `count` pairs."""
    return Pairs.from_table(pairs.table()[:count])


def settings() -> params.Params:
    """The project's params.yaml."""
    return params.load(ROOT / layout.PARAMS)


def train_settings(**changes: Any) -> params.TrainParams:
    """The train section of the project's params.yaml, with `changes`."""
    return settings().train.model_copy(update=changes)


def bert_base_sized(workspace: Path, folder: Path) -> Path:
    """A SPLADE model of bert-base's size with random weights, calibrated to 80 active dims.

    It is made in `folder` once. The tokenizer is that of `models/base`; what a step costs does not
    depend on the weights, but on how many dims are active.
    """
    import torch
    from transformers.models.bert import BertConfig, BertModel

    from splade_sts.model.conversion import convert_dense
    from splade_sts.model.encoder import load_encoder

    made = folder / "splade"
    if not made.exists():
        torch.manual_seed(0)
        BertModel(BertConfig()).save_pretrained(folder / "dense")
        tokenizer = load_encoder(workspace / layout.model("base")).tokenizer
        tokenizer.save_pretrained(folder / "dense")
        sentences = first(Pairs.read(workspace / layout.normalized("train")), 300).sentences
        model = convert_dense(folder / "dense", sentences, 80, 256)
        model.save_pretrained(str(made), create_model_card=False)
    return made


def gemm_peak(precision: str, seconds: float = 3.0) -> dict[str, Any]:
    """Rate of square matrix products in FLOP/s, kept up for `seconds`; the best of some sizes."""
    import torch

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    best = 0.0
    for size in (1024, 2048, 4096):
        a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
        a @ b
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            a @ b
            count += 1
        best = max(best, 2 * size**3 * count / (time.perf_counter() - started))
    return {"flops": best}


def machine() -> dict[str, Any]:
    """The machine and the versions that figures belong to."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "date": datetime.now(UTC).date().isoformat(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "sentence-transformers", "transformers")},
        "dvc": version("dvc"),
    }


def report(name: str, rows: list[dict[str, Any]], folder: Path | None) -> None:
    """Print `rows` as a Markdown table; write them with the machine to `folder`/`name`.json."""
    print(f"\n{pd.DataFrame(rows).to_markdown(index=False, floatfmt='.4g')}\n", flush=True)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / f"{name}.json", {"machine": machine(), "rows": rows})


def write(path: Path, figures: dict[str, Any]) -> None:
    """Write figures as JSON."""
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
