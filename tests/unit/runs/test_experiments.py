import json
from pathlib import Path

import numpy as np
import pytest

from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions
from splade_sts.runs.experiments import (
    experiments,
    open_runs,
    read_records,
    read_run,
    run_files,
)
from splade_sts.runs.record import COMPARISON
from splade_sts.runs.scores import read_controls, read_predictions
from tests.support.commands import run
from tests.support.projects import commit, set_params
from tests.support.records import FILE_MD5, FOLDER_MD5, run_record


def test_runs_by_name(repository: Path) -> None:
    """An experiment is a Git ref that names its baseline; a revision is a run, too."""
    baseline = run(["git", "rev-parse", "HEAD"], repository).stdout.strip()
    set_params(repository, train__seed=7)
    commit(repository, "another seed")
    revision = run(["git", "rev-parse", "HEAD"], repository).stdout.strip()
    run(
        ["git", "update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/seed-7", revision],
        repository,
    )
    run(["git", "update-ref", "refs/exps/stash", revision], repository)
    run(["git", "reset", "-q", "--hard", baseline], repository)
    known = experiments(repository)
    assert list(known) == ["seed-7"]
    assert known["seed-7"].revision == revision
    assert known["seed-7"].baseline == baseline
    runs = read_records(open_runs(repository, ["HEAD", "seed-7"]))
    assert {name: record.params["train.seed"] for name, record in runs.items()} == {
        "HEAD": 42,
        "seed-7": 7,
    }
    assert runs["HEAD"].id == run_record().id
    assert runs["seed-7"].id != runs["HEAD"].id
    assert runs["HEAD"].training_id == runs["seed-7"].training_id == run_record().training_id


def test_an_empty_cache(repository: Path) -> None:
    """What was asked for and is not there is named; the numbers come from Git."""
    record = read_run(repository, "HEAD", cached=(COMPARISON,))
    assert record.missing == ("evidence/comparison.json",)
    assert record.comparison is None
    assert record.metrics == run_record().metrics


def test_predictions(repository: Path) -> None:
    """They come from the cache; None where it lacks the list of the folder, the file in it, or
    where the run has no such output.
    """
    files = run_files(repository, "HEAD")

    def read(split: str = "validation") -> Predictions | None:
        return read_predictions(files, "finetuned", split)

    def cached(md5: str) -> Path:
        path = repository / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True)
        return path

    assert read() is None
    entry = {"md5": FILE_MD5, "relpath": "validation.parquet"}
    cached(FOLDER_MD5).write_text(json.dumps([entry]))
    assert read() is None
    dims = np.ones(2, dtype=np.int64)
    pairs = Pairs(["a", "b"], ["c", "d"], np.array([0.0, 1.0]))
    Predictions(pairs, np.array([0.25, 0.75]), dims, dims, [[("x", 0.25)], []]).write(
        cached(FILE_MD5)
    )
    found = read()
    assert found is not None
    assert found.pairs.same_as(pairs)
    assert found.cosine.tolist() == [0.25, 0.75]
    assert read("test") is None
    assert read_predictions(files, "base", "validation") is None
    assert read_controls(files, "validation") is None


def test_runs_that_are_refused(repository: Path) -> None:
    """Neither an experiment nor a revision; named twice; a commit without results; parameters of
    another version.
    """
    with pytest.raises(
        UserError, match="no DVC experiment or Git revision nonsense; experiments there are: none"
    ):
        read_run(repository, "nonsense")
    with pytest.raises(UserError, match="named twice: HEAD, HEAD"):
        open_runs(repository, ["HEAD", "HEAD"])
    run(["git", "rm", "-q", "metrics/comparison.json"], repository)
    commit(repository, "no results")
    with pytest.raises(
        UserError,
        match=r"HEAD: the pipeline has not run .*\(metrics/comparison.json is missing",
    ):
        read_run(repository, "HEAD")
    run(["git", "reset", "-q", "--hard", "HEAD~1"], repository)
    text = (repository / "params.yaml").read_text()
    (repository / "params.yaml").write_text(text.replace("base_model:", "model:"))
    commit(repository, "old names")
    with pytest.raises(UserError, match=r"HEAD: params.yaml is not valid"):
        read_run(repository, "HEAD")
