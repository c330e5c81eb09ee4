"""Files that would take many times their size are refused within 3 GiB of address space."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.commands import ROOT, run

MEGABYTE = 2**20
# Reads each file in a process of its own, forked from one that has imported what they need.
READ = """
import json, os, resource, sys
from pathlib import Path
from splade_sts.data.tables import read_table
from splade_sts.process import run_command
for path in map(Path, sys.argv[1:]):
    if not os.fork():
        resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
        sys.stderr = open(f"{path}.said", "w")
        try:
            run_command(lambda: read_table(path))
        except SystemExit as ended:
            print(ended.code, file=sys.stderr, flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


def parquet_bomb(path: Path) -> None:
    """One long text, in a dictionary, for each of a hundred thousand rows."""
    rows = pa.array([0] * 100_000, pa.int32())
    text = pa.DictionaryArray.from_arrays(rows, pa.array(["x" * MEGABYTE]))
    table = pa.table({"sentence1": text})
    pq.write_table(table, path, compression="zstd", store_schema=False)


def many_columns(path: Path) -> None:
    path.write_text("".join(f'{{"k{number}": 1}}\n' for number in range(20_000)))


BOMBS: dict[str, tuple[Callable[[Path], object], str]] = {
    "line.csv": (lambda path: path.write_bytes(b"a\n" + b"x" * 100 * MEGABYTE), "line 2 has more"),
    "commas.csv": (lambda path: path.write_bytes(b"," * 100 * MEGABYTE), "line 1 has more than"),
    "quote.csv": (lambda path: path.write_bytes(b'a\n"' + b"x\n" * 50 * MEGABYTE), "field larger"),
    "line.jsonl": (lambda path: path.write_bytes(b'{"a": "' + b"x" * 100 * MEGABYTE), "line 1 has"),
    "columns.jsonl": (many_columns, "cells"),
    "dictionary.parquet": (parquet_bomb, "more than"),
}


def test_memory_is_bounded(tmp_path):
    """One message for each that says what is too large, no traceback."""
    for name, (write, _) in BOMBS.items():
        write(tmp_path / name)
    run(["python", "-c", READ, *(tmp_path / name for name in BOMBS)], ROOT, real=True)
    for name, (_, expected) in BOMBS.items():
        said = (tmp_path / f"{name}.said").read_text()
        assert said.startswith("error: "), name
        assert expected in said, name
        assert "Traceback" not in said, name
        (tmp_path / name).unlink()
