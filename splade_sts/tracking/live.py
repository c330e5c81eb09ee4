"""The training's end of the pipe: curves go to a writer process, so that MLflow can neither slow nor stop a training."""

import json
import subprocess
import sys
from typing import Any

from splade_sts.runs.record import git_tags, project_root, run_name

FINISH_SECONDS = 15.0


class LiveRun:
    """Context manager that shows a training in MLflow while it runs.

    What is logged is handed to a writer process through a pipe. The run ends as FINISHED, as FAILED where the block
    raises, and as KILLED where it is interrupted or this process dies in whatever way: the writer then reads the
    pipe's end. Where MLflow cannot be reached, the writer prints one warning and the training goes on.
    """

    def __init__(self, experiment: str, params: dict[str, Any], tags: dict[str, str]):
        self._start = {"experiment": experiment, "params": params, "tags": tags}
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "LiveRun":
        root = project_root()
        tags = {**git_tags(root), **self._start["tags"]}
        # a session of its own: Ctrl-C is for the training, the writer must live to report it
        self._process = subprocess.Popen(
            [sys.executable, "-m", "splade_sts.tracking.writer"], stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        self._send({**self._start, "root": str(root), "name": run_name(tags), "tags": tags})
        return self

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log values of a step; returns at once."""
        self._send({"step": step, "values": values})

    def tag(self, tags: dict[str, str]) -> None:
        """Set tags of the run; returns at once."""
        self._send({"tags": tags})

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is None:
            status = "FINISHED"
        else:
            status = "FAILED" if issubclass(kind, Exception) or kind is SystemExit else "KILLED"
        self._send({"end": status})
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass  # the writer is gone and has said why
        try:
            process.wait(FINISH_SECONDS)
        except subprocess.TimeoutExpired:
            print("warning: MLflow is slow; its writer goes on by itself", file=sys.stderr)

    def _send(self, message: dict[str, Any]) -> None:
        if self._process is None:
            return
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # the writer is gone and has said why
            self._process = None
