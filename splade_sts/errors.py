"""The one exception whose message is meant for the user."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend; the message says what is wrong, where, and what to do."""


def run_stage(main: Callable[[], None]) -> None:
    """Call `main`; print a `UserError` as one message and exit with status 1. Other exceptions are bugs and propagate."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
