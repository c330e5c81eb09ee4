"""What `.ci/pull-request` says of a commit, as the workflow for GitHub Actions runs it."""

import json
from pathlib import Path

from splade_sts import layout
from tests.support.commands import run, stages_run
from tests.support.projects import commit, copy_project, set_params

SCRIPT = ".ci/pull-request"
OPTIONS = ("-S", "track.enabled=false")


def test_a_worse_setting_and_an_equal_one(project: Path, tmp_path: Path) -> None:
    """A learning rate of 0 fails, with the paired interval and what changed; a commit that changes
    no result passes. The workspace stays as it is, whatever lies in it.
    """
    folder = copy_project(project, tmp_path / "project")
    set_params(folder, train__learning_rate=0)
    commit(folder, "a worse setting")
    (folder / "params.yaml").write_text("not committed")
    worse = run([SCRIPT, "HEAD~1", tmp_path / "worse", *OPTIONS], folder, check=False)
    assert worse.returncode == 1, worse.stdout + worse.stderr
    assert "error: pull-request is worse than main: the interval of the" in worse.stderr
    metrics = {
        name: json.loads((project / layout.metrics(name)).read_text()) for name in layout.MODELS
    }
    before = metrics["finetuned"]["test"]["spearman"]
    after = metrics["base"]["base"]["test"]["spearman"]
    said = (tmp_path / "worse/comment.md").read_text()
    fall = f"test Spearman fell from {before:.4f} to {after:.4f} ({after - before:+.4f} ["
    assert said.startswith(f"From main to pull-request, {fall}")
    assert "\n| metrics/finetuned.json  | test.spearman " in said
    report = (tmp_path / "worse/comparison.md").read_text()
    assert report.startswith("# Base against fine-tuned\n")
    assert report in said
    assert run(["git", "status", "--short"], folder).stdout == " M params.yaml\n"

    run(["git", "checkout", "-qf", "HEAD~1"], folder)
    (folder / "README.md").write_text("Another text.\n")
    commit(folder, "no other setting")
    equal = run([SCRIPT, "HEAD~1", tmp_path / "equal", *OPTIONS], folder)
    assert {*stages_run(equal.stdout)} == {"track"}, "the others are in the cache"
    said = (tmp_path / "equal/comment.md").read_text()
    assert f"test Spearman did not change significantly: from {before:.4f} to {before:.4f}" in said
    assert "(+0.0000 [+0.0000, +0.0000] †; 95 % interval of the paired bootstrap, 16 p" in said
    assert "\n† Percentile interval: BCa has none" in said
    assert "\nNo headline changed.\n" in said


def test_other_pairs(project: Path, tmp_path: Path) -> None:
    """Two runs on different test pairs are not compared, and the comment says so."""
    folder = copy_project(project, tmp_path / "project")
    test = folder / "data/own/test.csv"
    test.write_text("".join(test.read_text().splitlines(keepends=True)[:-1]))
    commit(folder, "other pairs")
    done = run([SCRIPT, "HEAD~1", tmp_path / "out", *OPTIONS], folder, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    said = (tmp_path / "out/comment.md").read_text()
    assert said.startswith("error: main and pull-request were evaluated on other pairs (test)")
    assert "### dvc metrics diff" in said
    assert (tmp_path / "out/comparison.md").read_text() in said


def test_a_pipeline_that_fails(project: Path, tmp_path: Path) -> None:
    """It says so in the comment and ends as DVC does; a revision that is not there is named."""
    folder = copy_project(project, tmp_path / "project", "cache")
    set_params(folder, train__loss="none")
    commit(folder, "a mistake")
    done = run([SCRIPT, "HEAD", tmp_path / "out", *OPTIONS], folder, check=False)
    assert done.returncode not in (0, 1), done.stdout
    assert (tmp_path / "out/comment.md").read_text().startswith("The pipeline did not run to its")
    done = run([SCRIPT, "nowhere", tmp_path / "out"], folder, check=False)
    assert (done.returncode, done.stderr) == (2, "no Git revision nowhere\n")
