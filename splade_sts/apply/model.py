"""The model that is applied: is it there, which one it is, and loading it for one thread."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from splade_sts.errors import UserError, shown
from splade_sts.files import sha256

if TYPE_CHECKING:
    from sentence_transformers import SparseEncoder

# What decides the numbers of a model, beside its files.
PACKAGES = ("torch", "sentence-transformers", "transformers", "tokenizers")


def check_model(folder: str) -> None:
    """Raise `UserError` where `folder` holds no model, before anything large is imported."""
    try:
        is_there = (Path(folder) / "modules.json").is_file()
    except OSError:  # a name that is too long, a folder that may not be entered
        is_there = False
    if not is_there:
        raise UserError(
            f"--model: {shown(folder)} holds no model; dvc repro makes models/base and "
            "models/finetuned"
        )


def identity(folder: str) -> dict[str, object]:
    """The SHA-256 of each file of a model, and the versions of what computes with it."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {
        "model": {path.relative_to(folder).as_posix(): sha256(path) for path in files},
        "packages": {name: version(name) for name in PACKAGES},
    }


def load(folder: str) -> "SparseEncoder":
    """Load a SPLADE model in a process that computes with one thread from here on.

    The number of threads changes the order of sums, and so bytes; that of processes does not.

    Raises:
        UserError: as `load_encoder`.
    """
    import torch

    from splade_sts.model.encoder import load_encoder

    torch.set_num_threads(1)
    return load_encoder(folder)
