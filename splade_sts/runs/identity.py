"""Which training a run has: the same one where its curves are the same."""

import hashlib
from collections.abc import Sequence

from splade_sts import layout
from splade_sts.runs.source import RunFiles

CURVES = (layout.TRAINING_CURVE, layout.VALIDATION_CURVE)


def training_id(files: RunFiles | None = None) -> str:
    """Identity of a training: SHA-256 over its curves.

    Args:
        files: those of its run; None for those of the working directory.

    Raises:
        FileNotFoundError: the training has not ended there.
    """
    files = files or RunFiles.workspace()
    return digest([files.read(path) for path in CURVES])


def digest(parts: Sequence[bytes]) -> str:
    """SHA-256 of the SHA-256 of every part, as 64 hexadecimal digits."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()
