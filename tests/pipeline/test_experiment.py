"""The work of one machine: an experiment in a clone of its own, over a bare Git repository and a
folder as DVC remote.
"""

import io
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from splade_sts.errors import UserError
from splade_sts.runs.experiment import Place, Task, check_remote, remote_url, run_experiment
from tests.support.commands import ROOT, run, splade_sts
from tests.support.mlflow_runs import runs
from tests.support.projects import commit, copy_project
from tests.support.tiny import PARAMS

# Counts how often it ran, and fails for one seed.
WORK = """
stages:
  count:
    cmd: echo once >> {log} && cp params.yaml counted.txt
    params: [train.seed]
    outs: [counted.txt]
  work:
    cmd: "! grep seed..3$ counted.txt && cp counted.txt worked.txt && ls > {listing}"
    deps: [counted.txt]
    outs: [worked.txt]
"""


@pytest.fixture
def pushed(tmp_path: Path) -> Path:
    """A project with two stages that end at once, pushed to `tmp_path`/git, and a DVC remote."""
    folder, files = tmp_path / "project", {"log": tmp_path / "log", "listing": tmp_path / "listing"}
    (folder / ".dvc").mkdir(parents=True)
    shutil.copy(PARAMS, folder / "params.yaml")
    (folder / "dvc.yaml").write_text(WORK.format(**files))
    (folder / ".gitignore").write_text("/counted.txt\n/worked.txt\n/checkpoints/\n")
    run(["git", "init", "-q"], folder)
    set_remote(folder, str(tmp_path / "store"))
    run(["git", "init", "-q", "--bare", str(tmp_path / "git")], tmp_path)
    run(["git", "remote", "add", "origin", str(tmp_path / "git")], folder)
    run(["git", "push", "-q", "origin", "HEAD"], folder)
    return folder


def set_remote(folder: Path, url: str) -> None:
    """Commit a default DVC remote."""
    (folder / ".dvc" / "config").write_text(
        f"[core]\n    analytics = false\n    remote = store\n"
        f"['remote \"store\"']\n    url = {url}\n"
    )
    commit(folder, "a remote")


