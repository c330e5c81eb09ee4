"""One experiment in a clone of its own: what a machine does that was asked for it.

Git and the DVC remote carry everything to the machine and back. So the machine may be any: one of a
Ray cluster, a job of SLURM or Kubernetes, one that a shell loop reaches over ssh.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from ruamel.yaml import YAML

from splade_sts import layout, params
from splade_sts.errors import UserError, without_secrets
from splade_sts.git import git
from splade_sts.locks import locked
from splade_sts.runs.public import public_params
from splade_sts.runs.sweep import overridden

COMMIT = re.compile(r"[0-9a-f]{40}")
# What Git takes as the end of a ref: neither `..` nor `.` or `.lock` at its end.
NAME = re.compile(r"(?!.*\.(\.|lock$|$))[0-9A-Za-z_][0-9A-Za-z_.-]*")
ORIGIN = "origin"
BUSY = "process {pid} runs this very experiment here; waiting for it"
# What a clone must not take over from the calling process.
LEFT_OUT = ("DVC_ROOT", "PYTHONPATH")
# Has a DVC remote answer at little cost: the run cache is fetched, which the run would do first; of
# the data, nothing above a byte.
ASK = ("fetch", "--run-cache", "--max-size", "1")
# Waits between tries grow to this, in seconds.
LONGEST_WAIT = 30.0

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """An experiment to run, in terms that hold on every machine.

    Attributes:
        commit: where it starts from: 40 hexadecimal digits, not a branch, which may move.
        name: the experiment's.
        overrides: what `dvc exp run -S` is given.
        git_remote: the URL of the Git repository that has the commit and gets the experiment.
        folder: of the project in that repository; empty where it is the top folder.
        dvc_remote: a remote of the project's; None for its default remote.
        cache: the absolute path of a DVC cache that all machines see, instead of a DVC remote.
    """

    commit: str
    name: str
    overrides: tuple[str, ...]
    git_remote: str
    folder: str = ""
    dvc_remote: str | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        if not COMMIT.fullmatch(self.commit):
            raise UserError(
                f"found {self.commit!r} as a commit; expected its 40 hexadecimal digits "
                "(git rev-parse HEAD)"
            )
        if not NAME.fullmatch(self.name):
            raise UserError(
                f"found {self.name!r} as the name of an experiment; expected letters, digits and "
                "`_`, `.` or `-`, the first one a letter, a digit or `_`; no `..`, and neither `.` "
                "nor `.lock` at the end"
            )
        if self.cache and not Path(self.cache).is_absolute():  # it would go with the clone
            raise UserError(
                f"found {self.cache!r} as the DVC cache; expected an absolute path, under which "
                "all machines see it"
            )

    @property
    def ref(self) -> str:
        """Where Git holds the experiment."""
        return f"refs/exps/{self.commit[:2]}/{self.commit[2:]}/{self.name}"  # private: dvc


@dataclass(frozen=True)
class Place:
    """Where a machine works.

    Attributes:
        workdir: holds a clone for each experiment that runs, and what outlives them: a DVC cache,
            and the checkpoints of trainings.
        patience: how long to try again where a remote does not answer, in seconds.
        progress: where the output goes.
        environment: further variables for the pipeline.
    """

    workdir: Path
    patience: float
    progress: TextIO
    environment: tuple[tuple[str, str], ...] = ()

    def say(self, text: str) -> None:
        """Print without secrets."""
        print(without_secrets(text), file=self.progress, flush=True)

    def patiently(self, call: Callable[[], T]) -> T:
        """`call`, again and again while it fails, with growing waits.

        Raises:
            UserError: that of the last try.
        """
        deadline, wait = time.monotonic() + self.patience, 1.0
        while True:
            try:
                return call()
            except UserError as error:
                if time.monotonic() + wait > deadline:
                    raise
                self.say(f"{error}\ntrying again in {wait:g} s")
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)


def workdir(named: str | None) -> Path:
    """The folder of that name on this machine; without a name one in the user's cache."""
    if named:
        return Path(named).expanduser().resolve()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "splade-sts" / "experiments"


def remote_url(root: Path, remote: str) -> str:
    """The URL of a Git remote that the repository at `root` knows by name; what is a URL stays one.

    Raises:
        UserError: there is no remote of that name.
    """
    try:
        url = git(root, "remote", "get-url", remote)
    except UserError:
        if "/" not in remote and ":" not in remote:
            raise UserError(
                f"no Git remote {remote}: git remote add {remote} URL, and git push it; or give "
                "--git-remote"
            ) from None
        url = remote
    # a clone elsewhere would take another folder
    return str((root / url).resolve()) if ":" not in url else url


