"""Reading the tables that users bring: CSV, TSV, JSON Lines and Parquet, compressed or not."""

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from splade_sts.errors import UserError, shown
from splade_sts.layout import Split

# Words in a file's name that tell its split.
SPLIT_WORDS: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}


def _unpack_zstd(packed: IO[bytes]) -> AbstractContextManager[Any]:
    stream: AbstractContextManager[Any] = pa.CompressedInputStream(pa.PythonFile(packed), "zstd")
    return stream


UNPACK: dict[str, Callable[..., AbstractContextManager[Any]]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _unpack_zstd,
}
COMPRESSIONS = (*UNPACK, ".zip")
# What is read is bounded, so that a file cannot take the machine's memory, however small it was
# packed: characters in a line (or a quoted field), bytes of all values, and cells (rows times
# columns).
LONGEST_LINE = 2**24
LARGEST_TABLE = 2**30
MOST_CELLS = 10**8
PARQUET_ROWS = 128
STREAM_BUFFER = 2**20
SHOWN_FILES = 30

# Entries of an archive that nobody packed: folders, and macOS's notes on files and on folders.
ADDED = re.compile(r"/$|^__MACOSX/|(^|/)\.DS_Store$")

DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";"}
FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")


def table_format(path: Path) -> str | None:
    """Ending that tells the format (`.csv`, `.tsv`, `.jsonl`, `.parquet`) below any compression, or
    None.
    """
    name = path.name.lower()
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    return next((ending for ending in FORMATS if name.endswith(ending)), None)


def check_folder(folder: Path) -> None:
    """Raise `UserError` where `data.path` is no folder."""
    where = shown(folder)
    try:
        folder.stat()
    except (OSError, ValueError) as error:  # not there, too long a name, no permission, a NUL in it
        raise UserError(f"data.path: {where} is not a folder ({error})") from None
    if not folder.is_dir():
        raise UserError(f"data.path: {where} is not a folder")


def named_table(folder: Path, file: str, key: str) -> Path:
    """The table `file` in `folder`; `key` is the parameter that names it.

    Raises:
        UserError: there is no such folder or file, or it is no table.
    """
    check_folder(folder)
    path = folder / file
    if not path.is_file():
        raise UserError(f"{key}: {shown(path)} not found")
    if table_format(path) is None:
        raise UserError(
            f"{key}: {shown(path)} is none of {', '.join(FORMATS)} (plain or compressed)"
        )
    return path


def find_split(folder: Path, split: Split, file: str | None = None) -> Path:
    """The file of `split` in `folder`: `file` where given, otherwise the one table whose name says
    so.

    Raises:
        UserError: there is no such folder, no such file, or more than one.
    """
    if file is not None:
        return named_table(folder, file, f"data.files.{split}")
    check_folder(folder)
    where = shown(folder)
    tables = [path for path in sorted(folder.iterdir()) if path.is_file() and table_format(path)]
    words = {path: path.name.lower().split(".")[0].replace("_", "-").split("-") for path in tables}
    found = [path for path in tables if any(name in words[path] for name in SPLIT_WORDS[split])]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"{where} has more than one file for split {split}: "
            f"{', '.join(shown(path.name) for path in found)}; "
            f"name the right one in data.files.{split}"
        )
    raise UserError(
        f"{where} has no file for split {split}; tables found: "
        f"{', '.join(shown(path.name) for path in tables) or 'none'}. "
        f"Expected a name with one of {', '.join(SPLIT_WORDS[split])} and an ending in "
        f"{', '.join(FORMATS)} "
        f"(plain or compressed), or the file's name in data.files.{split}"
    )


def read_table(
    path: Path,
    header: bool = True,
    delimiter: str | None = None,
    quotes: bool = True,
    key: str = "data",
) -> pd.DataFrame:
    """Read a table as it stands, one row a record.

    CSV and TSV values stay strings; columns are named by the first line, or numbered from "0" where
    `header` is false; `delimiter` is a key of `DELIMITERS`, or None to go by the file's ending;
    rows may have extra fields (missing ones become None). JSON Lines and Parquet keep their types.
    `key` is where params.yaml says all that, for messages.

    Returns:
        The rows. Where the format has lines, the index is called `line` and says on which line of
        the file, from 1, each record starts; Parquet has rows alone, counted from 0.

    Raises:
        UserError: the file is empty, truncated, corrupt or not UTF-8; says which line where the
            format has lines.
    """
    kind, where = table_format(path), shown(path)
    form = Delimited(delimiter, quotes, f"set {key}.quotes to false")
    with _explained(where), _open(path, where) as file:
        if kind == ".parquet":
            table = _read_parquet(file, where)
        elif kind == ".jsonl":
            table = _read_json_lines(_text(file), where)
        else:
            table = _read_delimited(_text(file), where, header, form.of(kind), key)
    if table.empty:
        raise UserError(f"{where} has no rows")
    return table


