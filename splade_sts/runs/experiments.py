"""Runs by name: DVC's experiments and other Git revisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from splade_sts.errors import UserError
from splade_sts.git import git, resolve
from splade_sts.runs.record import Record, collect
from splade_sts.runs.source import RunFiles


@dataclass(frozen=True)
class Experiment:
    """A DVC experiment: the commit that holds it, and the one that it started from."""

    revision: str
    baseline: str


def experiments(root: Path) -> dict[str, Experiment]:
    """DVC's experiments by name."""
    found = {}
    # refs/exps/<two digits of the baseline>/<the others>/<name>
    lines = git(
        root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps"
    )  # private: dvc
    for line in lines.splitlines():
        revision, ref = line.split(" ")
        parts = ref.split("/")
        if len(parts) == 5 and len(parts[2]) == 2:
            found[parts[4]] = Experiment(revision, parts[2] + parts[3])
    return found


def run_files(root: Path, name: str) -> RunFiles:
    """The files of a DVC experiment, or of another Git revision.

    Raises:
        UserError: there is no such experiment or revision.
    """
    known = experiments(root)
    revision = resolve(root, known[name].revision if name in known else name)
    if revision is None:
        raise UserError(
            f"no DVC experiment or Git revision {name}; experiments there are: "
            f"{', '.join(known) or 'none'}"
        )
    return RunFiles.revision(root, revision)


def read_run(root: Path, name: str, cached: Sequence[Path] = ()) -> Record:
    """The record of a DVC experiment, or of another Git revision.

    Args:
        root: the project's root.
        name: the experiment or revision.
        cached: what to read of DVC's cache, see `splade_sts.runs.record.collect`.

    Raises:
        UserError: there is no such experiment or revision, the pipeline has not run to its end
            there, or its parameters do not fit the schema.
    """
    return _record(name, run_files(root, name), cached)


def _record(name: str, files: RunFiles, cached: Sequence[Path]) -> Record:
    try:
        return collect(files, cached)
    except FileNotFoundError as error:
        raise UserError(
            f"{name}: the pipeline has not run to its end there ({error.filename} is missing)"
        ) from None
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def open_runs(root: Path, names: Sequence[str]) -> dict[str, RunFiles]:
    """`run_files` of each name.

    Raises:
        UserError: as `run_files`, or a name is there twice.
    """
    if len(set(names)) < len(names):
        raise UserError(f"a run is named twice: {', '.join(names)}")
    return {name: run_files(root, name) for name in names}


def read_records(opened: Mapping[str, RunFiles], cached: Sequence[Path] = ()) -> dict[str, Record]:
    """The records of runs that are open, by name.

    Raises:
        UserError: as `read_run`.
    """
    return {name: _record(name, files, cached) for name, files in opened.items()}
