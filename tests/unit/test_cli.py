import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from splade_sts import cli, layout
from splade_sts.cli import runs as commands
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.runs.scores import SplitScores
from splade_sts.runs.source import RunFiles
from tests.support.commands import ROOT, run
from tests.support.projects import commit, set_params
from tests.support.records import write_pipeline, write_run


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a DVC project with two commits that differ in their seed; DVC's cache
    is empty.
    """
    write_run(tmp_path)
    write_pipeline(tmp_path)
    run(["git", "init", "-q"], tmp_path)
    commit(tmp_path, "a run")
    set_params(tmp_path, train__seed=7)
    commit(tmp_path, "another seed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """Run a command in this process; returns what it exits with."""
    monkeypatch.setattr(sys, "argv", ["splade_sts", *arguments])
    try:
        cli.main()
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ui", "--port", "0"], "found '0'; expected a whole number from 1 to 65535"),
        (["ui", "--port=-5"], "found '-5'; expected a whole number"),
        (
            ["sweep", "train.seed=1,2", "--jobs", "many"],
            "found 'many'; expected a whole number from 1",
        ),
        (["seeds", "a", "--margin", "wide"], "found 'wide'; expected a number above 0 and below 1"),
        (["seeds", "a", "--margin", "nan"], "found 'nan'; expected a number above 0 and below 1"),
        (["nonsense"], "invalid choice: 'nonsense'"),
    ],
)
def test_arguments_that_are_refused(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a sentence that says what was expected."""
    assert call(monkeypatch, *arguments) == 2
    assert message in capsys.readouterr().err