def task_of(pushed: Path, seed: int = 2) -> Task:
    """The experiment of a seed at the current commit."""
    head = run(["git", "rev-parse", "HEAD"], pushed).stdout.strip()
    return Task(head, f"seed-{seed}", (f"train.seed={seed}",), remote_url(pushed, "origin"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A machine without patience, whose output goes to `tmp_path`/said."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return Place(tmp_path / "work", 0, (tmp_path / "said").open("w+", encoding="utf-8"))


def said(place: Place) -> str:
    """What the machine printed so far."""
    place.progress.flush()
    return Path(place.progress.name).read_text(encoding="utf-8")


def log(place: Place) -> list[str]:
    """A line for each time that the first stage ran."""
    return (place.workdir.parent / "log").read_text().splitlines()


def refs(tmp_path: Path) -> list[str]:
    """The names of the experiments that the Git remote has."""
    listed = run(["git", "for-each-ref", "--format=%(refname)", "refs/exps"], tmp_path / "git")
    return [line.split("/")[-1] for line in listed.stdout.split()]


def test_an_experiment_is_handed_in(pushed: Path, place: Place, tmp_path: Path) -> None:
    """Once: its ref is on the Git remote, its data on DVC's, though the branch has moved on. Asked
    for again it is not run; nothing but a cache and checkpoints stays on the machine.
    """
    task = task_of(pushed)
    (pushed / "dvc.yaml").write_text("stages: {}\n")
    commit(pushed, "another pipeline")
    run(["git", "push", "-q", "origin", "HEAD"], pushed)
    assert run_experiment(task, place)
    assert refs(tmp_path) == ["seed-2"]
    assert log(place) == ["once"]
    assert not run_experiment(task, place)
    assert "seed-2 is there already" in said(place)
    assert log(place) == ["once"]
    assert "checkpoints" in (tmp_path / "listing").read_text()
    assert not list(place.workdir.glob("clones/*/clone-*"))

    git = tmp_path / "git"
    assert "checkpoints" not in run(["git", "ls-tree", "--name-only", task.ref], git).stdout
    made = run(["git", "show", f"{task.ref}:params.yaml"], git).stdout
    assert "seed: 2\n" in made
    stored = {path.read_text() for path in (tmp_path / "store/files").rglob("*") if path.is_file()}
    assert made in stored


def test_a_failure_keeps_what_is_done(pushed: Path, place: Place, tmp_path: Path) -> None:
    """No experiment is there, but what ended before comes from the run cache on another machine."""
    task = task_of(pushed, seed=3)
    for workdir in ("work", "other"):
        with pytest.raises(UserError, match="experiment seed-3 failed; the output is above"):
            run_experiment(task, replace(place, workdir=tmp_path / workdir))
    assert refs(tmp_path) == []
    assert log(place) == ["once"]
    assert "Stage 'count' is cached" in said(place)


def test_data_go_first(pushed: Path, place: Place, tmp_path: Path) -> None:
    """Where the data cannot be stored, Git has no experiment that looks complete."""
    set_remote(pushed, "/proc/nowhere")
    run(["git", "push", "-q", "origin", "HEAD"], pushed)
    with pytest.raises(UserError, match="dvc push failed"):
        run_experiment(task_of(pushed), place)
    assert refs(tmp_path) == []


def test_a_dvc_remote_that_is_away(pushed: Path, place: Place) -> None:
    """It is asked again before anything runs."""
    set_remote(pushed, "ssh://127.0.0.1:9/nowhere")
    run(["git", "push", "-q", "origin", "HEAD"], pushed)
    with pytest.raises(UserError, match="asking the DVC remote failed; the output is above"):
        run_experiment(task_of(pushed), replace(place, patience=2))
    assert said(place).count("trying again in 1 s") == 1
    assert "$ dvc exp run" not in said(place)


def test_a_shared_cache(pushed: Path, place: Place, tmp_path: Path) -> None:
    """A cache that all machines see needs no DVC remote, and nothing is copied to one."""
    task = replace(task_of(pushed), cache=str(tmp_path / "cache"))
    assert run_experiment(task, place)
    assert not (tmp_path / "store").exists()
    assert list((tmp_path / "cache" / "files").rglob("*"))
    assert refs(tmp_path) == ["seed-2"]


def test_a_git_remote_that_is_away(pushed: Path, place: Place, tmp_path: Path) -> None:
    """It is waited for; with no patience left, it is a message."""
    task = task_of(pushed)
    (tmp_path / "git").rename(tmp_path / "away")
    with pytest.raises(UserError, match="does not appear to be a git repository"):
        run_experiment(task, place)

    def back() -> None:
        while "trying again in 2 s" not in said(place):
            time.sleep(0.1)
        (tmp_path / "away").rename(tmp_path / "git")

    thread = threading.Thread(target=back)
    thread.start()
    assert run_experiment(task, replace(place, patience=30))
    thread.join()
    assert refs(tmp_path) == ["seed-2"]


def test_the_same_name_with_other_parameters(pushed: Path, place: Place) -> None:
    """Is not taken for the experiment that was asked for."""
    task = task_of(pushed)
    run_experiment(task, place)
    other = replace(task, overrides=("train.seed=5",))
    with pytest.raises(UserError, match="has an experiment seed-2 of this commit with other"):
        run_experiment(other, place)


def test_somebody_else_was_faster(
    pushed: Path, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two machines that ran the same at once, the first one's experiment stays."""
    task = task_of(pushed)
    run_experiment(task, place)
    before = run(["git", "rev-parse", task.ref], tmp_path / "git").stdout
    monkeypatch.setattr("splade_sts.runs.experiment.handed_in", lambda *_: False)
    time.sleep(1.1)  # so that the second commit is another one
    assert run_experiment(task, replace(place, workdir=tmp_path / "other"))
    assert run(["git", "rev-parse", task.ref], tmp_path / "git").stdout == before
    assert "another machine has handed in seed-2 meanwhile" in said(place)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"commit": "main"}, "found 'main' as a commit; expected its 40 hexadecimal digits"),
        ({"name": "../seed"}, "found '../seed' as the name of an experiment"),
        ({"name": "seed..2"}, "found 'seed..2' as the name of an experiment"),
        ({"name": "seed.lock"}, "neither `.` nor `.lock` at the end"),
        ({"commit": "0" * 40}, "0000"),
        ({"overrides": ("train.sede=1",)}, "sede"),
        ({"overrides": ("train.batch_size=0",)}, "train.batch_size: found 0"),
        ({"folder": "nowhere"}, "has no nowhere/params.yaml; --folder names"),
        ({"cache": "cache"}, "found 'cache' as the DVC cache; expected an absolute path"),
        ({"dvc_remote": "nowhere"}, "the project has no DVC remote nowhere"),
    ],
)
def test_what_is_refused(
    pushed: Path, place: Place, changes: dict[str, object], message: str
) -> None:
    """Before anything runs."""
    with pytest.raises(UserError, match=message):
        run_experiment(replace(task_of(pushed), **changes), place)
    assert not (place.workdir.parent / "log").exists()


