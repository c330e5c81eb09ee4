"""The writer process: reads a training's messages from standard input and writes them to MLflow in batches."""

import json
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from splade_sts.errors import without_secrets

BATCH_SECONDS = 2.0
BATCH_VALUES = 500
SYNC_HINT = "the training goes on; complete MLflow later with: python -m splade_sts sync"

Messages = queue.Queue[dict[str, Any] | None]


def _read(messages: Messages) -> None:
    """Pass on every line of standard input at once, so that the training never waits; None at the end."""
    for line in sys.stdin:
        messages.put(json.loads(line))
    messages.put(None)


class Writer:
    """Writes one training's messages to one MLflow run.

    Attributes:
        status: how the training ended, None while it runs.
        tags: every tag that was sent, for the note that is left where MLflow cannot be told.
    """

    def __init__(self, start: dict[str, Any]):
        from splade_sts.tracking import store

        self.store, self.root, self.run_id = store, Path(start["root"]), None
        self.status: str | None = None
        self.tags: dict[str, str] = {}
        self.start = start

    def open(self) -> None:
        """Make the run, with its parameters and tags."""
        self.client, experiment_id = self.store.connect(self.root, self.start["experiment"])
        tags = {**self.start["tags"], self.store.WRITER_TAG: self.store.writer_identity()}
        self.run_id = self.client.create_run(experiment_id, run_name=self.start["name"], tags=tags).info.run_id
        self.client.log_batch(self.run_id, params=self.store.param_entities(self.start["params"]))

    def take(self, message: dict[str, Any] | None) -> list:
        """Note what a message says; return the metrics in it."""
        from mlflow.entities import Metric

        if message is None:
            self.status = "KILLED"  # the pipe was closed without a word: the training is dead
        elif "end" in message:
            self.status = message["end"]
        elif "tags" in message:
            self.tags |= message["tags"]
        else:
            now = int(time.time() * 1000)
            return [Metric(name, value, now, message["step"]) for name, value in message["values"].items()]
        return []

    def follow(self, messages: Messages) -> None:
        """Write metrics in batches until the training ends."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(self.run_id)
        monitor.start()
        try:
            while self.status is None:
                metrics = self.take(messages.get())
                deadline = time.monotonic() + BATCH_SECONDS
                while self.status is None and len(metrics) < BATCH_VALUES and (left := deadline - time.monotonic()) > 0:
                    try:
                        metrics += self.take(messages.get(timeout=left))
                    except queue.Empty:
                        break
                self.client.log_batch(self.run_id, metrics=metrics)
        finally:
            monitor.finish()

    def close(self) -> None:
        """Give the run its last tags and its status."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(key, str(value)) for key, value in self.tags.items()])
        self.client.set_terminated(self.run_id, status=self.status)

    def leave_note(self) -> None:
        """Write down how the training ended, for `splade_sts.tracking.store.settle`."""
        folder = self.store.pending_folder(self.root)
        folder.mkdir(parents=True, exist_ok=True)
        note = {"status": self.status, "tags": self.tags}
        (folder / f"{self.run_id}.json").write_text(json.dumps(note), encoding="utf-8")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    messages: Messages = queue.Queue()
    threading.Thread(target=_read, args=(messages,), daemon=True).start()
    start = messages.get()
    if start is None:
        return
    writer = Writer(start)
    try:
        writer.open()
        writer.follow(messages)
        writer.close()
    except Exception as error:  # whatever MLflow, its database or the network does: say it once, never fail the training
        said = without_secrets(str(error))[:300]
        print(f"\nwarning: MLflow: {type(error).__name__}: {said}\n{SYNC_HINT}", file=sys.stderr, flush=True)
        while writer.status is None:  # keep the pipe empty until the training ends
            writer.take(messages.get())
        if writer.run_id is not None:
            writer.leave_note()


if __name__ == "__main__":
    main()
