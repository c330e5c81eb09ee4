"""The training's end of the pipe: curves go to a writer process, so that MLflow can neither slow
nor stop a training.
"""

import json
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from splade_sts import layout
from splade_sts.params import Params
from splade_sts.runs.place import changed_params, git_tags, run_name
from splade_sts.runs.public import public_params
from splade_sts.tracking.view import (
    SECONDS,
    TRAINING_TAG,
    mlflow_tags,
    note,
    point_values,
    sweep_tag,
)
from splade_sts.training.curves import Point

FINISH_SECONDS = 15.0


class Silent:
    """What `LiveRun` offers, without MLflow: nothing is shown."""

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def point(self, point: Point) -> None:
        """Do nothing."""

    def finish(self, training_id: str, seconds: float) -> None:
        """Do nothing."""


class LiveRun:
    """Context manager that shows a training in MLflow while it runs.

    What is shown is handed to a writer process through a pipe. The run ends as FINISHED, as FAILED
    where the block raises, and as KILLED where it is interrupted or this process dies in whatever
    way: the writer then reads the pipe's end. Where MLflow cannot be reached, the writer prints one
    warning and the training goes on.

    Args:
        experiment: name of the MLflow experiment.
        params: parameters under their dotted names, as they may be shown.
        tags: of the run, besides where it stands in Git and DVC.
    """

    def __init__(self, experiment: str, params: dict[str, Any], tags: dict[str, str]):
        self._experiment, self._params, self._tags = experiment, params, tags
        self._process: subprocess.Popen[str] | None = None
        self._last_step = 0

    def __enter__(self) -> Self:
        """Start the writer; it makes the run."""
        root = layout.project_root()
        tags = {**git_tags(root), **self._tags}
        changed = changed_params(root, self._params, tags.get("git.commit"))
        # a session of its own: Ctrl-C is for the training, the writer must live to report it
        self._process = subprocess.Popen(
            [sys.executable, "-m", "splade_sts.tracking.writer"],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._send(
            {
                "experiment": self._experiment,
                "params": self._params,
                "tags": {
                    **mlflow_tags(tags, note(None, changed, None)),
                    **sweep_tag(tags, self._params),
                    **tags,
                },
                "root": str(root),
                "name": run_name(tags),
            }
        )
        return self

    def point(self, point: Point) -> None:
        """Show a point of a curve; returns at once."""
        self._last_step = max(self._last_step, point.step)
        self._send({"step": point.step, "values": point_values(point)})

    def finish(self, training_id: str, seconds: float) -> None:
        """Say what the training was, so that its run can be completed later; returns at once.

        Args:
            training_id: see `splade_sts.runs.identity.training_id`.
            seconds: how long it took.
        """
        self._send({"step": self._last_step, "values": {SECONDS: seconds}})
        self._send({"tags": {TRAINING_TAG: training_id}})

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell the writer how the block ended, and wait for it a little."""
        if kind is None:
            status = "FINISHED"
        else:
            status = "FAILED" if issubclass(kind, Exception) or kind is SystemExit else "KILLED"
        self._send({"end": status})
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with suppress(BrokenPipeError):  # the writer is gone and has said why
            process.stdin.close()
        try:
            process.wait(FINISH_SECONDS)
        except subprocess.TimeoutExpired:
            print("warning: MLflow is slow; its writer goes on by itself", file=sys.stderr)

    def _send(self, message: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # the writer is gone and has said why
            self._process = None


def live_run(settings: Params, tags: dict[str, str]) -> LiveRun | Silent:
    """The live run of a training, or nothing where `track.enabled` is false.

    Args:
        settings: the parameters.
        tags: facts of this training, such as the device and the versions of libraries.
    """
    if not settings.track.enabled:
        return Silent()
    return LiveRun(settings.track.experiment, public_params(settings), tags)
