"""Locks between processes: a file that one of them holds at a time."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from splade_sts.errors import UserError


@contextmanager
def locked(
    path: str | os.PathLike[str], busy: str | None, patience: float | None = None
) -> Iterator[None]:
    """Hold the lock file `path` within the block; the lock of a process that dies, in whatever way,
    is free again.

    Args:
        path: made where it is missing. The holder may delete it.
        busy: printed where another process holds the lock, before waiting for it; `{pid}` is that
            process.
            None: do not wait.
        patience: seconds to wait; None for as long as it takes.

    Raises:
        UserError: another process holds the lock for longer than that.
        BlockingIOError: another process holds the lock, and `busy` is None.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if busy is None:
            raise BlockingIOError(f"{path} is held by another process") from None
        holder = path.read_text(encoding="utf-8") if path.exists() else "?"
        print(busy.format(pid=holder), file=sys.stderr, flush=True)
        try:
            lock.acquire(timeout=-1 if patience is None else patience)
        except Timeout:
            raise UserError(
                f"{path} has been held by process {holder} for {patience:g} s; end that process, "
                "or wait for it, and run again"
            ) from None
    try:
        path.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        lock.release()