def run_experiment(task: Task, place: Place) -> bool:
    """Run an experiment in a fresh clone, and hand it in.

    The data go first and the experiment's Git ref last: where the ref is, the experiment is whole.
    Data of a pipeline that fails are handed in too, so that the next try goes on behind the stages
    that ended.

    Returns:
        Whether anything was run: not where the Git remote has the experiment.

    Raises:
        UserError: a remote does not answer, the Git remote lacks the commit, the project is not in
            that folder, the parameters are refused, there is an experiment of that name with
            others, there is no DVC remote, the pipeline fails, or what came out cannot be handed
            in.
    """
    home = place.workdir / "clones" / f"{task.commit[:12]}-{task.name}"
    with locked(home / "lock", BUSY), _clone(task, place, home) as clone:
        root = clone / task.folder
        if not (root / layout.PARAMS).is_file():
            raise UserError(
                f"commit {task.commit} has no {Path(task.folder) / layout.PARAMS}; --folder names "
                "the project's folder in the repository"
            )
        wanted = overridden(root, list(task.overrides), earlier=True)
        if handed_in(root, task, place):
            _check_same(root, task, wanted)
            place.say(f"{task.name} is there already")
            return False
        _prepare(root, clone, task, place)
        changes = [argument for override in task.overrides for argument in ("-S", override)]
        if not task.cache:
            place.patiently(lambda: _check(_dvc(root, place, *ASK), "asking the DVC remote"))
        pull = [] if task.cache else ["--pull"]
        run = ["exp", "run", *pull, "--allow-missing", "-n", task.name, *changes]
        ran = _dvc(root, place, *run)
        try:
            if not task.cache:
                place.patiently(lambda: _store(root, place))
        finally:
            _check(ran, f"experiment {task.name}")
        place.patiently(lambda: _hand_in(root, task, place))
        place.say(f"{task.name} is done")
        return True


@contextmanager
def _clone(task: Task, place: Place, home: Path) -> Iterator[Path]:
    """A fresh clone at the commit of the task, which is gone after the block."""
    for left in home.glob("clone-*"):  # of tries that were killed; their processes may still write
        shutil.rmtree(left, ignore_errors=True)
    clone = Path(tempfile.mkdtemp(prefix="clone-", dir=home))
    try:
        git(clone, "init", "--quiet")
        git(clone, "remote", "add", ORIGIN, task.git_remote)
        place.say(f"$ git fetch {task.git_remote} {task.commit}")
        place.patiently(lambda: fetch_commit(clone, task.git_remote, task.commit))
        git(clone, "checkout", "--quiet", "--detach", task.commit)
        yield clone
    finally:
        shutil.rmtree(clone, ignore_errors=True)


def fetch_commit(repository: Path, url: str, commit: str) -> None:
    """Fetch the branches of a Git remote and a commit, which the branches may have left.

    Any experiment that started from the commit holds it, too. Some servers give it also when
    nothing does.

    Raises:
        UserError: the remote does not answer, or does not give the commit.
    """
    held = f"+refs/exps/{commit[:2]}/{commit[2:]}/*:refs/held/*"  # private: dvc
    git(repository, "fetch", "--quiet", url, "+refs/heads/*:refs/remotes/origin/*", held)
    if not holds(repository, commit):
        git(repository, "fetch", "--quiet", url, commit)


def holds(repository: Path, commit: str) -> bool:
    """Whether any ref of a repository holds a commit."""
    try:
        return bool(git(repository, "for-each-ref", "--count=1", "--contains", commit))
    except UserError:  # it is not even there
        return False


def handed_in(root: Path, task: Task, place: Place) -> bool:
    """Whether the Git remote has the experiment; if so, it is in the repository at `root`, too.

    Raises:
        UserError: the remote does not answer.
    """
    found = place.patiently(lambda: git(root, "ls-remote", ORIGIN, task.ref))
    if found:
        place.patiently(lambda: git(root, "fetch", "--quiet", ORIGIN, f"+{task.ref}:{task.ref}"))
    return bool(found)


def _check_same(root: Path, task: Task, wanted: dict[str, Any]) -> None:
    """Check that the experiment that is there has the wanted parameters.

    Raises:
        UserError: it has others.
    """
    content = YAML(typ="safe").load(git(root, "show", f"{task.ref}:./{layout.PARAMS}"))
    if public_params(params.parse(params.completed(content))) != wanted:
        raise UserError(
            f"{without_secrets(task.git_remote)} has an experiment {task.name} of this commit with "
            f"other parameters; `dvc exp remove -g REMOTE {task.name}` removes it there, another "
            "--name keeps both"
        )


