"""What the commands' arguments share: how they are added, their types, those of several."""

import argparse
from collections.abc import Callable
from typing import Any

RUNS = "DVC experiments, or Git revisions with committed results"

Command = Callable[[argparse.Namespace], None]


class Commands:
    """The commands of a parser, each named and described by its function.

    Args:
        parser: what they are added to.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parsers: Any = parser.add_subparsers(required=True)

    def add(self, function: Command, *shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
        """Add a command.

        Args:
            function: runs it; its name and its docstring are the command's.
            shared: arguments that it has in common with other commands.

        Returns:
            its parser, for further arguments.
        """
        text = function.__doc__
        command: argparse.ArgumentParser = self._parsers.add_parser(
            function.__name__, help=text, description=text, parents=shared
        )
        command.set_defaults(function=function)
        return command


def json_argument() -> argparse.ArgumentParser:
    """`--json`."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print JSON")
    return shared


def run_arguments() -> argparse.ArgumentParser:
    """One run or several."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("run", nargs="+", help=RUNS)
    return shared


def number_between(low: int, high: int) -> Callable[[str], int]:
    """A type of argparse: whole numbers from `low` to `high`."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"found {text!r}; expected a whole number from {low} to {high}"
            )
        return value

    return number


def share(text: str) -> float:
    """A type of argparse: numbers above 0 and below 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected a number above 0 and below 1, such as 0.01"
        )
    return value
