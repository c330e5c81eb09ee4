"""Small data, tiny models and a project that has run: made once, shared by all tests and all of
pytest's workers.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from splade_sts.data.pairs import Pairs
from tests.support import tiny
from tests.support.commands import PYTEST, ROOT, SOCKET, dvc, stages_run, start_server
from tests.support.projects import commit, make_project

# One thread for each computation, in this process as in those that `tests.support.commands` starts.
os.environ["OMP_NUM_THREADS"] = "1"
# The terminal of whoever runs the tests changes no table.
os.environ["COLUMNS"] = "120"


def pytest_configure(config: pytest.Config) -> None:
    """Say where the server of commands listens, to this process and to the workers it starts.

    It takes some seconds to start: that happens at once, unless only unit tests are asked for.
    """
    if hasattr(config, "workerinput"):
        return
    config.option.loadscopereorder = False  # xdist: keep the order below
    folder = tempfile.mkdtemp(prefix="tests-")
    os.environ[SOCKET], os.environ[PYTEST] = f"{folder}/server", str(os.getpid())
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    asked = [Path(name.split("::")[0]).resolve() for name in config.args]
    if not all(path.is_relative_to(ROOT / "tests" / "unit") for path in asked):
        start_server()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long tests first, so that no worker waits for another one at the end.

    The first one makes the project; until that is there, other workers have tests without it.
    """
    order = ["services", "pipeline", "unit"]
    first = next((item for item in items if "project" in getattr(item, "fixturenames", ())), None)
    items.sort(
        key=lambda item: (
            item is not first,
            order.index(item.path.relative_to(ROOT / "tests").parts[0]),
        )
    )


@pytest.fixture(scope="session")
def shared(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, Callable[[Path], None]], Path]:
    """Makes a folder of a name once for all of pytest's workers; nobody changes it afterwards."""
    base = tmp_path_factory.getbasetemp()
    common = base.parent if base.name.startswith("popen-") else base

    def folder(name: str, make: Callable[[Path], None]) -> Path:
        made, done = common / name, common / f"{name}.done"
        with FileLock(common / f"{name}.lock"):
            if not done.exists():
                made.mkdir()
                try:
                    make(made)
                    done.touch()
                except BaseException as error:
                    done.write_text(f"{type(error).__name__}: {error}")
                    raise
        if said := done.read_text():
            pytest.fail(f"{made} could not be made: {said}")
        return made

    return folder


@pytest.fixture(scope="session")
def tiny_bert(shared) -> Path:
    """Folder of the encoder that `make_bert` writes."""
    return shared("tiny-bert", tiny.make_bert)


@pytest.fixture(scope="session")
def tiny_splade(shared, tiny_bert) -> Path:
    """Folder of the SPLADE model that `make_splade` writes."""
    return shared("tiny-splade", lambda folder: tiny.make_splade(folder, tiny_bert))


@pytest.fixture(scope="session")
def pairs() -> Pairs:
    """The pairs of `make_pairs`."""
    return tiny.make_pairs()


STAGES = [
    "download",
    "normalize",
    "calibration",
    "base_model",
    "controls",
    "evaluate@base",
    "train",
    "evaluate@finetuned",
    "compare",
    "track",
]


@pytest.fixture(scope="session")
def project(shared, tiny_bert, pairs) -> Path:
    """The project of `make_project` after `dvc repro`, committed; not to be changed, see
    `copy_project`.
    """

    def make(folder: Path) -> None:
        make_project(folder, tiny_bert, pairs)
        first = dvc(folder, "repro")
        assert sorted(stages_run(first.stdout)) == sorted(STAGES)
        commit(folder, "first run")

    return shared("project", make)


@pytest.fixture(scope="session")
def record(project):
    """What is recorded of the run of `project`."""
    from splade_sts.runs.record import collect
    from splade_sts.runs.source import RunFiles

    return collect(RunFiles.workspace(project))
