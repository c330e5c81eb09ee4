"""How a process of ours ends, and what a stage makes sure of before it starts."""

import ctypes
import io
import os
import platform
import re
import select
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

from splade_sts import layout
from splade_sts.errors import (
    UserError,
    disk_problem,
    memory_problem,
    without_commands,
    without_secrets,
)
from splade_sts.locks import locked

# Constants of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
Given = TypeVar("Given")
Made = TypeVar("Made")

BUSY = "a stage of an earlier run still works in this folder (`kill {pid}` ends it); waiting for it"


def keep_freed_memory(keep: bool) -> None:
    """Let this process keep the memory that it frees, or give it back.

    Nothing is done where the C library is not glibc. By default glibc hands blocks above 32 MB back
    to the system at once. The gradients of a vocabulary matrix are such blocks: every step would
    have the system clear them page by page (mallopt(3)). But what is kept is scattered and not all
    of it can be used again: without `keep`, blocks from 8 MiB on and what had been kept before
    (malloc_trim(3)) go back.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    blocks, top = (1 << 30, -1) if keep else (8 << 20, 8 << 20)
    for name, value in ((M_MMAP_THRESHOLD, blocks), (M_TRIM_THRESHOLD, top)):
        if not libc.mallopt(name, value):
            raise OSError(f"glibc refused mallopt({name}, {value})")
    if not keep:
        libc.malloc_trim(0)


def threads() -> int:
    """How many threads may compute at once: `OMP_NUM_THREADS`, by which jobs on one machine share
    its cores, or else a thread for each core that this process may run on.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(wanted)) if wanted.isdecimal() else len(os.sched_getaffinity(0))


def in_threads(function: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
    """`function` of each of `given`, in their order, computed in `threads` at once.

    Of those that are given, only a few more than there are threads are held at a time.
    """
    workers = threads()
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for one in given:
            if len(waiting) > workers:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, one))
        while waiting:
            yield waiting.popleft().result()


def run_command(main: Callable[[], None]) -> None:
    """Call `main`; print what the user can mend as one message and exit with status 1, after Ctrl-C
    with 130.

    Other exceptions are bugs and end with their traceback. Nothing printed holds a secret, or
    anything that a terminal would obey.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows no Unicode gets escapes
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except UserError as error:
        problem = memory_problem(
            error.__cause__
        )  # a model or file that could not be loaded for that reason, say
        sys.exit(f"error: {_printable(f'{error}: {problem}' if problem else str(error))}")
    except KeyboardInterrupt:
        print("interrupted; run again to go on", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if problem := disk_problem(error) or memory_problem(error):
            sys.exit(f"error: {_printable(problem)}")
        sys.exit(_printable(traceback.format_exc()))


@contextmanager
def until_the_reader_leaves() -> Iterator[None]:
    """End the process quietly where nobody reads its output any more, as in `command | head -1`,
    with the status that a shell gives to a process that SIGPIPE ended.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_left(sys.stdout.fileno()):  # another pipe
            raise
        # what is left over would fail once more when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def _is_left(pipe: int) -> bool:
    """Whether no process can read from a pipe any more."""
    state = select.poll()
    state.register(pipe, 0)
    return any(event & select.POLLERR for _, event in state.poll(0))


def _printable(text: str) -> str:
    return without_commands(without_secrets(text))


def run_stage(main: Callable[[], None], leads: Callable[[], bool] = lambda: True) -> None:
    """`run_command` for a stage: with the pinned versions, and one at a time in a working
    directory.

    A stage outlives a `dvc` that is killed. What it still writes must not come between the outputs
    of the next run.

    Args:
        main: the stage.
        leads: whether this process is the first one of those that are the stage together: it is the
            one that waits for an earlier run, and the others wait for it.
    """

    def alone() -> None:
        check_versions()
        if not layout.STAGE_LOCK.parent.parent.is_dir() or not leads():
            main()
            return
        with locked(layout.STAGE_LOCK, BUSY):
            main()

    run_command(alone)


def check_versions() -> None:
    """Check that the packages that numbers depend on are installed as pinned.

    The stages depend on the files that pin them, so that another version, once it is pinned, runs
    them again. A build's own part of a version (`+cpu`) does not count.

    Raises:
        UserError: names each package that differs, and what to do.
    """
    different = []
    for file in (layout.MODEL_VERSIONS, layout.DATA_VERSIONS):
        for name, pinned in re.findall(
            r"^([\w.-]+)==([\w.]+)", file.read_text(encoding="utf-8"), re.MULTILINE
        ):
            try:
                installed = version(name).split("+")[0]
            except PackageNotFoundError:
                installed = "missing"
            if installed != pinned:
                different.append(f"{name} {pinned} is pinned in {file}; installed: {installed}")
    if different:
        raise UserError(
            "the results would not be those of the pinned packages:\n  "
            + "\n  ".join(different)
            + "\ninstall them (python -m pip install -r requirements.txt), or pin the versions "
            "you want: the stages that depend on them then run again"
        )
