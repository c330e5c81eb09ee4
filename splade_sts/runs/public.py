"""What others may see of a run: the folders of a machine are nobody's business."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from splade_sts.params import Params, flatten


def short_path(value: object) -> str | None:
    """`…/` and the last part of an absolute path; None for everything else."""
    if isinstance(value, str) and value.startswith(("/", "~")):
        return f"…/{Path(value).name}"
    return None


def short_command(command: str) -> str:
    """`command` with `…/` in the place of the folders of each absolute path in it."""
    return re.sub(r"(^|[\s=:,])[/~]\S*/", r"\1…/", command)


def _short(name: str, value: object) -> str | None:
    return short_command(str(value)) if name == "train.launcher" else short_path(value)


def public_params(settings: Params, without: Collection[str] = ()) -> dict[str, Any]:
    """The parameters under their dotted names, with absolute paths shortened.

    Args:
        settings: the parameters.
        without: parameters and sections to leave out, by their dotted names.
    """
    flat = flatten(settings.model_dump())
    left_out = tuple(f"{name}." for name in without)
    return {
        name: _short(name, value) or value
        for name, value in flat.items()
        if not f"{name}.".startswith(left_out)
    }


def scrub(content: bytes, settings: Params) -> bytes:
    """`content` of a file with every absolute path among the parameters shortened."""
    paths = {
        value: short
        for name, value in flatten(settings.model_dump()).items()
        if (short := _short(name, value)) and short != value
    }
    for path in sorted(paths, key=len, reverse=True):
        content = content.replace(path.encode(), paths[path].encode())
    return content
