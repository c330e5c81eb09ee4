"""Command line: python -m splade_sts COMMAND; a module for each group of commands.

Commands import what they need themselves: a mistake in the arguments is said at once, and none
waits for a package that it does not need.
"""

import argparse

from splade_sts.cli import apply, experiments, explain, export, runs, sharing, tracking
from splade_sts.cli.arguments import Commands
from splade_sts.process import run_command, until_the_reader_leaves


def parser() -> argparse.ArgumentParser:
    """The arguments of every command; `function` is what runs it."""
    whole = argparse.ArgumentParser(
        prog="python -m splade_sts",
        description="What there is beside DVC's own commands. Each command has its own --help.",
    )
    commands = Commands(whole)
    for group in (runs, experiments, apply, explain, export, sharing, tracking):
        group.add_to(commands)
    return whole


def main() -> None:
    """Run the command that the arguments name."""

    def command() -> None:
        with until_the_reader_leaves():
            arguments = parser().parse_args()
            arguments.function(arguments)

    run_command(command)
