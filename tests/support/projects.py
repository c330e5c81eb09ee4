"""Copies of this project, with small files and a tiny encoder, in which everything may be run and
changed.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from splade_sts.data.pairs import Pairs
from tests.support import tiny
from tests.support.commands import ROOT, run
from tests.support.searches import write_search

# What a run leaves in Git: the tests' projects start without anybody's results.
RESULTS = ("dvc.lock", "metrics/")


def set_params(project: Path, **changes: Any) -> None:
    """Change parameters of a project: `section__key=value`."""
    yaml = YAML()
    path = project / "params.yaml"
    content = yaml.load(path)
    for key, value in changes.items():
        section, name = key.split("__")
        content[section][name] = value
    yaml.dump(content, path)


def commit(project: Path, message: str) -> None:
    """Commit everything that Git does not ignore."""
    run(["git", "add", "-A"], project)
    run(["git", "commit", "-qm", message], project)


def copy_files(folder: Path) -> None:
    """Write the files of the workspace that Git knows or would add, without results of runs, to
    `folder`.
    """
    names = run(["git", "ls-files", "-co", "--exclude-standard"], ROOT).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file() and not name.startswith(RESULTS):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def write_data(folder: Path, pairs: Pairs) -> None:
    """Write the 48 `pairs` as CSV files of three splits, with scores from 0 to 5; the splits
    overlap by 8 pairs.
    """
    folder.mkdir(parents=True)
    table = pairs.table()
    for split, rows in (
        ("train", slice(0, 32)),
        ("validation", slice(24, 40)),
        ("test", slice(32, 48)),
    ):
        part = table[rows]
        part.assign(score=np.array(part["score"]) * 5).to_csv(folder / f"{split}.csv", index=False)


def make_project(folder: Path, bert: Path, pairs: Pairs, **changes: Any) -> None:
    """Write a committed copy of the project whose parameters are tests/support/params.yaml.

    They name small CSV files of `pairs`, a set to search in and the encoder `bert`; `changes` are
    further ones, as `set_params` takes them. Nothing has run yet.
    """
    copy_files(folder)
    own = {"base_model__source": str(bert), "evaluate__retrieval_set": "mine"}
    write_params(folder, **{**own, **changes})
    write_data(folder / "data" / "own", pairs)
    write_search(folder / "data" / "own" / "mine", pairs)
    run(["git", "init", "-q"], folder)
    commit(folder, "start")


def copy_project(project: Path, folder: Path, *without: str) -> Path:
    """Copy a project, with what it ran, to `folder`; `without` is for `shutil.ignore_patterns`.

    Tests that run or change anything do so in a copy: tests in other processes read the original.
    """
    shutil.copytree(project, folder, symlinks=True, ignore=shutil.ignore_patterns(*without))
    if (folder / "mlflow.db").exists():  # an absolute path to its artifacts stands in it
        with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
            for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
                change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
                database.execute(change, (str(project), str(folder)))
    return folder


def write_params(folder: Path, **changes: Any) -> None:
    """Write tests/support/params.yaml with `changes`, as `set_params` takes them, as the
    params.yaml of `folder`.
    """
    shutil.copy(tiny.PARAMS, folder / "params.yaml")
    set_params(folder, **changes)
