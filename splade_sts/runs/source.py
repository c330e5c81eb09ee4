"""The files of a pipeline run: in a working directory, or in a Git revision with what DVC's cache
holds of it.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from splade_sts.errors import UserError
from splade_sts.git import below_top


@dataclass(frozen=True)
class RunFiles:
    """Reads files by their paths in the project.

    Attributes:
        place: where they are, for messages.
        system: the files.
        absent: what `system` raises for a file that is not there.
    """

    place: str
    system: AbstractFileSystem
    absent: tuple[type[Exception], ...] = (FileNotFoundError,)

    @classmethod
    def workspace(cls, folder: Path = Path()) -> "RunFiles":
        """The files of a working directory."""
        return cls(str(folder), DirFileSystem(str(folder.resolve()), LocalFileSystem()))

    @classmethod
    def revision(cls, root: Path, revision: str) -> "RunFiles":
        """The files of a commit of the project at `root`; DVC's come from its cache, or from the
        default remote.
        """
        from dvc.api import DVCFileSystem
        from dvc_data.index import DataIndexDirError  # private: dvc-data

        # a revision is one of the whole repository, and the project may be a folder in it
        repository, inner = DVCFileSystem(str(root), rev=revision, subrepos=True), below_top(root)
        return cls(
            revision[:7],
            DirFileSystem(inner, repository) if inner else repository,
            # the second one says that the list of a folder's files is not in the cache
            (FileNotFoundError, DataIndexDirError),
        )

    def read(self, path: Path) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: it is not there, or DVC's cache does not hold it.
            UserError: DVC cannot read the revision.
        """
        content: bytes = self._ask("read_bytes", path)
        return content

    def names(self, folder: Path) -> list[Path]:
        """The files right in `folder`, sorted.

        Raises:
            FileNotFoundError: it is not there, or DVC's cache does not hold its list.
            UserError: DVC cannot read the revision.
        """
        entries = self._ask("ls", folder, detail=True)
        return sorted(
            folder / Path(entry["name"]).name for entry in entries if entry["type"] == "file"
        )

    def _ask(self, question: str, path: Path, **options: Any) -> Any:
        from dvc.exceptions import DvcException

        try:
            return getattr(self.system, question)(str(path), **options)
        except self.absent:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
        except DvcException as error:
            raise UserError(f"{path} at {self.place}: DVC cannot read it: {error}") from error
