"""The writer process: reads a training's messages from standard input and writes them to MLflow in
batches.
"""

import json
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splade_sts.errors import without_secrets
from splade_sts.tracking.owner import SIGN_SECONDS, owner
from splade_sts.tracking.start import start_mlflow
from splade_sts.tracking.view import SEEN_TAG, WRITER_TAG

if TYPE_CHECKING:
    from splade_sts.tracking.store import Store

BATCH_SECONDS = 2.0
BATCH_VALUES = 500
SYNC_HINT = "the training goes on; complete MLflow later with: python -m splade_sts sync"

# One of {step, values}, {tags} and {end}; None is the end of the pipe.
Message = Mapping[str, Any] | None
Messages = queue.Queue[Message]
# Name, value, time in milliseconds, step.
Value = tuple[str, float, int, int]


def _read(messages: Messages) -> None:
    """Pass on every line of standard input at once, so that the training never waits; None at the
    end.
    """
    for line in sys.stdin:
        messages.put(json.loads(line))
    messages.put(None)


def _sign() -> dict[str, str]:
    """A sign of life, for `splade_sts.tracking.owner.alive` on other machines."""
    return {SEEN_TAG: f"{time.time():.0f}"}


class Writer:
    """Writes one training's messages to one MLflow run.

    Attributes:
        status: how the training ended, None while it runs.
        tags: every tag that was sent, for the note that is left where MLflow cannot be told.
    """

    def __init__(self, start: Mapping[str, Any]):
        self.start = start
        self.store: Store | None = None
        self.run_id = ""
        self.status: str | None = None
        self.tags: dict[str, str] = {}

    def open(self) -> "Store":
        """Make the run, with its parameters and tags."""
        start_mlflow()
        from splade_sts.tracking.store import Store, param_entities

        self.store = store = Store.open(Path(self.start["root"]), self.start["experiment"])
        tags = {**self.start["tags"], WRITER_TAG: owner(), **_sign()}
        run = store.client.create_run(store.experiment_id, run_name=self.start["name"], tags=tags)
        self.run_id = run.info.run_id
        store.client.log_batch(self.run_id, params=param_entities(self.start["params"]))
        return store

    def take(self, message: Message) -> list[Value]:
        """Note what a message says; return the values in it."""
        if message is None:
            self.status = "KILLED"  # the pipe was closed without a word: the training is dead
        elif "end" in message:
            self.status = message["end"]
        elif "tags" in message:
            self.tags |= message["tags"]
        else:
            now = int(time.time() * 1000)
            return [
                (name, value, now, message["step"]) for name, value in message["values"].items()
            ]
        return []

    def follow(self, store: "Store", messages: Messages) -> None:
        """Write metrics in batches until the training ends."""
        from mlflow.entities import Metric
        from mlflow.system_metrics import system_metrics_monitor as system  # private: mlflow

        from splade_sts.tracking.store import tag_entities

        monitor: Any = system.SystemMetricsMonitor(self.run_id)  # type: ignore[no-untyped-call]
        monitor.start()
        try:
            signed = time.monotonic()
            while self.status is None:
                values = [Metric(*value) for value in self._batch(messages)]
                due = time.monotonic() - signed >= SIGN_SECONDS
                if due:
                    signed = time.monotonic()
                store.client.log_batch(
                    self.run_id, metrics=values, tags=tag_entities(_sign()) if due else []
                )
        finally:
            monitor.finish()

    def _batch(self, messages: Messages) -> list[Value]:
        """The values in the messages of the next seconds, up to the end of the training; none where
        there is no message for as long as a sign of life may take.
        """
        try:
            values = self.take(messages.get(timeout=SIGN_SECONDS))
        except queue.Empty:
            return []
        deadline = time.monotonic() + BATCH_SECONDS
        while (
            self.status is None
            and len(values) < BATCH_VALUES
            and (left := deadline - time.monotonic()) > 0
        ):
            try:
                values += self.take(messages.get(timeout=left))
            except queue.Empty:
                break
        return values

    def close(self, store: "Store") -> None:
        """Give the run its last tags and its status."""
        from splade_sts.tracking.store import tag_entities

        store.client.log_batch(self.run_id, tags=tag_entities(self.tags))
        store.client.set_terminated(self.run_id, status=self.status)

    def leave_note(self) -> None:
        """Write down how the training ended, for `splade_sts.tracking.store.Store.settle`; only of
        a run that is there.
        """
        if self.store is None or not self.run_id:
            return
        note = self.store.end_note(self.run_id)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"status": self.status, "tags": self.tags}), encoding="utf-8")


def main() -> None:
    """Follow one training to its end, whatever becomes of MLflow."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    messages: Messages = queue.Queue()
    threading.Thread(target=_read, args=(messages,), daemon=True).start()
    start = messages.get()
    if start is None:
        return
    writer = Writer(start)
    try:
        store = writer.open()
        writer.follow(store, messages)
        writer.close(store)
    except Exception as error:
        # whatever MLflow, its database or the network does: say it once, never fail the training
        said = without_secrets(str(error))[:300]
        print(
            f"\nwarning: MLflow: {type(error).__name__}: {said}\n{SYNC_HINT}",
            file=sys.stderr,
            flush=True,
        )
        while writer.status is None:  # keep the pipe empty until the training ends
            writer.take(messages.get())
        writer.leave_note()


if __name__ == "__main__":
    main()
