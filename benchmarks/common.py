"""What the benchmarks share: jobs in processes of their own, models, peaks, tables."""

import json
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

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


def pairs(workspace: Path, split: str, share: float = 1.0) -> pd.DataFrame:
    """A random share of a normalized split of the project in `workspace`."""
    table = pd.read_parquet(workspace / f"data/normalized/{split}.parquet")
    return table.sample(round(len(table) * share), random_state=0).reset_index(drop=True)


def train_settings(**changes: Any):
    """The train section of the project's params.yaml, with `changes`."""
    from splade_sts import params

    return params.load(ROOT / "params.yaml").train.model_copy(update=changes)


def bert_base_sized(workspace: Path, folder: Path) -> Path:
    """A SPLADE model of bert-base's size with random weights, calibrated to 80 active dims; made in `folder` once.

    The tokenizer is that of `models/base`; what a step costs does not depend on the weights, but on how many dims are active.
    """
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from splade_sts.model.conversion import convert_dense

    if not (folder / "splade").exists():
        torch.manual_seed(0)
        BertModel(BertConfig()).save_pretrained(folder / "dense")
        AutoTokenizer.from_pretrained(workspace / "models/base").save_pretrained(folder / "dense")
        train = pairs(workspace, "train")[:300]
        model = convert_dense(folder / "dense", [*train["sentence1"], *train["sentence2"]], 80, 256)
        model.save_pretrained(str(folder / "splade"), create_model_card=False)
    return folder / "splade"


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
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(), "cores": os.cpu_count(), "date": date.today().isoformat(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30), "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "sentence-transformers", "transformers", "dvc")},
    }


def report(name: str, rows: list[dict[str, Any]], folder: Path | None) -> None:
    """Print `rows` as a Markdown table; write them with the machine to `folder`/`name`.json."""
    print(f"\n{pd.DataFrame(rows).to_markdown(index=False, floatfmt='.4g')}\n", flush=True)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n", encoding="utf-8")
