"""The rows of one or several tables, in a stream: what is encoded, and what is wrong with a row."""

import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from splade_sts.data.tables import COMPRESSIONS, FORMATS, Delimited, stream_table, table_format
from splade_sts.errors import UserError, shown
from splade_sts.files import sha256


@dataclass(frozen=True)
class Row:
    """A row that can be encoded.

    Attributes:
        number: its place among the rows of all files, from 0; rows that are left out count too.
        name: its id: what stands in the id's column, or `number`.
        texts: one for each column that was asked for; none is empty.
    """

    number: int
    name: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be encoded: where it stands (`line 3`), and why."""

    file: str
    place: str
    why: str


@dataclass(frozen=True)
class Source:
    """Tables that are read one after the other, as if they were one.

    Attributes:
        files: CSV, TSV, JSON Lines and Parquet, plain or packed.
        texts: columns of texts.
        name: column of ids; None to number the rows.
        form: how CSV and TSV are read.
        remedy: what to do where a column is missing, for messages.
    """

    files: tuple[Path, ...]
    texts: tuple[str, ...]
    name: str | None = None
    form: Delimited = field(default_factory=Delimited)
    remedy: str = ""

    def check(self) -> None:
        """Raise `UserError` where a file is not there, or is no table."""
        endings = f"{', '.join(FORMATS)}, plain or packed ({', '.join(COMPRESSIONS)})"
        for path in self.files:
            try:
                is_there = path.is_file()
            except OSError:  # a name that is too long, a folder that may not be entered
                is_there = False
            if not is_there:
                raise UserError(f"{shown(path)} not found; expected a file ending in {endings}")
            if table_format(path) is None:
                raise UserError(f"{shown(path)}: expected a name that ends in {endings}")

    def rows(self) -> Iterator[Row | BadRow]:
        """Every row in its order.

        Raises:
            UserError: as `stream_table`.
        """
        columns = (*self.texts, *((self.name,) if self.name else ()))
        number = 0
        for path in self.files:
            for record in stream_table(path, columns, self.form, self.remedy):
                named = dict(zip(columns, record.values, strict=True))
                if why := self._problem(named):
                    yield BadRow(shown(path), record.place, why)
                else:
                    name = str(named[self.name]) if self.name else str(number)
                    yield Row(number, name, tuple(named[column] for column in self.texts))
                number += 1

    def _problem(self, values: dict[str, Any]) -> str | None:
        """What is wrong with a row, or None."""
        for column, value in values.items():
            is_id = column == self.name and column not in self.texts
            if is_id and isinstance(value, int) and not isinstance(value, bool):
                continue
            expected = "an id: a text or a whole number" if is_id else "a text that is not empty"
            if not isinstance(value, str) or not value.strip():
                found = "nothing" if value is None else reprlib.repr(value)
                return f"column {shown(column)}: found {found}; expected {expected}"
            try:
                value.encode("utf-8")
            except UnicodeEncodeError as error:  # half a character pair in JSON
                return f"column {shown(column)} holds no Unicode text: {error.reason}"
        return None


@dataclass(frozen=True)
class Survey:
    """What there is to do.

    Attributes:
        rows: good rows of all files.
        left_out: bad rows.
        files: the name and the SHA-256 of each file.
        stamps: `stamps` before they were read.
    """

    rows: int
    left_out: int
    files: list[dict[str, str]]
    stamps: list[tuple[int, int]]

    def is_still_true(self, source: Source) -> bool:
        """Whether the files of `source` are what they were."""
        return self.stamps == stamps(source) or self.files == digests(source)


def stamps(source: Source) -> list[tuple[int, int]]:
    """Size and time of the last change (ns) of each file."""
    found = (path.stat() for path in source.files)
    return [(stat.st_size, stat.st_mtime_ns) for stat in found]


def digests(source: Source) -> list[dict[str, str]]:
    """The name and the SHA-256 of each file."""
    return [{"name": path.name, "sha256": sha256(path)} for path in source.files]


def survey(
    source: Source, skip_bad: bool, seen: Callable[[int], object] = lambda count: None
) -> Survey:
    """Read every row once, before anything is encoded or written.

    So a bad row is said at once, and not after hours, and the number of rows is known.

    Args:
        source: the tables.
        skip_bad: count bad rows instead of refusing them.
        seen: is told now and then that so many more rows were read.

    Raises:
        UserError: names the file and the row; or there is no good row at all.
    """
    source.check()
    before = stamps(source)
    good = bad = 0
    for row in source.rows():
        if isinstance(row, Row):
            good += 1
        elif skip_bad:
            bad += 1
        else:
            raise UserError(
                f"{row.file}, {row.place}: {row.why}. Mend the row, or leave such rows out with "
                "--skip-bad"
            )
        if (good + bad) % 1000 == 0:
            seen(1000)
    if not good:
        names = ", ".join(shown(path) for path in source.files)
        raise UserError(f"{names}: no row to encode{f'; all {bad:,} were left out' if bad else ''}")
    return Survey(good, bad, digests(source), before)


def shards(source: Source, size: int, left_out: Callable[[BadRow], object]) -> Iterator[list[Row]]:
    """The good rows in lists of `size`, the last one of what is left; `left_out` is told of the bad
    ones.
    """
    rows: list[Row] = []
    for row in source.rows():
        if isinstance(row, BadRow):
            left_out(row)
            continue
        rows.append(row)
        if len(rows) == size:
            yield rows
            rows = []
    if rows:
        yield rows
