"""What a training runs on, and what that decides."""

import platform
from importlib.metadata import version
from typing import Literal

import torch
from transformers.utils.import_utils import is_torch_bf16_gpu_available

from splade_sts.errors import UserError
from splade_sts.model.head.screen import has_native_bfloat16

Precision = Literal["fp32", "bf16"]


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
