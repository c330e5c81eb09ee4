"""MLflow as this project wants it."""

import logging
import os

# Which of MLflow's own names of settings get which values, where the caller has set none: no
# telemetry, no progress bar for each run whose files are read, and a server that does not answer
# costs seconds, not minutes.
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
}


def start_mlflow() -> None:
    """Set this process's environment for MLflow, then import it: it reads some of its settings
    while it is imported.

    Call it before `splade_sts.tracking.store` is imported; calling it again changes nothing.
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.pop("MLFLOW_RUN_ID", None)  # a run of somebody else's, which would take over ours
    import mlflow  # noqa: F401

    # its news of tables created and monitors started would stand in the middle of the training's
    # output
    logging.getLogger("mlflow").setLevel(logging.WARNING)