def test_remotes_that_are_no_use_elsewhere(pushed: Path, tmp_path: Path) -> None:
    """Folders that a clone would not find."""
    with pytest.raises(UserError, match="no default DVC remote"):
        check_remote("", "")
    relative = "[core]\n    remote = a\n['remote \"a\"']\n    url = ../../store\n    jobs = 2\n"
    with pytest.raises(UserError, match=r"the folder ../../store, relative to the project"):
        check_remote("a", relative)
    for url in ("/data/store", "s3://bucket/store", "ssh://me@host/store"):
        check_remote("a", relative.replace("../../store", url))
    run(["git", "remote", "add", "near", "../git"], pushed)
    assert remote_url(pushed, "near") == str(tmp_path / "git")
    assert remote_url(pushed, "me@host:git") == "me@host:git"
    with pytest.raises(UserError, match="no Git remote far: git remote add far URL"):
        remote_url(pushed, "far")


def test_secrets_are_not_printed() -> None:
    """Nor those in the URL of a remote."""
    place = Place(Path(), 0, io.StringIO())
    place.say("$ git fetch https://me:secret@host/git")
    assert "secret" not in place.progress.getvalue()


def test_the_command(pushed: Path, tmp_path: Path) -> None:
    """By itself, outside of every project; a failure is one message and a status of its own."""
    task = task_of(pushed, 3)
    options = ("--git-remote", str(tmp_path / "git"), "--workdir", str(tmp_path / "work"))
    options += ("--commit", task.commit, "--patience", "0")
    ours = {"PYTHONPATH": str(ROOT)}
    done = splade_sts(tmp_path, "experiment", *options, "--name", "s", "-S", "train.seed=2", **ours)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("s is done\n")
    options += ("--name", "t")
    failed = splade_sts(tmp_path, "experiment", *options, "-S", "train.seed=3", **ours)
    assert failed.returncode == 1
    assert "error: experiment t failed; the output is above" in failed.stderr
    assert refs(tmp_path) == ["s"]


def trees(folder: Path) -> set[str]:
    """The files of each experiment in a project, as Git sums them up, with its name."""
    form = "--format=%(tree) %(refname:lstrip=4)"
    return set(run(["git", "for-each-ref", form, "refs/exps/*/*/*"], folder).stdout.splitlines())


def test_several_at_a_time(project: Path, tmp_path: Path) -> None:
    """On one machine: the same experiments as one after another, in MLflow too; what fails is
    named, and what is there is not run again.
    """
    here, there = (copy_project(project, tmp_path / name) for name in ("here", "there"))
    sweep = ("sweep", "compare.changed_pairs=3,4")
    splade_sts(here, "sweep", "compare.changed_pairs=3", check=True)
    (there / "params.yaml").open("a").write("# changed\n")
    refused = splade_sts(there, *sweep, "--jobs", "2")
    assert "not committed, so the experiments would run without it" in refused.stderr
    run(["git", "checkout", "-q", "params.yaml"], there)
    done = splade_sts(there, *sweep, "--jobs", "2", check=True)
    assert done.stdout.count(" runs; its output goes to ") == 2
    assert trees(here) < trees(there)
    names = {one.info.run_name for one in runs(there)}
    assert {"changed_pairs-3", "changed_pairs-4"} <= names
    again = splade_sts(there, "sweep", "compare.changed_pairs=4,0", "--jobs", "2")
    assert "compare.changed_pairs: found 0" in again.stderr
    failing = ("compare.changed_pairs=3", "data.path=data/nowhere")
    again = splade_sts(there, "sweep", *failing, "--jobs", "2")
    assert again.returncode == 1
    assert "1 of 1 experiments failed" in again.stderr
    assert "data/nowhere" in again.stdout
