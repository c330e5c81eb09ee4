"""Text for people: words of a sentence, Markdown tables, numbers."""

import re
from collections.abc import Sequence

from tabulate import tabulate

MARKUP = re.compile(r"([\\`*_{}\[\]<>|#&~$])")


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores, case folded."""
    return re.findall(r"\w+", text.casefold())


def one_line(text: object) -> str:
    """`text` as one line of Markdown in which nothing is markup."""
    return MARKUP.sub(r"\\\1", " ".join(str(text).split()))


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]], labels: int = 1) -> str:
    """A Markdown table: the first `labels` columns are text, the others numbers, aligned to the
    right.

    Cells stand as they are given: text from outside goes through `one_line` first.
    """
    align = ["left"] * labels + ["right"] * (len(headers) - labels)
    return tabulate(
        rows,
        headers=list(headers),
        tablefmt="pipe",
        disable_numparse=True,
        colalign=align if rows else None,
    )
