"""Coverage-guided fuzzing of the readers of params.yaml and of tables.

    python -m benchmarks.guided params|tables [--seconds 180] [--seed 1] [--only FILE]

Needs atheris (`pip install atheris`), which no requirements file names: benchmarks/fuzz.py needs
nothing and makes most of what is worth trying. Here libFuzzer mutates inputs and keeps those that
reach new branches of the readers and of the YAML library. Allowed are a good result and a
`UserError`. Anything else, a call of more than 20 s, and more than 2 GiB of memory end the run with
status 77 or 70 or 71, with the input in the folder `--keep`; give that file as `--only` to repeat
it.
"""

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("error: atheris is missing; pip install atheris")

with atheris.instrument_imports(
    include=["splade_sts.params", "splade_sts.data.tables", "ruamel.yaml"]
):
    from splade_sts import params
    from splade_sts.data import tables

from benchmarks import fuzz
from benchmarks.common import ROOT
from splade_sts import layout
from splade_sts.errors import UserError

ENDINGS = [f".{kind}{pack}" for kind in ("csv", "tsv", "jsonl", "parquet") for pack in fuzz.PACK]
SEEDS = 300


def read_params(data: bytes, folder: Path) -> None:
    path = folder / "params.yaml"
    path.write_bytes(data)
    try:
        params.load(path)
    except UserError as error:
        assert len(str(error)) < 20_000, "a message of more than 20,000 characters"


def read_table(data: bytes, folder: Path) -> None:
    """The first byte says the file's ending, the second the parameters of the reader."""
    if len(data) < 2:
        return
    path = folder / f"t{ENDINGS[data[0] % len(ENDINGS)]}"
    path.write_bytes(data[2:])
    delimiter = [None, *tables.DELIMITERS][data[1] // 4 % (len(tables.DELIMITERS) + 1)]
    try:
        assert len(
            tables.read_table(
                path, header=bool(data[1] & 1), quotes=bool(data[1] & 2), delimiter=delimiter
            )
        )
    except UserError as error:
        assert str(path) in str(error)
    finally:
        path.unlink()


def params_seeds() -> list[bytes]:
    """params.yaml without its comments, and with one value exchanged each."""
    content = (ROOT / layout.PARAMS).read_bytes().splitlines()
    lines = [line for line in content if line.strip() and not line.strip().startswith(b"#")]
    values = [
        b"null",
        b"[1, 2]",
        b"{a: 1}",
        b"1e400",
        b".nan",
        b"'x'",
        b"&a [*a]",
        b"!!binary x",
        b"2020-13-01",
        b"|\n   x",
    ]
    exchanged = [
        b"\n".join(
            [
                *lines[:number],
                line.split(b":")[0] + b": " + values[number % len(values)],
                *lines[number + 1 :],
            ]
        )
        for number, line in enumerate(lines)
        if line.startswith(b" ")
    ]
    return [b"\n".join(lines), *exchanged]


def table_seeds() -> list[bytes]:
    """Tables of benchmarks/fuzz.py that are not too long for a mutation to matter."""
    made = (fuzz.table(random.Random(f"guided/{number}")) for number in range(SEEDS))
    return [bytes([ENDINGS.index(ending), 3]) + data for ending, data in made if len(data) < 4096]


TARGETS = {"params": (read_params, params_seeds), "tables": (read_table, table_seeds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer, at least 1 (1)")
    parser.add_argument(
        "--keep",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="folder for an input that is a finding",
    )
    parser.add_argument("--only", type=Path, help="repeat one input")
    arguments = parser.parse_args()
    read, seeds = TARGETS[arguments.target]
    options = [
        f"-max_total_time={arguments.seconds}",
        f"-seed={arguments.seed}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-max_len=8192",
        f"-artifact_prefix={arguments.keep}{os.sep}",
        "-print_final_stats=1",
    ]
    with tempfile.TemporaryDirectory(prefix="guided-") as folder:
        child = os.fork()  # libFuzzer ends its process in its own way
        if child:
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        work, corpus = Path(folder), Path(folder) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(seeds()):
            (corpus / str(number)).write_bytes(seed)
        atheris.Setup(
            [sys.argv[0], *options, str(arguments.only or corpus)], lambda data: read(data, work)
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