def test_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command says what it does."""
    assert call(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    for name in (
        "encode",
        "experiment",
        "explain",
        "export",
        "pareto",
        "promote",
        "publish",
        "register",
        "release",
        "runs",
        "score",
        "seeds",
        "sweep",
        "sync",
        "ui",
        "verify",
    ):
        assert f"    {name} " in shown


@pytest.mark.parametrize("arguments", [["--help"], ["runs"], ["runs", "--csv"]])
def test_a_reader_that_leaves(repository: Path, arguments: list[str]) -> None:
    """As in `python -m splade_sts runs | head -1`: the command ends without a word, with the status
    of a process that SIGPIPE ended.
    """
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-m", "splade_sts", *arguments]
    done = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, cwd=repository, env=environment
    )
    os.close(write)
    said = done.stderr.decode()
    assert (done.returncode, [line for line in said.splitlines() if "dvc pull" not in line]) == (
        141,
        [],
    )


def test_another_pipe_that_breaks(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """That of a writer or a server is a bug, and ends with its traceback."""

    def broken(arguments: argparse.Namespace) -> None:
        """Writes to MLflow."""
        raise BrokenPipeError("of the writer")

    broken.__name__ = "runs"
    monkeypatch.setattr(commands, "runs", broken)
    assert "BrokenPipeError: of the writer" in str(call(monkeypatch, "runs"))


def test_seeds(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two commits, as text and as JSON, also from a folder below the root."""
    assert call(monkeypatch, "seeds", "HEAD", "HEAD~1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["seeds"] == {"HEAD": 7, "HEAD~1": 42}
    monkeypatch.chdir(repository / "metrics")
    assert call(monkeypatch, "seeds", "HEAD", "HEAD~1") == 0
    said = capsys.readouterr()
    assert "HEAD~1 (seed 42)" in said.out
    missing = "not in the cache: predictions/finetuned/test.parquet of HEAD, HEAD~1 (dvc pull)"
    assert f"{missing}; test has no interval over pairs" in said.err
    assert "precision" not in said.err


def test_seeds_whose_precision_is_not_known(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the hardware chose it, and the cache does not hold what came of that."""
    for seed in (1, 2):
        set_params(repository, train__precision="auto", train__seed=seed)
        commit(repository, "what the hardware has")
    assert call(monkeypatch, "seeds", "HEAD", "HEAD~1") == 0
    missing = "not in the cache: evidence/train.json of HEAD, HEAD~1 (dvc pull)"
    assert (
        f"{missing}; whether all trained in one precision is not known" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--margin", "0.1"], "--margin is for a comparison"),
        (["--against", "base"], "not in the cache: predictions/finetuned/validation.parquet of"),
        (["--without", "pairs"], "not in the cache: predictions/finetuned/validation.parquet of"),
        (["--against", "HEAD", "HEAD~1"], "in both settings: HEAD, HEAD~1"),
        (["--against", "other"], "no DVC experiment or Git revision other"),
        (["--against", "base", "HEAD"], "--against base HEAD: base is a model that the runs"),
        (["--against", "HEAD", "dense"], "name it alone (--against dense), or leave it out"),
    ],
)
def test_comparisons_of_seeds_that_are_refused(
    repository: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    """In one message, before anything is computed."""
    assert message in str(call(monkeypatch, "seeds", "HEAD", "HEAD~1", *arguments))


def test_seeds_without_what_train_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A set of which too little is left is not shown, which is said; only where that is so of all
    of them it is an error.
    """
    sides = ([f"{side} {number}" for number in range(150)] for side in ("one", "two"))
    pairs = Pairs(*sides, np.linspace(0, 1, 150))
    whole = SplitScores(pairs, np.stack([pairs.score] * 2), pairs.score, None)
    few = whole.select(np.arange(150) < 110)
    (tmp_path / layout.normalized("train")).parent.mkdir(parents=True)
    pairs.select(np.arange(150) < 20).write(tmp_path / layout.normalized("train"))
    runs = [{"a": RunFiles.workspace(tmp_path)}]
    found = {"test": [whole, whole], "few": [few, few]}
    left = commands.left_without(found, runs, "pairs")
    assert list(left) == ["test"]
    assert [(len(one.pairs), one.left_out) for one in left["test"]] == [(130, 20)] * 2
    assert capsys.readouterr().err == (
        "few: of 110 pairs 90 are left without pairs of train; intervals need at least 100; it is "
        "not shown\n"
    )
    with pytest.raises(UserError, match="few: of 110 pairs 90 are left"):
        commands.left_without({"few": [few]}, runs, "pairs")
    assert commands.left_without(found, runs, None) == found


def test_pareto_with_an_empty_cache(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what is missing and how to get it; the points are there without intervals."""
    assert call(monkeypatch, "pareto", "HEAD", "HEAD~1") == 0
    said = capsys.readouterr()
    missing = "evidence/comparison.json of HEAD, HEAD~1 (dvc pull); their points have no intervals"
    assert said.err == f"not in the cache: {missing}\n"
    assert "\nHEAD~1 " in said.out
    assert "written to pareto" in said.out
    assert (repository / "pareto/pareto.png").exists()
    assert call(monkeypatch, "pareto", "HEAD", "--json", "--output", "other") == 0
    found = json.loads(capsys.readouterr().out)
    assert {point["name"] for point in found["points"]} == {"HEAD", "base model"}


def test_a_port_that_is_taken(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user interface does not start: it says so and exits."""
    monkeypatch.setattr("os.execv", lambda *_: pytest.fail("a server was started"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = call(monkeypatch, "ui", "--port", str(port))
    assert str(ended).startswith(
        f"error: port {port} of 127.0.0.1 cannot be used: Address already in use"
    )
    assert not (repository / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pareto", "nowhere"], "no DVC experiment or Git revision nowhere"),
        (["score", "--file", "nowhere.csv"], "nowhere.csv not found"),
        (["score", "one sentence"], "give two sentences, or --file"),
        (["score", "one", "two", "--model", "nowhere"], "nowhere holds no model"),
        (
            ["sweep", "train.batch_size=0,1"],
            "params.yaml is not valid:\n  train.batch_size: found 0",
        ),
        (["sweep", "train.seed=1,2", "--ray", "a:1", "--jobs", "2"], "--jobs is for this machine"),
        (
            ["sweep", "train.seed=1,2", "--jobs", "2", "--cpus", "4", "--git-remote", "there"],
            "--cpus, --git-remote: for a cluster alone; name one with --ray HOST:PORT",
        ),
        (["sync", "nowhere"], "no DVC experiment nowhere; there are none"),
    ],
)
def test_mistakes(
    repository: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is one message."""
    assert message in str(call(monkeypatch, *arguments))


def test_outside_of_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says where to go."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert "is in no DVC project" in str(call(monkeypatch, "pareto", "HEAD"))
