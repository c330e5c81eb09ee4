"""The sample that comes with the project, and that it is the one that came with it."""

from pathlib import Path

from splade_sts import layout
from splade_sts.errors import UserError
from splade_sts.files import sha256

# A change of the sample is a change of this file, on which the download depends.
HASHES: dict[layout.Split, str] = {
    "train": "347bcc6542e799dd60769d46c24c4e1e666501ed0105c88a7519f95a3eec7209",
    "validation": "f005eb6acd28b904f05913fa804b794218bc0836ecc0760f91697fbcfb6c47c0",
    "test": "3b72b30305fbb129e8dd866a471ac2adcc911ab19ff127166ebd41edc3c19cff",
}


def sample_file(split: layout.Split) -> Path:
    """The file of a split in data/sample.

    Raises:
        UserError: it is missing, or not the one that came with the project.
    """
    path = layout.SAMPLE / f"{split}.csv"
    if not path.is_file() or sha256(path) != HASHES[split]:
        raise UserError(
            f"data.source is sample, but {path} is not the file that came with the project; get "
            "it back with "
            f"`git checkout {path}`, or read your own files with data.source=local and data.path"
        )
    return path
