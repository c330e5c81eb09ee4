"""A process that has imported the large libraries and forks one process for each command that
shim.py sends it.

A forked process has nothing of the project in it: its code is imported from its working directory,
as `python -m` does. Threads are not forked, so the server only imports; it computes nothing.

`python forkserver.py SOCKET PID` serves at SOCKET until the process PID ends.
"""

import array
import atexit
import contextlib
import gc
import importlib
import marshal
import os
import re
import runpy
import selectors
import signal
import socket
import sys
import threading
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from shim import early

# Set where coverage is measured; its own .pth file looks at it in a fresh interpreter.
COVERAGE, OURS = "COVERAGE_PROCESS_CONFIG", re.compile(r"stages\.|splade_sts\b")
SHIM = str(Path(__file__).with_name("bin") / "python")
LIBRARIES = (
    "torch",
    "sentence_transformers.sparse_encoder",
    "transformers.models.bert.modeling_bert",
    "datasets",
    "scipy.stats",
    "sklearn.feature_extraction.text",
    "matplotlib.figure",
    "pydantic",
    "ruamel.yaml",
    "tabulate",
    "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
    "dvc.cli",
    "dvc.repo",
    "dvc.api",
    "dvc.commands.repro",
    "dvc.commands.experiments.run",
)


@dataclass
class Request:
    """What a shim asks for: the arguments of `python`, a working directory, an environment, and its
    streams 0 to 2.
    """

    connection: socket.socket
    arguments: list[str]
    folder: str
    environment: dict[str, str]
    streams: list[int]

    @classmethod
    def receive(cls, connection: socket.socket) -> "Request":
        """Read what `shim.connect` sends."""
        streams = array.array("i")
        head, extra, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(3 * streams.itemsize))
        for _, _, descriptors in extra:
            streams.frombytes(descriptors)
        size, content = int.from_bytes(head, "big"), b""
        while len(content) < size:
            content += (part := connection.recv(size - len(content)))
            if not part:
                raise ConnectionError
        return cls(connection, *marshal.loads(content), list(streams))

    def answer(self, number: int) -> None:
        """Send a number; whoever asked may have been killed."""
        with contextlib.suppress(OSError):
            self.connection.sendall(number.to_bytes(8, "big", signed=True))


def serve(path: str, parent: int, seen: dict[str, str]) -> Request:
    """Serve until the process `parent` ends; returns in each forked process, with the request that
    it is for.

    `seen` is the environment that the libraries saw when they were imported; a request with another
    one is refused.
    """
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.new")
    listener.listen(64)
    Path(f"{path}.new").rename(path)
    events = selectors.DefaultSelector()
    events.register(listener, selectors.EVENT_READ)
    events.register(os.pidfd_open(parent), selectors.EVENT_READ, os._exit)
    while True:
        for key, _ in events.select():
            if key.fileobj is not listener:
                key.data(0) if key.data is os._exit else key.data()
                continue
            connection, _ = listener.accept()
            try:
                request = Request.receive(connection)
            except OSError:
                connection.close()
                continue
            fits = early(request.environment) == seen
            pid = os.fork() if fits else 0
            if fits and not pid:
                return request
            for descriptor in request.streams:
                os.close(descriptor)
            request.answer(pid)
            if pid:
                watch(events, pid, request)
            else:
                connection.close()


def watch(events: selectors.BaseSelector, pid: int, request: Request) -> None:
    """Tell who asked how the process `pid` ends."""
    descriptor = os.pidfd_open(pid)

    def ended() -> None:
        _, status = os.waitpid(pid, 0)
        events.unregister(descriptor)
        os.close(descriptor)
        request.answer(os.waitstatus_to_exitcode(status))
        request.connection.close()

    events.register(descriptor, selectors.EVENT_READ, ended)


def fresh_stream(number: int) -> TextIO:
    """A standard stream as a fresh interpreter opens it."""
    mode, errors = "r" if number == 0 else "w", "backslashreplace" if number == 2 else "strict"
    buffering = 1 if number == 2 or os.isatty(number) else -1
    return open(number, mode, buffering, "utf-8", errors, closefd=False)


def become(request: Request) -> None:
    """Make this process what a fresh `python` in the place of the shim would be."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, descriptor in enumerate(request.streams):
        os.dup2(descriptor, number)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    os.closerange(3, highest + 1)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = fresh_stream(number)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    sys.modules["numpy"].random.seed()  # of its own, as Python's random does by itself
    sys.executable = SHIM
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__builtins__ = __builtins__
    if COVERAGE in os.environ and any(OURS.match(name) for name in request.arguments[1:2]):
        importlib.import_module("coverage").process_startup(slug="fork")


def execute(arguments: list[str], folder: str) -> None:
    """Do what `python` does with `arguments`, `-m MODULE …` or `-c CODE …`, perhaps after `-B` or
    `-u`.
    """
    while arguments[0] in ("-B", "-u"):
        if arguments[0] == "-B":
            sys.dont_write_bytecode = True
        else:
            sys.stdout.reconfigure(write_through=True)
        arguments = arguments[1:]
    kind, what, *rest = arguments
    sys.argv = [kind, *rest]
    more = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [folder if kind == "-m" else "", *filter(None, more)]
    if kind == "-m":
        runpy._run_module_as_main(what)
    else:
        exec(compile(what, "<string>", "exec"), sys.modules["__main__"].__dict__)


def finish(arguments: list[str], folder: str) -> None:
    """`execute`, and end as an interpreter does, but leave what was imported as it is."""
    status = 0
    try:
        execute(arguments, folder)
    except SystemExit as end:
        if isinstance(end.code, int):
            status = end.code
        elif end.code is not None:
            print(end.code, file=sys.stderr)
            status = 1
    except BaseException as error:
        ours = error.__traceback__.tb_next  # the frames of `finish` and `execute`
        sys.excepthook(type(error), error, ours and ours.tb_next)
        status = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status & 0xFF)


def main() -> None:
    path, parent = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path.pop(0)
    del sys.modules["shim"]
    seen = early(os.environ)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    request = serve(path, parent, seen)
    become(request)
    finish(request.arguments, request.folder)


if __name__ == "__main__":
    main()
