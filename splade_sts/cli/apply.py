"""Commands that apply a model: encode, score."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from splade_sts import layout
from splade_sts.cli.arguments import Commands, json_argument, number_between
from splade_sts.errors import UserError, without_commands

if TYPE_CHECKING:
    from splade_sts.apply.rows import Source
    from splade_sts.apply.work import Settings
    from splade_sts.data.tables import Delimited

FORMATS = ("parquet", "elasticsearch", "opensearch", "qdrant", "anserini")
FILES = "CSV, TSV, JSON Lines or Parquet, plain or packed (.gz, .bz2, .xz, .zst, .zip); of any size"
MODEL = "model folder (models/finetuned)"


def add_to(commands: Commands) -> None:
    """Add the commands of this module.

    Args:
        commands: what they are added to.
    """
    tables = table_arguments()
    command = commands.add(encode, tables)
    command.add_argument("file", nargs="+", help=FILES)
    command.add_argument("--output", required=True, help="the folder that is made")
    command.add_argument("--text", default="text", help="the column of the texts (text)")
    command.add_argument("--model", default=str(layout.model("finetuned")), help=MODEL)
    command.add_argument(
        "--format",
        choices=FORMATS,
        default="parquet",
        help="Parquet, or what a search engine takes (parquet)",
    )
    command.add_argument("--terms", action="store_true", help="a column of terms, in Parquet")
    command.add_argument(
        "--max-active-dims",
        type=number_between(1, 10**6),
        metavar="N",
        help="keep the N largest weights of a vector (all)",
    )
    command.add_argument(
        "--weights",
        choices=("float32", "uint8"),
        default="float32",
        help="float32, or 8 bits: multiples of 1/64 up to 255/64 (float32)",
    )
    command.add_argument(
        "--batch-size",
        type=number_between(1, 10**5),
        default=32,
        metavar="N",
        help="texts encoded at once (32)",
    )

    command = commands.add(score, json_argument(), tables)
    command.add_argument("sentence", nargs="*", help="the two sentences")
    command.add_argument("--file", help=f"pairs in columns sentence1 and sentence2; {FILES}")
    command.add_argument("--output", help="write the scores of --file to this folder")
    command.add_argument(
        "--format", choices=("csv", "jsonl", "parquet"), help="of --output (parquet)"
    )
    command.add_argument(
        "--model", action="append", help=f"{MODEL}; give it twice to see before and after"
    )


def table_arguments() -> argparse.ArgumentParser:
    """How tables are read, and their rows shared out."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--id", metavar="COLUMN", help="the column of the ids (rows are numbered)")
    shared.add_argument(
        "--delimiter",
        choices=("comma", "tab", "semicolon"),
        help="of CSV and TSV (by the file's ending)",
    )
    shared.add_argument(
        "--no-quotes", action="store_true", help="quotes are plain characters of CSV and TSV"
    )
    shared.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out rows without a text, count and list them, instead of refusing the file",
    )
    shared.add_argument(
        "--processes",
        type=number_between(1, 1024),
        metavar="N",
        help="processes that work at once, of one thread each; no byte depends on it (one for each "
        "core; one where there is a GPU)",
    )
    shared.add_argument(
        "--shard-rows",
        type=number_between(1, 10**6),
        default=10_000,
        metavar="N",
        help="rows of a file of --output, of which a killed run loses at most N for each process "
        "(10000)",
    )
    return shared


def encode(arguments: argparse.Namespace) -> None:
    """Encode the texts of tables of any size to sparse vectors, in files for a search engine or in
    Parquet. Run again after a kill, it goes on where it was.
    """
    from splade_sts.apply.encode import Encoding
    from splade_sts.apply.rows import Source
    from splade_sts.apply.work import run, told

    if arguments.terms and arguments.format != "parquet":
        raise UserError(f"--terms is for Parquet; leave it out with --format {arguments.format}")
    job = Encoding(
        arguments.model,
        arguments.format,
        arguments.terms,
        arguments.max_active_dims,
        arguments.weights,
        arguments.batch_size,
    )
    source = Source(
        tuple(map(Path, arguments.file)),
        (arguments.text,),
        arguments.id,
        _form(arguments),
        "name the column of the texts with --text, that of ids with --id",
    )
    manifest = run(job, source, _settings(arguments))
    print(told(manifest, Path(arguments.output), job.folder))
    active = manifest["postings"] / manifest["rows"]
    print(f"{active:.1f} active dims a vector; {manifest['without_terms']:,} vectors have none")
    if cut := manifest.get("cut_to_8_bits"):
        print(f"{cut:,} weights were above 255/64, and cut to it")


def score(arguments: argparse.Namespace) -> None:
    """Score sentence pairs with a model: cosine, active dims and the terms that the two sentences
    share.
    """
    from splade_sts.apply import score as scoring
    from splade_sts.apply.rows import Source, survey
    from splade_sts.apply.work import run, told

    if len(arguments.sentence) != (0 if arguments.file else 2):
        raise UserError(
            'give two sentences, or --file with a table of pairs: python -m splade_sts score "A" '
            '"B"'
        )
    _check_use(arguments)
    folders = arguments.model or [str(layout.model("finetuned"))]
    show = scoring.as_json if arguments.json else scoring.as_text
    if not arguments.file:
        pair = (arguments.sentence[0], arguments.sentence[1])
        scoring.check_pair(pair)
        sys.stdout.writelines(show(scoring.score(folders, [pair])))
        return
    source = Source((Path(arguments.file),), scoring.COLUMNS, arguments.id, _form(arguments))
    if arguments.output:
        job = scoring.Scoring(tuple(dict.fromkeys(folders)), arguments.format or "parquet")
        manifest = run(job, source, _settings(arguments))
        print(told(manifest, Path(arguments.output), job.folder))
        return
    found = survey(source, arguments.skip_bad)
    sys.stdout.writelines(show(scoring.score(folders, _pairs(source))))
    if found.left_out:
        print(f"rows left out: {found.left_out:,}", file=sys.stderr)


def _check_use(arguments: argparse.Namespace) -> None:
    """Raise `UserError` where `score` would not use an argument that was given."""
    table = ("delimiter", "no_quotes", "skip_bad")
    folder = ("format", "id", "processes")
    unused: tuple[str, ...]
    if not arguments.file:
        unused, remedy = ("output", *folder, *table), "it is for the pairs of --file"
    elif not arguments.output:
        unused, remedy = folder, "it is for --output; give --output, or --json for stdout"
    else:
        unused, remedy = ("json",), "it is for stdout; give --format jsonl"
    for name in unused:
        if getattr(arguments, name):
            raise UserError(f"--{name.replace('_', '-')}: {remedy}")


def _pairs(source: "Source") -> Iterator[tuple[str, str]]:
    """The good pairs; the bad ones are named on stderr."""
    from splade_sts.apply.rows import BadRow

    for row in source.rows():
        if isinstance(row, BadRow):
            print(
                without_commands(f"left out: {row.file}, {row.place}: {row.why}"), file=sys.stderr
            )
        else:
            yield row.texts[0], row.texts[1]


def _form(arguments: argparse.Namespace) -> "Delimited":
    from splade_sts.data.tables import Delimited

    return Delimited(arguments.delimiter, not arguments.no_quotes)


def _settings(arguments: argparse.Namespace) -> "Settings":
    from splade_sts.apply.work import Settings

    return Settings(
        Path(arguments.output),
        arguments.shard_rows,
        arguments.processes,
        arguments.skip_bad,
    )