@dataclass(frozen=True)
class Delimited:
    """How CSV and TSV are read.

    Attributes:
        delimiter: a key of `DELIMITERS`; None to go by the file's ending.
        quotes: whether quotes hold fields together.
        remedy: what to do where quotes are plain characters, for messages.
    """

    delimiter: str | None = None
    quotes: bool = True
    remedy: str = "give --no-quotes"

    def of(self, kind: str | None) -> "Delimited":
        """The same for a file of that ending, with its delimiter."""
        named = self.delimiter or ("tab" if kind == ".tsv" else "comma")
        return Delimited(named, self.quotes, self.remedy)


@dataclass(frozen=True)
class Record:
    """A row of a table that is read in a stream.

    Attributes:
        place: where it stands in the file: `line 3`, where the format has lines, else `row 3`, both
            from 1.
        values: what it has in the columns that were asked for; None where it has nothing.
    """

    place: str
    values: tuple[Any, ...]


def stream_table(
    path: Path, columns: Sequence[str], form: Delimited, remedy: str = ""
) -> Iterator[Record]:
    """Read the `columns` of a table row after row, in memory that does not grow with the rows.

    The rules are those of `read_table` with a header; a whole table may be of any size, a line not.
    An empty file has no rows. `remedy` is what to do where a column is missing, for messages.

    Raises:
        UserError: as `read_table`; a column is missing. JSON Lines has no header: there a record
            without the column has None.
    """
    kind, where = table_format(path), shown(path)
    with _explained(where), _open(path, where) as file:
        if kind == ".parquet":
            yield from _stream_parquet(file, where, columns, remedy)
        elif kind == ".jsonl":
            for number, record in _json_records(_lines(_text(file), where, whole=False), where):
                yield Record(f"line {number}", tuple(map(record.get, columns)))
        else:
            yield from _stream_delimited(_text(file), where, columns, form.of(kind), remedy)


def _stream_delimited(
    file: TextIO, where: str, columns: Sequence[str], form: Delimited, remedy: str
) -> Iterator[Record]:
    rows = _delimited_rows(_lines(file, where, whole=False), where, form)
    _, header = next(rows, (0, []))
    if not header:
        return
    _check_columns(where, columns, header, remedy)
    places = [header.index(column) for column in columns]
    for line, row in rows:
        values = (row[place] if place < len(row) else None for place in places)
        yield Record(f"line {line}", tuple(values))


def _stream_parquet(
    file: IO[bytes], where: str, columns: Sequence[str], remedy: str
) -> Iterator[Record]:
    if not file.seekable():
        raise UserError(f"{where}: Parquet cannot be read from such a packing; unpack the file")
    # read in small pieces, where a group of rows is larger than memory
    parquet = pq.ParquetFile(file, buffer_size=STREAM_BUFFER)
    _check_columns(where, columns, parquet.schema_arrow.names, remedy)
    number = 0
    for batch in parquet.iter_batches(batch_size=PARQUET_ROWS, columns=list(columns)):
        batch.validate(full=True)
        for values in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
            number += 1
            yield Record(f"row {number}", values)


def _check_columns(where: str, columns: Sequence[str], found: Sequence[str], remedy: str) -> None:
    if missing := [column for column in columns if column not in found]:
        raise UserError(
            f"{where}: no column {', '.join(map(shown, missing))}; it has "
            f"{', '.join(map(shown, found[:SHOWN_FILES]))}{remedy and f'; {remedy}'}"
        )
    if twice := [column for column in columns if found.count(column) > 1]:
        raise UserError(f"{where}: more than one column is called {shown(twice[0])}")


