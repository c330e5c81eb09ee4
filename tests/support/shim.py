"""Stands for `python` in the tests: has its command run by forkserver.py, or becomes the real
interpreter.

It passes on its arguments, working directory, environment and standard streams, forwards Ctrl-C and
SIGTERM, and ends as the process does that the server forks. Where it is killed, that process works
on, as one of a shell's would. Started often, it imports little.
"""

import array
import marshal
import os
import signal
import socket
import sys

MODULES = ("stages.", "splade_sts", "dvc", "mlflow")
# Prefixes of what is read when a library is imported, which the server has done already.
EARLY = (
    "HF_",
    "HUGGING",
    "TRANSFORMERS_",
    "TOKENIZERS_",
    "TORCH",
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "CUDA",
    "LD_",
    "PYTHON",
)
# Read later, or, the last three of them, set by torchrun and by what it imports.
LATE = (
    "HF_TOKEN",
    "PYTHONPATH",
    "TORCHELASTIC_",
    "TORCHINDUCTOR_CACHE_DIR",
    "TORCH_NCCL_",
)
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def early(environment):
    """The variables that the libraries read when they are imported."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(EARLY) and not name.startswith(LATE)
    }


def forkable(arguments):
    """Whether the server can do what `python` does with these arguments."""
    while arguments[:1] in (["-B"], ["-u"]):
        arguments = arguments[1:]
    kind, what = [*arguments, None, None][:2]
    for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        if os.access(f"{folder}/sitecustomize.py", os.F_OK):
            return False
    return kind == "-c" or (kind == "-m" and what.startswith(MODULES))


def connect(arguments):
    """Have the server fork a process; its pid, and the connection that tells its end. None where it
    cannot do it.
    """
    if not forkable(arguments):
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(os.environ.get("TESTS_SERVER", ""))
    except OSError:
        return None
    folder = os.getcwd()  # noqa: PTH109 (nor is pathlib imported)
    content = marshal.dumps((arguments, folder, dict(os.environ)))
    streams = array.array("i", [0, 1, 2])
    connection.sendmsg(
        [len(content).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)]
    )
    connection.sendall(content)
    pid = int.from_bytes(connection.recv(8), "big")
    return (pid, connection) if pid else None


def end_as(status):
    """Exit with `status`, or by the signal that a negative one stands for."""
    if status >= 0:
        os._exit(status)
    if -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
    signal.pause()


def main():
    """Run `python` with the arguments of this process."""
    early_signals = []
    forwarded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in forwarded:
        signal.signal(number, lambda number, frame: early_signals.append(number))
    forked = connect(sys.argv[1:])
    if forked is None:
        os.execv(os.environ["TESTS_PYTHON"], [os.environ["TESTS_PYTHON"], *sys.argv[1:]])
    pid, connection = forked

    def forward(number, frame=None):
        try:  # noqa: SIM105 (contextlib takes time to import)
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    for number in forwarded:
        signal.signal(number, forward)
    for number in early_signals:
        forward(number)
    answer = connection.recv(8)
    end_as(int.from_bytes(answer, "big", signed=True) if answer else -signal.SIGKILL)


if __name__ == "__main__":
    main()
