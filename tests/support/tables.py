"""A table in every format and packing that is read."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable

import pandas as pd


def zipped(*members: tuple[str, bytes]) -> bytes:
    """An archive of files by name: the same bytes at any time, as names of tests need them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def formats(table: pd.DataFrame) -> dict[str, bytes]:
    """The bytes of `table` by the ending of its format."""
    return {
        "csv": table.to_csv(index=False).encode(),
        "tsv": table.to_csv(index=False, sep="\t").encode(),
        "jsonl": table.to_json(orient="records", lines=True, force_ascii=False).encode(),
        "parquet": table.to_parquet(),
    }


PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": lambda data: zipped(("t.csv", data)),
}
