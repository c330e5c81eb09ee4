"""One DVC experiment for each value of a parameter, or each combination of values of several."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from dvc.exceptions import DvcException
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps  # private: dvc
from hydra.errors import HydraException
from ruamel.yaml import YAML

from splade_sts import layout, params
from splade_sts.errors import UserError
from splade_sts.git import git
from splade_sts.runs.experiments import experiments, read_run
from splade_sts.runs.public import public_params


@dataclass(frozen=True)
class Planned:
    """An experiment of a sweep: its name, what `dvc exp run -S` is given, and the parameters that
    it records.
    """

    name: str
    overrides: list[str]
    params: dict[str, Any]


def plan(root: Path, assignments: list[str]) -> list[Planned]:
    """The experiments of a sweep, each named after its values.

    Args:
        root: the project's root.
        assignments: `key=value,value,…`, in the grammar of `dvc exp run --queue -S`, which is
            Hydra's for overrides (`range(1,4)` is one of its forms); several keys give every
            combination.

    Raises:
        UserError: an assignment is none, gives parameters that the schema refuses, or gives the
            same experiment twice.
    """
    if not (root / layout.PARAMS).exists():
        raise UserError(
            f"{root / layout.PARAMS} not found; it holds the parameters that a sweep changes"
        )
    file, found = str(layout.PARAMS), []
    with _refused(assignments):
        sweeps = list(get_hydra_sweeps({file: assignments}))
    for changes in sweeps:
        overrides = changes[file]
        name = "-".join(_name(*override.split("=", 1)) for override in overrides)
        found.append(Planned(name, overrides, overridden(root, overrides)))
    names = [planned.name for planned in found]
    if len(set(names)) < len(names):
        raise UserError(f"{' '.join(assignments)}: the same experiment twice: {', '.join(names)}")
    return found


@contextmanager
def _refused(assignments: list[str]) -> Iterator[None]:
    """Say of what DVC refuses in the block which assignments they were."""
    try:
        yield
    except (DvcException, HydraException) as error:
        raise UserError(
            f"{' '.join(assignments)}: {error.__cause__ or error}\nexpected keys of "
            f"{layout.PARAMS} with their values, such as "
            "train.regularizer_weight=1e-3,3e-3,1e-2"
        ) from None


def overridden(root: Path, overrides: list[str], earlier: bool = False) -> dict[str, Any]:
    """The parameters as `dvc exp run -S` changes them, as a record holds them.

    Args:
        root: the project.
        overrides: what `-S` is given.
        earlier: the project may be of a commit from before parameters that there are now.

    Raises:
        UserError: an override is none, or the schema refuses what it gives.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(root / layout.PARAMS, folder))
        with _refused(overrides):
            apply_overrides(copy, overrides)
        changed = YAML(typ="safe").load(copy.read_text(encoding="utf-8"))
        return public_params(params.parse(params.completed(changed) if earlier else changed))


def _name(key: str, value: str) -> str:
    """Part of an experiment's name, which has to be one of a Git ref."""
    return f"{key.rsplit('.', 1)[-1]}-{re.sub(r'[^0-9A-Za-z_.-]+', '_', value)}".rstrip(".")


def missing(root: Path, planned: Sequence[Planned]) -> list[Planned]:
    """Those of the experiments that are not there yet.

    Raises:
        UserError: an experiment of that name is there, but of other parameters or another commit.
    """
    head = git(root, "rev-parse", "HEAD")
    known, found = experiments(root), []
    for one in planned:
        if one.name not in known:
            found.append(one)
        elif known[one.name].baseline != head or read_run(root, one.name).params != one.params:
            raise UserError(
                f"an experiment {one.name} is there already, of another commit or with other "
                "parameters; "
                f"`dvc exp remove {one.name}` removes it, `dvc exp rename` keeps it under another "
                "name"
            )
    return found


def run_sweep(
    root: Path, planned: Sequence[Planned], jobs: int | None, progress: TextIO
) -> list[str]:
    """Run those of the experiments that are not there yet, and go on where one fails.

    Args:
        root: the project's root.
        planned: see `plan`.
        jobs: None runs one after another, each with `dvc exp run --temp`; a number runs them
            through DVC's queue, as many at a time (together with whatever was queued before).
        progress: where DVC's output goes, and what is said of it.

    Returns:
        The names of the experiments that are not there afterwards: they failed, and DVC's output
            says why.

    Raises:
        UserError: as `missing`.
    """
    wanted = missing(root, planned)
    where = ["--temp"] if jobs is None else ["--queue"]
    for one in wanted:
        changes = [argument for override in one.overrides for argument in ("-S", override)]
        _dvc(root, progress, "exp", "run", *where, "-n", one.name, *changes)
    if jobs is not None and wanted:
        shares = share_of_cores(jobs)
        _dvc(root, progress, "exp", "run", "--run-all", "-j", str(jobs), **shares)
    known = experiments(root)
    return [one.name for one in planned if one.name not in known]


def share_of_cores(jobs: int) -> dict[str, str]:
    """Environment variables by which `jobs` pipelines at once share the cores, where the user has
    not set them.

    Threads of OpenMP that wait for each other keep a core busy unless told to be passive: where
    `train.threads` asks for more than its share, others would wait for nothing.
    """
    if jobs == 1:
        return {}
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    shares = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    return {name: value for name, value in shares.items() if name not in os.environ}


def _dvc(root: Path, progress: TextIO, *arguments: str, **environment: str) -> None:
    """Run DVC; what failed is seen by what is missing afterwards."""
    print(f"$ dvc {' '.join(arguments)}", file=progress, flush=True)
    command, whole = [sys.executable, "-m", "dvc", *arguments], {**os.environ, **environment}
    subprocess.run(command, cwd=root, stdout=progress, env=whole)
