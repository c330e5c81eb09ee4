"""What a training runs on, and what that decides."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import PurePath
from typing import Literal

import torch
from transformers.utils.import_utils import is_torch_bf16_gpu_available

from splade_sts.errors import UserError
from splade_sts.model.head.screen import has_native_bfloat16

Precision = Literal["fp32", "bf16"]
# accelerate's names of them.
MIXED_PRECISIONS: dict[str, Precision] = {"no": "fp32", "bf16": "bf16"}


# Where accelerate and transformers read settings of a training that params.yaml has no key for, or
# that it says otherwise. They are set aside while we train.
SET_ASIDE = ("ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_")
# What starts a training in several processes sets these.
PROCESS_GROUP = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
# Makes accelerate join a process group, of whatever size.
LAUNCHED = "LOCAL_RANK"
# What makes the libraries compute other last digits, here (benchmarks/environment.py) or, as their
# documentation says, on other CPUs: a training belongs to their values.
CHANGE_BYTES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_CPU_ISA_HINTS",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "KMP_DETERMINISTIC_REDUCTION",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_DOMAIN_NUM_THREADS",
    "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_NUM_STRIPES",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_CPU_ISA_HINTS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)


def starts_one_process(launcher: str) -> bool:
    """Whether `launcher` (`train.launcher`) is Python alone, by its last word: a process group that
    is in the environment then is not its work.
    """
    return PurePath(launcher.split()[-1]).name.startswith("python")


def check_one_process(launcher: str = "python") -> None:
    """Check that nobody has started this training in several processes.

    Args:
        launcher: what has started it, `train.launcher`.

    Raises:
        UserError: names the environment variable.
    """
    for name in PROCESS_GROUP:
        if os.environ.get(name, "1") != "1":
            raise _one_process(name, launcher)
    if os.environ.get(LAUNCHED, "-1") != "-1":  # a group of one is a group, too
        raise _one_process(LAUNCHED, launcher)


def _one_process(name: str, launcher: str) -> UserError:
    return UserError(
        f"{name} is {os.environ[name]!r} in the environment, but train.launcher is {launcher!r}, "
        "which does not start processes that train together. Start dvc without torchrun, mpirun or "
        f"accelerate launch (or unset {name}), and say in train.launcher what shall start them: "
        "torchrun --standalone --nproc-per-node 2"
    )


@contextmanager
def own_settings() -> Iterator[None]:
    """Within the block, settings of a training come from params.yaml alone: those of accelerate's
    environment variables are set aside, and a line names them.
    """
    before = dict(os.environ)
    found = sorted(name for name in before if name.startswith(SET_ASIDE))
    if found:
        print(f"not read, because params.yaml says how to train: {', '.join(found)}", flush=True)
    for name in found:
        del os.environ[name]
    try:
        yield
    finally:  # the libraries set variables of their own, which the next training would read
        for name in [name for name in os.environ if name.startswith(SET_ASIDE)]:
            del os.environ[name]
        os.environ.update({name: before[name] for name in found})


def bytes_settings() -> dict[str, str]:
    """The environment variables of `CHANGE_BYTES` that are set, as tags."""
    return {f"environment.{name}": os.environ[name] for name in CHANGE_BYTES if name in os.environ}


def resolve_precision(precision: Literal["auto", "fp32", "bf16"]) -> Precision:
    """`auto` is bf16 where the GPU, or else the CPU, computes in it natively; the others stay what
    they are.

    Raises:
        UserError: bf16 is asked for on a GPU that does not have it.
    """
    on_gpu = torch.cuda.is_available()
    has_bf16 = is_torch_bf16_gpu_available() if on_gpu else has_native_bfloat16()
    if precision == "auto":
        return "bf16" if has_bf16 else "fp32"
    if precision == "bf16" and on_gpu and not has_bf16:
        raise UserError(
            "train.precision is bf16, which this GPU does not have; set it to auto or fp32"
        )
    return precision


def facts(precision: Literal["auto", "fp32", "bf16"], processes: int = 1) -> dict[str, str]:
    """Everything here that decides the result of a training, as tags.

    Args:
        precision: `train.precision`.
        processes: how many train together, each with the `threads` that the tags name.

    Raises:
        UserError: as `resolve_precision`.
    """
    return {
        "device": device_name(),
        "processes": str(processes),
        "threads": str(torch.get_num_threads()),
        "precision": resolve_precision(precision),
        **library_versions(),
        **bytes_settings(),
    }


def device_name() -> str:
    """What the training runs on: the GPU's name, or the CPU's as PyTorch knows it."""
    return (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else torch.backends.cpu.get_cpu_capability()
    )


def library_versions() -> dict[str, str]:
    """Versions that a result may depend on, as tags."""
    names = (
        "torch",
        "sentence-transformers",
        "transformers",
        "accelerate",
        "datasets",
        "numpy",
        "dvc",
        "mlflow",
    )
    return {
        "version.python": platform.python_version(),
        **{f"version.{name}": version(name) for name in names},
    }
