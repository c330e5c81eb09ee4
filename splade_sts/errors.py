"""The one exception whose message is meant for the user, and what no message may hold."""

import os
import re
import sys
import traceback
from collections.abc import Callable

SECRETS = (
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


class UserError(Exception):
    """Something the user can mend; the message says what is wrong, where, and what to do."""


def without_secrets(text: str) -> str:
    """`text` without the credentials of URLs and without the values of environment variables that hold secrets."""
    for name in SECRETS:
        if value := os.environ.get(name):
            text = text.replace(value, "…")
    return re.sub(r"(?<=://)[^/\s'\"]*@", "…@", text)


def run_stage(main: Callable[[], None]) -> None:
    """Call `main`; print a `UserError` as one message and exit with status 1.

    Other exceptions are bugs and end with their traceback, without secrets.
    """
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {without_secrets(str(error))}")
    except Exception:
        sys.exit(without_secrets(traceback.format_exc()))
