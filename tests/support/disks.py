"""A file system that is full or read-only when a test wants it to be."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Disk:
    """A file system of 8 MiB at `folder`."""

    folder: Path

    def fill(self, left: int = 0) -> None:
        """Leave room for about `left` bytes."""
        free = shutil.disk_usage(self.folder).free
        (self.folder / "filler").write_bytes(b"x" * (free - left))

    def make_room(self) -> None:
        """Undo `fill`."""
        (self.folder / "filler").unlink()

    def make_read_only(self) -> None:
        """Refuse every write from now on."""
        subprocess.run(["mount", "-o", "remount,ro", self.folder], check=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Mount a `Disk` at `folder`, which is made; skips the test where that is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder]
    if os.geteuid() or subprocess.run(mount).returncode:
        pytest.skip("mounting needs root")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)  # lazily: weights may be mapped
