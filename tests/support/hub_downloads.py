"""A process that has imported the Hub's libraries and forks one process for each download.

`Downloads` starts it; it waits little between its tries, and its limits are small.
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support import tiny
from tests.support.commands import ROOT
from tests.support.hub_server import REVISION, HubServer
from tests.support.projects import set_params

# What the stages read besides params.yaml.
PINS = ("requirements-model.txt", "requirements-data.txt")
# huggingface_hub waits 23 s between its retries of a 500 or a lost connection, and has no setting
# for that. As sitecustomize.py this shortens the waits of a process.
SHORT_WAITS = (
    "import time\nsleep = time.sleep\ntime.sleep = lambda seconds: sleep(min(seconds, 0.02))\n"
)


def environment(folder: Path, url: str) -> dict[str, str]:
    """The environment of a process that asks the Hub at `url` and keeps its cache in `folder`."""
    (folder / "sitecustomize.py").write_text(SHORT_WAITS)
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        "HF_ENDPOINT": url,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }


def write_project(folder: Path, source: str) -> None:
    """Write what `stages.download` reads, for the data set `source` of the Hub."""
    for name in PINS:
        shutil.copy(ROOT / name, folder)
    shutil.copy(tiny.PARAMS, folder / "params.yaml")
    set_params(folder, data__source=source, data__revision=REVISION)


@dataclass(frozen=True)
class Outcome:
    """How a download ended.

    Attributes:
        status: exit status; 99 for an exception that is no message.
        stdout, stderr: what it said.
        seconds: how long it took.
        requests: what it asked the Hub for.
    """

    status: int
    stdout: str
    stderr: str
    seconds: float
    requests: list[str]


class Downloads:
    """Context manager: downloads one repository after the other, each in a folder of its own.

    The repositories are those that `hub` serves; they share a cache, as those of a user do.
    """

    def __init__(self, folder: Path, hub: HubServer):
        self.folder, self.hub, self.cases = folder, hub, 0
        self.environment = environment(folder, hub.url)

    def __enter__(self) -> "Downloads":
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.hub_downloads"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self.environment,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.stdin.close()
        self.process.wait(10)

    def serve(self, kind: str, served: Path) -> tuple[str, Path]:
        """Serve a folder under a new name.

        Args:
            kind: `datasets` or `models`.
            served: the folder of the repository.

        Returns:
            The id of the repository, which the cache does not know, and a working folder.
        """
        self.cases += 1
        name = f"org/{kind}{self.cases}"
        self.hub.repositories[kind, name] = served
        work = self.folder / f"case{self.cases}"
        work.mkdir()
        write_project(work, name)
        return name, work

    def fetch(self, name: str, work: Path, revision: str = REVISION, **params: Any) -> Outcome:
        """Download a repository: a data set with `stages.download`, of a model the files.

        `params` are changes of the parameters, as `set_params` takes them.
        """
        kind = next(kind for kind, known in self.hub.repositories if known == name)
        set_params(work, data__revision=revision, **params)
        self.hub.requests.clear()
        start = time.monotonic()
        self.process.stdin.write(f"{kind} {name} {revision} {work}\n")
        self.process.stdin.flush()
        status = int(self.process.stdout.readline())
        seconds = time.monotonic() - start
        stdout, stderr = ((work / stream).read_text() for stream in ("stdout", "stderr"))
        return Outcome(status, stdout, stderr, seconds, list(self.hub.requests))


def serve() -> None:
    """Read `KIND REPOSITORY REVISION FOLDER` from standard input; write the exit status of each."""
    import datasets  # noqa: F401
    import huggingface_hub
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    from splade_sts.hub.fetch import download_model
    from splade_sts.process import run_command
    from stages import download

    # the environment variable knows whole seconds
    huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT = 0.3
    # a file is resumed after its last whole chunk, of ten megabytes
    huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 2**14

    def fetch(repository: str, revision: str) -> None:
        print(download_model(repository, revision).folder)

    for line in sys.stdin:
        kind, repository, revision, folder = line.split()
        child = os.fork()
        if child:
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            continue
        os.chdir(folder)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        status = 99
        try:
            run_command(
                download.main if kind == "datasets" else partial(fetch, repository, revision)
            )
            status = 0
        except SystemExit as end:
            print(end.code, file=sys.stderr, flush=True)
            status = 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


if __name__ == "__main__":
    serve()
