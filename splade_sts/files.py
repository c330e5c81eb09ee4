"""Writing outputs so that nothing half-written ever carries the final name, and locks between processes."""

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(target: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `target`; move what was written there over `target` if the block succeeds.

    Works for a file and for a folder (the block creates it). On an exception the temporary path is removed and
    `target` keeps what it had. What a killed process left at the temporary path is removed by the next one: two
    processes must not write one target at the same time (`splade_sts.errors.run_stage` sees to that).
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    _remove(temporary)
    try:
        yield temporary
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(temporary, target)
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def locked(path: str | os.PathLike, busy: str | None) -> Iterator[None]:
    """Hold the lock file `path` within the block; the lock of a process that dies, in whatever way, is free again.

    Args:
        path: made where it is missing. The holder may delete it.
        busy: printed where another process holds the lock, before waiting for it; `{pid}` is that process.
            None: do not wait.

    Raises:
        BlockingIOError: another process holds the lock, and `busy` is None.
    """
    path = Path(path)
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if busy is None:
                    raise
                file.seek(0)
                print(busy.format(pid=file.read()), file=sys.stderr, flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink == 0:  # the last holder deleted it: this lock guards no name
                continue
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
            return


def write_json(path: str | os.PathLike, content: dict[str, Any], allow_nan: bool = False) -> None:
    """Write `content` as indented JSON.

    NaN and infinities, which JSON does not have, raise `ValueError`, or are written as Python reads them back.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=allow_nan) + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """Read a JSON file that this project wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
