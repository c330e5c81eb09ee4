"""One DVC experiment for each value of a parameter, or for each combination of values of several."""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from hydra.errors import HydraException
from ruamel.yaml import YAML

from splade_sts import params
from splade_sts.errors import UserError
from splade_sts.runs.seeds import read_run
from splade_sts.tracking.sync import experiments

PARAMS = "params.yaml"


@dataclass(frozen=True)
class Experiment:
    """An experiment of a sweep: its name, what `dvc exp run -S` is given, and the parameters that it records."""

    name: str
    overrides: list[str]
    params: dict[str, Any]


def plan(assignments: list[str]) -> list[Experiment]:
    """The experiments of a sweep, each named after its values.

    Args:
        assignments: `key=value,value,…`, in the grammar of `dvc exp run --queue -S`, which is Hydra's for overrides
            (`range(1,4)` is one of its forms); several keys give every combination.

    Raises:
        UserError: an assignment is none, gives parameters that the schema refuses, or gives the same experiment twice.
    """
    if not Path(PARAMS).exists():
        raise UserError(f"{PARAMS} not found; run from the project's root folder")
    found = []
    try:
        for changes in get_hydra_sweeps({PARAMS: assignments}):
            with tempfile.TemporaryDirectory() as folder:
                changed = Path(shutil.copy(PARAMS, folder))
                apply_overrides(changed, changes[PARAMS])
                params.load(changed)
                content = YAML(typ="safe").load(changed.read_text(encoding="utf-8"))
            name = "-".join(_name(*override.split("=", 1)) for override in changes[PARAMS])
            found.append(Experiment(name, changes[PARAMS], params.public_params(params.flatten(content))))
    except (DvcException, HydraException) as error:
        raise UserError(
            f"{' '.join(assignments)}: {error.__cause__ or error}\nexpected keys of {PARAMS} with their values, such as "
            "train.regularizer_weight=1e-3,3e-3,1e-2"
        ) from None
    names = [experiment.name for experiment in found]
    if len(set(names)) < len(names):
        raise UserError(f"{' '.join(assignments)}: the same experiment twice: {', '.join(names)}")
    return found


def _name(key: str, value: str) -> str:
    """Part of an experiment's name, which has to be one of a Git ref."""
    return f"{key.rsplit('.', 1)[-1]}-{re.sub(r'[^0-9A-Za-z_.-]+', '_', value)}".rstrip(".")


def run_sweep(root: Path, planned: list[Experiment], jobs: int | None = None) -> list[str]:
    """Run those of the experiments that are not there yet, and go on where one fails.

    Args:
        root: the project's root.
        planned: see `plan`.
        jobs: None runs one after another, each with `dvc exp run --temp`; a number runs them through DVC's queue, as many
            at a time (together with whatever was queued before).

    Returns:
        The names of the experiments that are not there afterwards: they failed, and DVC's output says why.

    Raises:
        UserError: an experiment of that name is there, but of other parameters or another commit.
    """
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    known, missing = experiments(root), []
    for experiment in planned:
        if experiment.name not in known:
            missing.append(experiment)
        elif known[experiment.name][1] != head or read_run(root, experiment.name).params != experiment.params:
            raise UserError(
                f"an experiment {experiment.name} is there already, of another commit or with other parameters; "
                f"`dvc exp remove {experiment.name}` removes it, `dvc exp rename` keeps it under another name"
            )
        else:
            print(f"{experiment.name} is there already", flush=True)
    where = ["--temp"] if jobs is None else ["--queue"]
    for experiment in missing:
        changes = [argument for override in experiment.overrides for argument in ("-S", override)]
        _dvc(root, "exp", "run", *where, "-n", experiment.name, *changes)
    if jobs is not None and missing:
        _dvc(root, "exp", "run", "--run-all", "-j", str(jobs))
    known = experiments(root)
    return [experiment.name for experiment in planned if experiment.name not in known]


def _dvc(root: Path, *arguments: str) -> None:
    """Run DVC with its output where ours goes; what failed is seen by what is missing afterwards."""
    print(f"$ dvc {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root)