def _text(file: IO[bytes]) -> TextIO:
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """Whatever goes wrong in reading a file, as a message to its owner."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where} is not UTF-8: {error}; convert it, for example with iconv -t UTF-8"
        ) from None
    except UnicodeEncodeError as error:
        raise UserError(f"{where} holds text that is no Unicode: {error}") from None
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, zipfile.BadZipFile) as error:
        raise UserError(f"{where} is truncated or corrupt: {error}; get the file again") from None
    except UserError:
        raise
    except (
        Exception
    ) as error:  # garbled metadata makes the libraries raise anything; the file is the user's
        raise UserError(
            f"{where} cannot be read: {type(error).__name__}: {str(error)[:500]}; it may be "
            "truncated or corrupt"
        ) from error


@contextmanager
def _open(path: Path, where: str) -> Iterator[IO[bytes]]:
    """The bytes of a file below its compression.

    Raises:
        UserError: an archive does not hold exactly one file; folders in it do not count, nor what
            macOS adds.
    """
    with path.open("rb") as packed:
        name = path.name.lower()
        if name.endswith(".zip"):
            with zipfile.ZipFile(packed) as archive:
                names = [name for name in archive.namelist() if not ADDED.search(name)]
                if len(names) != 1:
                    raise UserError(
                        f"{where} holds {len(names)} files; expected one: "
                        f"{', '.join(map(shown, names[:SHOWN_FILES]))}"
                        f"{' and more' if len(names) > SHOWN_FILES else ''}"
                    )
                with archive.open(names[0]) as file:
                    yield file
        else:
            unpack = next((UNPACK[end] for end in UNPACK if name.endswith(end)), nullcontext)
            with unpack(packed) as file:
                yield file


def _lines(file: TextIO, where: str, whole: bool = True) -> Iterator[str]:
    """The lines of a text file, each of bounded size; all together too, where the table is read as
    a `whole`.
    """
    total = 0
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise UserError(
                f"{where}, line {number} has more than {LONGEST_LINE:,} characters; expected a "
                "table with a row a line"
            )
        total += len(line)
        if whole and total > LARGEST_TABLE:
            raise UserError(
                f"{where} holds more than {LARGEST_TABLE:,} characters; expected a smaller table"
            )
        yield line


def _check_cells(where: str, rows: int, columns: int) -> None:
    if rows * columns > MOST_CELLS:
        raise UserError(
            f"{where} has {columns:,} columns and at least {rows:,} rows; expected at most "
            f"{MOST_CELLS:,} cells"
        )


def _read_parquet(file: IO[bytes], where: str) -> pd.DataFrame:
    parquet = pq.ParquetFile(file)
    claimed = parquet.metadata
    _check_cells(where, claimed.num_rows, claimed.num_columns)
    batches, size = [], 0
    # in small pieces: a few bytes of a dictionary can stand for a long text in every row
    for batch in parquet.iter_batches(batch_size=PARQUET_ROWS):
        size += batch.nbytes
        if size > LARGEST_TABLE:
            raise UserError(
                f"{where} holds more than {LARGEST_TABLE:,} bytes; expected a smaller table"
            )
        batch.validate(
            full=True
        )  # texts that are not UTF-8 would fail only where they are looked at
        batches.append(batch)
    table: pd.DataFrame = pa.Table.from_batches(batches, parquet.schema_arrow).to_pandas()
    return table.reset_index(drop=True)


def _delimited_rows(
    found: Iterator[str], where: str, form: Delimited
) -> Iterator[tuple[int, list[str]]]:
    """The records of CSV that are not empty, each with the line on which it starts: a quoted field
    may go on for several.
    """
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if form.quotes else csv.QUOTE_NONE
    csv.field_size_limit(LONGEST_LINE)
    separator = DELIMITERS[form.delimiter or "comma"]
    reader = csv.reader(found, delimiter=separator, quoting=quoting, strict=form.quotes)
    start = 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise UserError(
                f"{where}, line {start}: {error}; where quotes are plain characters, {form.remedy}"
            ) from None
        if row is None:
            return
        if row:
            yield start, row
        start = reader.line_num + 1


def _read_delimited(
    file: TextIO, where: str, header: bool, form: Delimited, key: str
) -> pd.DataFrame:
    rows: list[list[str]] = []
    lines: list[int] = []
    width = 0
    for start, row in _delimited_rows(_lines(file, where), where, form):
        rows.append(row)
        lines.append(start)
        width = max(width, len(row))
        _check_cells(where, len(rows), width)
    if not rows:
        return pd.DataFrame()
    names: list[str] = []
    if header:
        names, line = rows.pop(0), lines.pop(0)
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(
                f"{where}, line {line}: a column name occurs twice: {twice[:80]!r}; if the line is "
                f"a row and not the names of columns, set {key}.header=false"
            )
    names += [str(number) for number in range(len(names), width)]
    filled = [[*row, *[None] * (len(names) - len(row))] for row in rows]
    return pd.DataFrame(filled, index=_index(lines), columns=names, dtype=object)


def _json_records(found: Iterator[str], where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON Lines, each with its line; an empty line is no record."""
    for number, line in enumerate(found, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (
            ValueError,
            RecursionError,
        ) as error:  # no JSON, a number of thousands of digits, endless nesting
            raise UserError(f"{where}, line {number}: not JSON: {error}") from None
        if not isinstance(record, dict):
            raise UserError(
                f"{where}, line {number}: found {line.strip()[:80]!r}; expected a JSON object"
            )
        yield number, record


def _read_json_lines(file: TextIO, where: str) -> pd.DataFrame:
    records: list[dict[str, Any]] = []
    lines: list[int] = []
    names: set[str] = set()
    for number, record in _json_records(_lines(file, where), where):
        records.append(record)
        lines.append(number)
        names.update(record)
        _check_cells(where, len(records), len(names))
    table = pd.DataFrame.from_records(records)
    return table if table.empty else table.set_axis(_index(lines))


def _index(lines: list[int]) -> pd.Index:
    return pd.Index(lines, dtype="int64", name="line")
