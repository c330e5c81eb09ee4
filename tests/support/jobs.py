"""Work on rows that needs no model, so that runs are fast; other processes can import it."""

import os
from collections.abc import Callable
from pathlib import Path

from splade_sts.apply.rows import Row
from splade_sts.apply.work import Maker, Progress
from splade_sts.errors import UserError


class Lengths:
    """The lengths of texts.

    Args:
        name: what its identity says.
        fail: called with the number of the shard, in this process, while it is half written.
    """

    folder, ending = "lengths", ".txt"

    def __init__(self, name: str = "a", fail: Callable[[int], object] | None = None) -> None:
        self.name, self.fail, self.calls = name, fail, 0

    def check(self, output: Path) -> None:
        """It can always be done."""

    def identity(self) -> dict[str, str]:
        """Its name."""
        return {"name": self.name}

    def files(self) -> dict[str, dict[str, int]]:
        """One, so that there is one."""
        return {"about.json": {"a": 1}}

    def start(self) -> Maker:
        """Nothing is to be loaded."""

        def make(rows: list[Row], path: Path, progress: Progress) -> dict[str, int]:
            path.write_text("half")
            if self.fail:
                self.fail(self.calls)
            self.calls += 1
            for row in rows:
                if row.texts[0] == "refused":
                    raise UserError(f"row {row.number} is refused")
                if row.texts[0] == "killed":
                    os._exit(9)
            path.write_text("".join(f"{row.name} {len(row.texts[0])}\n" for row in rows))
            progress(len(rows))
            return {"letters": sum(len(row.texts[0]) for row in rows)}

        return make
