"""Work on tables of any size: shard after shard, in one process or in several."""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tqdm.auto import tqdm

from splade_sts.apply.output import LEFT_OUT, MANIFEST, Shard, finished, unfinished
from splade_sts.apply.rows import BadRow, Row, Source, shards, survey
from splade_sts.errors import UserError, shown
from splade_sts.files import sha256

# Shards that wait for each process, so that none waits for the reader.
WAITING = 2
SECONDS = 0.5  # between two looks at how far the processes are
# What every process of several needs: imported once, before they are forked.
PRELOADED = (
    "torch",
    "sentence_transformers.sparse_encoder",
    "splade_sts.evaluation.evaluate",
    "splade_sts.model.encoder",
)

Progress = Callable[[int], object]
# Writes the rows as a file; says how many are done, and returns what it counted.
Maker = Callable[[list[Row], Path, Progress], dict[str, int]]


class Job(Protocol):
    """What is made of the rows; it can be hashed and goes to other processes.

    Attributes:
        folder: name of the folder of the shards.
        ending: of their files.
    """

    @property
    def folder(self) -> str: ...
    @property
    def ending(self) -> str: ...

    def check(self, output: Path) -> None:
        """Raise `UserError` where it cannot be done, or not in that folder, before anything large
        is imported.
        """

    def identity(self) -> dict[str, Any]:
        """What decides the bytes of a shard of given rows, as JSON."""

    def files(self) -> Mapping[str, Any]:
        """Files that go with the shards, by name, as JSON."""

    def start(self) -> Maker:
        """Get ready, once in a process. One thread is used from there on: the number of threads
        changes bytes.
        """


@dataclass(frozen=True)
class Settings:
    """How a run is done.

    Attributes:
        output: the folder that is made.
        shard_rows: rows of a shard.
        processes: how many work at once; no byte depends on it. None for one for each core, or one
            where there is a GPU.
        skip_bad: leave bad rows out, and list them.
    """

    output: Path
    shard_rows: int
    processes: int | None = None
    skip_bad: bool = False


def run(job: Job, source: Source, settings: Settings) -> dict[str, Any]:
    """Make the folder `settings.output` of the rows of `source`.

    A run that was ended in whatever way goes on where it was, if it is called with the same files,
    model and options; the folder then holds the same bytes as without the interruption.

    Returns:
        the manifest.

    Raises:
        UserError: what is wrong with the files, the model or the folder. A folder that is whole is
            left behind, or none of that name.
    """
    target = Path(os.path.abspath(settings.output))  # noqa: PTH100 - links stay as they are named
    source.check()
    job.check(target)
    with tqdm(desc="Reading", unit=" rows", disable=None, leave=False) as bar:
        found = survey(source, settings.skip_bad, bar.update)
    identity = {
        **job.identity(),
        "files": found.files,
        "columns": {"texts": list(source.texts), "id": source.name},
        "delimiter": source.form.delimiter,
        "quotes": source.form.quotes,
        "shard_rows": settings.shard_rows,
        "skip_bad": settings.skip_bad,
    }
    if manifest := finished(target, identity):
        return manifest
    processes = settings.processes or _processes()
    with unfinished(target, job.folder, identity) as folder:
        done = sum(shard.rows for shard in folder.done.values())
        with (
            tqdm(
                desc="Rows", total=found.rows, initial=done, unit=" rows", disable=None, smoothing=0
            ) as bar,
            _list_of_bad_rows(folder.left_out(), settings.skip_bad) as note,
        ):

            def missing() -> Iterator[tuple[str, list[Row], Path]]:
                for number, rows in enumerate(shards(source, settings.shard_rows, note)):
                    file = f"part-{number:06d}{job.ending}"
                    if file not in folder.done:
                        yield file, rows, folder.temporary(file)

            for shard, path in _made(job, missing(), processes, bar):
                folder.add(shard, path)
        rows = sum(shard.rows for shard in folder.done.values())
        if rows != found.rows or not found.is_still_true(source):
            folder.discard()
            names = ", ".join(map(shown, source.files))
            raise UserError(
                f"{names}: a file changed while it was read; what was made of it is removed. Run "
                "again"
            )
        counts: dict[str, int] = {}
        for shard in folder.done.values():
            for name, count in shard.counts.items():
                counts[name] = counts.get(name, 0) + count
        totals = {"rows": rows, "left_out": found.left_out, **counts}
        folder.finish(totals, job.files())
    return finished(target, identity) or {}


