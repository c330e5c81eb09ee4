"""Text for people: words of a sentence, Markdown, tables and paragraphs for a terminal. JSON for
programs that read what is printed.
"""

import json
import re
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from splade_sts.errors import without_commands

MARKUP = re.compile(r"([\\`*_{}\[\]<>|#&~$])")
# Where pages of code hosts make links and mentions of plain text, escaped or not: `@somebody`,
# `#12`, `GH-12`, `https://…`, `www.…`. A word joiner, which cannot be seen, in between prevents it.
LIVE = re.compile(r"[@#](?=\w)|\bGH-(?=\d)|:(?=//)|\bwww(?=\.)", re.IGNORECASE)
WORD_JOINER = "\u2060"
# Of the first column of a table.
NARROWEST = 20


def printed_json(content: Any) -> str:
    """Indented JSON for stdout, in ASCII alone: it stays JSON in whatever encoding stdout has."""
    return json.dumps(content, indent=2)


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


def terminal_width() -> int:
    """Columns of the terminal; 120 where the output goes elsewhere. `COLUMNS` sets it."""
    return shutil.get_terminal_size((120, 24)).columns


def terminal_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table no wider than the terminal: the first column is text, and the others numbers, aligned
    to the right. What the numbers leave no room for in the first column goes on below.

    Args:
        headers: may hold line breaks.
        rows: cells, as they are to be shown; without what a terminal would obey.
    """

    def lines(labels: Sequence[str]) -> list[str]:
        # the headers as a row: as headers they would make their columns wider by two
        cells = [headers, *([label, *row[1:]] for label, row in zip(labels, rows, strict=True))]
        align = ["left", *["right"] * (len(headers) - 1)]
        table = tabulate(cells, tablefmt="plain", disable_numparse=True, colalign=align)
        return table.splitlines()

    labels = [without_commands(row[0]) for row in rows]
    too_wide = max(map(len, lines(labels))) - terminal_width()
    room = max(map(len, labels), default=0) - max(0, too_wide)
    found = lines([textwrap.fill(label, max(room, NARROWEST)) for label in labels])
    found.insert(1 + max(header.count("\n") for header in headers), "-" * max(map(len, found)))
    return "\n".join(line.rstrip() for line in found)


def paragraph(text: str, indent: str = "") -> str:
    """`text` in lines that the terminal holds, without what it would obey; `indent` stands before
    each.
    """
    return textwrap.fill(
        without_commands(text),
        terminal_width(),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
