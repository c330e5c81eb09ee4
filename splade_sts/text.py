"""Text for people: words of a sentence, Markdown tables, numbers."""

import re
from collections.abc import Sequence

from tabulate import tabulate

MARKUP = re.compile(r"([\\`*_{}\[\]<>|#&~$])")
# Where pages of code hosts make links and mentions of plain text, escaped or not: `@somebody`,
# `#12`, `GH-12`, `https://…`, `www.…`. A word joiner, which cannot be seen, in between prevents it.
LIVE = re.compile(r"[@#](?=\w)|\bGH-(?=\d)|:(?=//)|\bwww(?=\.)", re.IGNORECASE)
WORD_JOINER = "\u2060"


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores, case folded."""
    return re.findall(r"\w+", text.casefold())


def one_line(text: object) -> str:
    """`text` as one line of Markdown in which nothing is markup, a link or a mention."""
    dead = LIVE.sub(rf"\g<0>{WORD_JOINER}", " ".join(str(text).split()))
    return MARKUP.sub(r"\\\1", dead)


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
