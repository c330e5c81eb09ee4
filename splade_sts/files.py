"""Writing outputs so that nothing half-written ever carries the final name."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from splade_sts.errors import UserError, shown


@contextmanager
def replacing(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `target`; move what was written there over `target` if the
    block succeeds.

    Works for a file and for a folder (the block creates it). On an exception the temporary path is
    removed and `target` keeps what it had. What a killed process left at the temporary path is
    removed by the next one: two processes must not write one target at the same time
    (`splade_sts.process.run_stage` sees to that).
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    _remove(temporary)
    try:
        yield temporary
        if target.is_dir():
            shutil.rmtree(target)
        temporary.replace(target)
    finally:
        _remove(temporary)


@contextmanager
def replacing_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """`replacing` for a folder, which is there, empty, when the block starts."""
    with replacing(target) as temporary:
        temporary.mkdir()
        yield temporary


def check_outside(target: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Check that what is made at `target` does not become a part of what it is made of.

    Args:
        target: where something is made.
        folder: what it is made of.

    Raises:
        UserError: `target` is `folder`, or lies within it.
    """
    if Path(target).resolve().is_relative_to(Path(folder).resolve()):
        raise UserError(
            f"--output: {shown(target)} lies in {shown(folder)}, of which it is made; name a "
            "folder outside"
        )


def check_no_link(target: str | os.PathLike[str]) -> None:
    """Check that a folder that is made at `target` gets there: a rename would not follow a link.

    Raises:
        UserError: `target` is one.
    """
    if Path(target).is_symlink():
        raise UserError(f"--output: {shown(target)} is a link; name the folder that it leads to")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(
    path: str | os.PathLike[str], content: Mapping[str, Any], allow_nan: bool = False
) -> None:
    """Write `content` as indented JSON.

    NaN and infinities, which JSON does not have, raise `ValueError`, or are written as Python reads
    them back.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=allow_nan)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON object that this project wrote."""
    content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