def _prepare(root: Path, clone: Path, task: Task, place: Place) -> None:
    """Give the clone its cache, its checkpoints and its remote.

    Raises:
        UserError: there is no DVC remote, or a setting is refused.
    """
    if task.cache:
        _set(root, "cache.dir", task.cache)
    else:
        if task.dvc_remote:
            _set(root, "core.remote", task.dvc_remote)
        name = dvc_setting(root, "core.remote")
        if name and not dvc_setting(root, f"remote.{name}.url"):
            raise UserError(f"the project has no DVC remote {name}; `dvc remote list` names them")
        check_remote(name, (root / ".dvc" / "config").read_text(encoding="utf-8"))
        if not dvc_setting(root, "cache.dir"):
            _set(root, "cache.dir", str((place.workdir / "cache").resolve()))
    checkpoints = place.workdir / layout.CHECKPOINTS
    checkpoints.mkdir(parents=True, exist_ok=True)
    (root / layout.CHECKPOINTS).symlink_to(checkpoints.resolve())
    # .gitignore names a folder, and this is a link
    exclude = clone / ".git" / "info" / "exclude"
    exclude.parent.mkdir(exist_ok=True)
    with exclude.open("a", encoding="utf-8") as file:
        file.write(f"/{Path(task.folder) / layout.CHECKPOINTS}\n")


def dvc_setting(root: Path, name: str, *level: str) -> str:
    """A setting of DVC, of whatever level or of the one of an option; empty where there is none."""
    return _config(root, *level, name).stdout.strip()


def _set(root: Path, name: str, value: str) -> None:
    done = _config(root, "--local", name, value)
    _check(not done.returncode, f"dvc config {name} {value}: {done.stderr.strip()}")


def _config(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dvc", "config", *arguments]
    return subprocess.run(command, cwd=root, env=_environment(), capture_output=True, text=True)


def cache_folder(root: Path) -> str:
    """The folder of the cache of the project at `root`."""
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return str((root / said.stdout.strip()).resolve())


def check_remote(name: str, config: str) -> None:
    """Check that a DVC remote means the same folder or server in every clone.

    Args:
        name: the remote's; empty where there is none.
        config: the committed `.dvc/config`.

    Raises:
        UserError: there is no remote, or its folder is given relative to the project.
    """
    if not name:
        raise UserError(
            "no default DVC remote, so what comes out would stay here: dvc remote add -d NAME URL, "
            "commit .dvc/config and push it (docs/sharing.md)"
        )
    parsed = ConfigParser(interpolation=None, strict=False)
    parsed.read_string(config)
    # DVC writes the quotes as part of the section
    url = parsed.get(f"'remote \"{name}\"'", "url", fallback="")
    if url and "://" not in url and not Path(url).is_absolute():
        raise UserError(
            f"the DVC remote {name} is the folder {url}, relative to the project: every clone "
            f"would take another one; dvc remote modify {name} url /ABSOLUTE/FOLDER, commit "
            ".dvc/config and push it"
        )


def _environment(more: tuple[tuple[str, str], ...] = ()) -> dict[str, str]:
    """For DVC in a clone: stages take this interpreter, and the code of the clone."""
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return {**kept, "PATH": path, **dict(more)}


def _dvc(root: Path, place: Place, *arguments: str) -> bool:
    """Run DVC, whose output goes where the place says; whether it ended well."""
    place.say(f"$ dvc {' '.join(arguments)}")
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        env=_environment(place.environment),
        stdout=place.progress,
        stderr=place.progress,
    )
    return done.returncode == 0


def _check(done: bool, what: str) -> None:
    if not done:
        raise UserError(f"{what} failed; the output is above")


def _store(root: Path, place: Place) -> None:
    """Push the data in the workspace, and those of every stage that ended here."""
    _check(_dvc(root, place, "push", "--run-cache"), "dvc push")


def _hand_in(root: Path, task: Task, place: Place) -> None:
    """Push the experiment's ref, in one step. Where somebody else was faster, theirs stays.

    That is Git's part of `dvc exp push`, with Git's own client: DVC's does not know every way that
    Git has to a server (`GIT_SSH_COMMAND`, say), and finds out only after the training.

    Raises:
        UserError: the remote does not answer or does not take it.
    """
    place.say(f"$ git push {task.git_remote} {task.ref}")
    try:
        git(root, "push", "--quiet", ORIGIN, f"{task.ref}:{task.ref}")
    except UserError as error:
        if not git(root, "ls-remote", ORIGIN, task.ref):
            raise
        place.say(f"another machine has handed in {task.name} meanwhile: {error}")
