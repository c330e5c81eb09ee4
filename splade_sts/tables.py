"""Reading the tables that users bring: CSV, TSV, JSON Lines and Parquet, compressed or not."""

import csv
import gzip
import json
import lzma
import zipfile
import zlib
from pathlib import Path

import fsspec
import pandas as pd
import pyarrow as pa

from splade_sts.errors import UserError

SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip")
# A text of any length that fits in memory is a text; the csv module would refuse more than 131,072 characters.
csv.field_size_limit(2**31 - 1)

DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";"}
FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")


def table_format(path: Path) -> str | None:
    """Ending that tells the format (`.csv`, `.tsv`, `.jsonl`, `.parquet`) below any compression, or None."""
    name = path.name.lower()
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    return next((ending for ending in FORMATS if name.endswith(ending)), None)


def find_split(folder: Path, split: str, file: str | None = None) -> Path:
    """The file of `split` in `folder`: `file` where given, otherwise the one table whose name says so.

    Raises:
        UserError: there is no such folder, no such file, or more than one.
    """
    if not folder.is_dir():
        raise UserError(f"data.path: {folder} is not a folder")
    if file is not None:
        path = folder / file
        if not path.is_file():
            raise UserError(f"data.files.{split}: {path} not found")
        if table_format(path) is None:
            raise UserError(f"data.files.{split}: {path} is none of {', '.join(FORMATS)} (plain or compressed)")
        return path
    tables = [path for path in sorted(folder.iterdir()) if path.is_file() and table_format(path)]
    words = {path: path.name.lower().split(".")[0].replace("_", "-").split("-") for path in tables}
    found = [path for path in tables if any(name in words[path] for name in SPLIT_NAMES[split])]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"{folder} has more than one file for split {split}: {', '.join(path.name for path in found)}; "
            f"name the right one in data.files.{split}"
        )
    raise UserError(
        f"{folder} has no file for split {split}; tables found: {', '.join(path.name for path in tables) or 'none'}. "
        f"Expected a name with one of {', '.join(SPLIT_NAMES[split])} and an ending in {', '.join(FORMATS)} "
        f"(plain or compressed), or the file's name in data.files.{split}"
    )


def read_table(path: Path, header: bool = True, delimiter: str | None = None, quotes: bool = True) -> pd.DataFrame:
    """Read a table as it stands, one row a record.

    CSV and TSV values stay strings; columns are named by the first line, or numbered from "0" where `header` is
    false; `delimiter` is a key of `DELIMITERS`, or None to go by the file's ending; rows may have extra fields
    (missing ones become None). JSON Lines and Parquet keep their types.

    Raises:
        UserError: the file is empty, truncated, corrupt or not UTF-8; says which line where the format has lines.
    """
    kind = table_format(path)
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/")]
            if len(names) != 1:
                raise UserError(f"{path} holds {len(names)} files; expected one: {', '.join(names)}")
        if kind == ".parquet":
            with fsspec.open(str(path), "rb", compression="infer") as file:
                table = pd.read_parquet(file)
        else:
            with fsspec.open(str(path), "rt", encoding="utf-8-sig", newline="", compression="infer") as file:
                if kind == ".jsonl":
                    table = _read_json_lines(file, path)
                else:
                    table = _read_delimited(file, path, header, DELIMITERS[delimiter or ("tab" if kind == ".tsv" else "comma")], quotes)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: {error}; convert it, for example with iconv -t UTF-8") from None
    except UnicodeEncodeError as error:
        raise UserError(f"{path} holds text that is no Unicode: {error}") from None
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is truncated or corrupt: {error}; get the file again") from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:  # the last two: garbled metadata of Parquet
        raise UserError(f"{path} cannot be read: {error}; it may be truncated or corrupt") from None
    if table.empty:
        raise UserError(f"{path} has no rows")
    return table


def _read_delimited(file, path: Path, header: bool, delimiter: str, quotes: bool) -> pd.DataFrame:
    quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=quotes)
    try:
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: {error}; where quotes are plain characters, set data.quotes to false"
        ) from None
    if not rows:
        return pd.DataFrame()
    names = rows.pop(0) if header else []
    if len(set(names)) != len(names):
        raise UserError(f"{path}, line 1: a column name occurs twice: {names}")
    width = max(map(len, rows), default=0)
    names += [str(number) for number in range(len(names), width)]
    return pd.DataFrame([row + [None] * (len(names) - len(row)) for row in rows], columns=names, dtype=object)


def _read_json_lines(file, path: Path) -> pd.DataFrame:
    records = []
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # no JSON, a number of thousands of digits, endless nesting
            raise UserError(f"{path}, line {number}: not JSON: {error}") from None
        if not isinstance(record, dict):
            raise UserError(f"{path}, line {number}: found {line.strip()[:80]!r}; expected a JSON object")
        records.append(record)
    return pd.DataFrame.from_records(records)