@contextmanager
def _list_of_bad_rows(path: Path, wanted: bool) -> Iterator[Callable[[BadRow], object]]:
    """What lists a bad row in `path`, where it is `wanted`: JSON Lines with `file`, `place` and
    `why`.
    """
    if not wanted:  # there was none when every row was looked at: the file has changed
        yield lambda row: None
        return
    with path.open("w", encoding="utf-8") as file:
        yield lambda row: file.write(json.dumps(vars(row), ensure_ascii=False) + "\n")


def _made(
    job: Job, todo: Iterator[tuple[str, list[Row], Path]], processes: int, bar: Any
) -> Iterator[tuple[Shard, Path]]:
    """The shards of `todo` as they get whole, each with the file where it was written."""
    if processes == 1:
        make = None
        for file, rows, path in todo:
            make = make or job.start()
            counts = make(rows, path, bar.update)
            yield Shard(file, len(rows), rows[0].number, sha256(path), counts), path
        return
    # Its processes are forked off one that has imported the libraries and done nothing else: that
    # is fast, and what was imported lies in memory once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    counter = context.Value("q", bar.n)
    pool = ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin, initargs=(counter,)
    )
    others = set(multiprocessing.active_children())
    waiting: dict[Future[tuple[str, dict[str, int]]], tuple[str, list[Row], Path]] = {}
    try:
        more = True
        while more or waiting:
            while more and len(waiting) < processes * WAITING:
                task = next(todo, None)
                more = task is not None
                if task is not None:
                    waiting[pool.submit(_make, job, *task[1:])] = task
            ready, _ = wait(waiting, timeout=SECONDS, return_when=FIRST_COMPLETED)
            # without its lock, which a process that is killed may hold
            bar.update(counter.get_obj().value - bar.n)
            for future in ready:
                file, rows, path = waiting.pop(future)
                digest, counts = future.result()
                yield Shard(file, len(rows), rows[0].number, digest, counts), path
        pool.shutdown()
    except BrokenProcessPool:
        raise UserError(
            "a process was ended from outside, perhaps because memory ran out; give fewer "
            "--processes or a smaller --shard-rows, and run again: what is done is kept"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()


# In a process of the pool: the rows that all of them have done, and what makes shards here.
_counter: Any = None
_maker: Maker | None = None


def _begin(counter: Any) -> None:
    """Get a process of the pool ready: it ends with the process that started it, however that ends,
    and leaves Ctrl-C to it.
    """
    global _counter
    _counter = counter
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        signal.raise_signal(signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()


def _make(job: Job, rows: list[Row], path: Path) -> tuple[str, dict[str, int]]:
    """Make a shard in a process of the pool; its SHA-256 and what was counted."""
    global _maker
    _maker = _maker or job.start()

    def count(done: int) -> None:
        with _counter.get_lock():
            _counter.value += done

    counts = _maker(rows, path, count)
    return sha256(path), counts


def told(manifest: Mapping[str, Any], output: Path, folder: str) -> str:
    """What a run made, for people."""
    shards = len(manifest["shards"])
    place, described = shown(output / folder), shown(output / MANIFEST)
    count = f"{manifest['rows']:,} rows in {place} (shards: {shards:,})"
    lines = [f"{count}, described in {described}"]
    if manifest["left_out"]:
        lines.append(f"{manifest['left_out']:,} rows left out: {shown(output / LEFT_OUT)}")
    return "\n".join(lines)


def _processes() -> int:
    import torch

    return 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))
