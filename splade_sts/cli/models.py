"""Commands about a model: score."""

import argparse

from splade_sts import layout
from splade_sts.cli.arguments import Commands, json_argument
from splade_sts.errors import UserError


def add_to(commands: Commands) -> None:
    """Add the commands of this module.

    Args:
        commands: what they are added to.
    """
    json = json_argument()
    command = commands.add(score, json)
    command.add_argument("sentence", nargs="*", help="the two sentences")
    command.add_argument(
        "--file", help="CSV, TSV, JSONL or Parquet file with columns sentence1 and sentence2"
    )
    command.add_argument(
        "--model",
        action="append",
        help="model folder (models/finetuned); give it twice to see before and after",
    )


def score(arguments: argparse.Namespace) -> None:
    """Score sentence pairs with a model: cosine, active dims and the terms that the two sentences
    share.
    """
    from splade_sts import score as scoring

    if (len(arguments.sentence) == 2) == bool(arguments.file):
        raise UserError(
            'give two sentences, or --file with a table of pairs: python -m splade_sts score "A" '
            '"B"'
        )
    first_second = tuple(arguments.sentence)
    pairs = scoring.read_pairs(arguments.file) if arguments.file else [first_second]
    scored = scoring.score(arguments.model or [str(layout.model("finetuned"))], pairs)
    print(scoring.as_json(scored) if arguments.json else scoring.as_text(scored))
