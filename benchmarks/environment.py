"""Which environment variables change the bytes of a training.

    python -m benchmarks.environment [--workspace DIR] [--steps 2] [--results FOLDER]

`--workspace` is a project in which `dvc repro` has run. The base model is trained a few steps in
fp32 and in bf16, each time in a fresh process with one variable set, and the weights are compared
with those of a training with none. Trainings with none are repeated first: they have to be equal.
Only what this machine has is tried: a variable that changes nothing here may do so elsewhere.
"""

import argparse
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, first, in_process, read_pairs, report, train_settings
from splade_sts import layout
from splade_sts.errors import UserError

PRECISIONS = ("fp32", "bf16")
REPEATS = 1  # without a variable
TRIED = (
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("KMP_DETERMINISTIC_REDUCTION", "true"),
    ("MALLOC_TOP_PAD_", "1000003"),
    ("MKL_CBWR", "COMPATIBLE"),
    ("MKL_DEBUG_CPU_TYPE", "5"),
    ("MKL_DOMAIN_NUM_THREADS", "MKL_BLAS=1"),
    ("MKL_DYNAMIC", "FALSE"),
    ("MKL_ENABLE_INSTRUCTIONS", "AVX2"),
    ("MKL_NUM_STRIPES", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("OMP_DYNAMIC", "TRUE"),
    ("OMP_MAX_ACTIVE_LEVELS", "0"),
    ("OMP_PROC_BIND", "TRUE"),
    ("OMP_SCHEDULE", "dynamic,1"),
    ("OMP_THREAD_LIMIT", "1"),
    ("OMP_WAIT_POLICY", "ACTIVE"),
    ("ONEDNN_CPU_ISA_HINTS", "PREFER_YMM"),
    ("ONEDNN_DEFAULT_FPMATH_MODE", "BF16"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
    ("PYTHONHASHSEED", "7"),
    ("TOKENIZERS_PARALLELISM", "false"),
)


def digests(workspace: Path, steps: int) -> dict[str, Any]:
    """Train for `steps` steps: digests of the weights by precision, and PyTorch's threads."""
    import torch

    from splade_sts.model.encoder import load_encoder
    from splade_sts.training.finetune import finetune

    train = first(read_pairs(workspace, "train"), 16 * steps)
    validation = first(read_pairs(workspace, "validation"), 16)
    found: dict[str, Any] = {"threads": torch.get_num_threads()}
    for precision in PRECISIONS:
        settings = train_settings(
            precision=precision, epochs=1.0, batch_size=16, eval_steps=steps, logging_steps=1
        )
        model = load_encoder(workspace / layout.model("base"))
        with tempfile.TemporaryDirectory() as folder:
            weights = finetune(model, train, validation, settings, Path(folder)).model.state_dict()
        content = hashlib.sha256()
        for name in sorted(weights):
            content.update(weights[name].cpu().numpy().tobytes())
        found[precision] = content.hexdigest()
    return found


def with_variable(name: str, value: str, job: dict[str, Any]) -> dict[str, Any]:
    """`digests` in a process that has the variable from its start; no values if it is refused."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        return in_process(digests, **job)
    except UserError as error:
        print(error)
        return dict.fromkeys((*PRECISIONS, "threads"))
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=ROOT)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON")
    arguments = parser.parse_args()
    for name, _ in TRIED:
        os.environ.pop(name, None)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # beside other work this is many times as fast
    job = {"workspace": arguments.workspace.resolve(), "steps": arguments.steps}
    without = in_process(digests, **job)
    rows: list[dict[str, Any]] = []
    for name, value in [*[("", "")] * REPEATS, *TRIED]:
        found = with_variable(name, value, job) if name else in_process(digests, **job)
        row: dict[str, Any] = {"variable": name or "none", "value": value}
        for precision in PRECISIONS:
            same = found[precision] == without[precision]
            refused = found[precision] is None
            row[precision] = "refused" if refused else "same" if same else "other bytes"
        row["threads"] = found["threads"]
        rows.append(row)
        print(row, flush=True)
    report("environment", rows, arguments.results)


if __name__ == "__main__":
    main()
