import io
import shutil
from pathlib import Path

import pytest

from splade_sts.errors import UserError
from splade_sts.runs import sweep
from splade_sts.runs.sweep import Planned, plan, run_sweep, share_of_cores
from tests.support.commands import run
from tests.support.tiny import PARAMS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with parameters."""
    shutil.copy(PARAMS, tmp_path / "params.yaml")
    return tmp_path


def test_plan(root: Path) -> None:
    """Names, overrides and the parameters that will be recorded; several keys give every
    combination.
    """
    (one, two) = plan(root, ["train.regularizer_weight=1e-3,3e-3"])
    assert one.name == "regularizer_weight-0.001"
    assert one.overrides == ["train.regularizer_weight=0.001"]
    assert two.params["train.regularizer_weight"] == 3e-3
    assert one.params["train.epochs"] == two.params["train.epochs"]
    names = [
        one.name for one in plan(root, ["train.seed=range(1,3)", "evaluate.max_active_dims=4,8"])
    ]
    assert names == [f"seed-{seed}-max_active_dims-{most}" for seed in (1, 2) for most in (4, 8)]
    assert (root / "params.yaml").read_bytes() == PARAMS.read_bytes()


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["nonsense"], "nonsense: .*expected keys of params.yaml with their values"),
        (["train.wieght=1,2"], "wieght"),
        (
            ["train.batch_size=0,8"],
            r"^params.yaml is not valid:\n  train.batch_size: found 0; expected at least 1",
        ),
        (["train.seed=1,1"], "the same experiment twice"),
    ],
)
def test_plans_that_are_refused(root: Path, assignments: list[str], message: str) -> None:
    """Before anything has run; what is wrong is said of the user's params.yaml."""
    with pytest.raises(UserError, match=f"(?s){message}"):
        plan(root, assignments)


def test_no_parameters(tmp_path: Path) -> None:
    """It says which file is missing."""
    with pytest.raises(UserError, match=r"params.yaml not found"):
        plan(tmp_path, ["train.seed=1,2"])


def test_what_is_there_is_not_run_again(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An experiment of the same name, commit and parameters is kept; of others it is refused; what
    fails is named.
    """
    commands: list[tuple[str, ...]] = []

    def dvc(root: Path, progress: object, *arguments: str, **shares: str) -> None:
        commands.append(arguments)
        environments.append(shares)

    environments: list[dict[str, str]] = []
    monkeypatch.setattr(sweep, "_dvc", dvc)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)))
    head = run(["git", "rev-parse", "HEAD"], repository).stdout.strip()
    run(["git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/seed-42", head], repository)
    kept, new = plan(repository, ["train.seed=42,43"])
    progress = io.StringIO()
    assert run_sweep(repository, [kept, new], None, progress) == ["seed-43"]
    assert commands == [("exp", "run", "--temp", "-n", "seed-43", "-S", "train.seed=43")]
    commands.clear()
    assert run_sweep(repository, [kept, new], 2, progress) == ["seed-43"]
    assert [command[2] for command in commands] == ["--queue", "--run-all"]
    assert environments[-1] == {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "PASSIVE"}
    assert share_of_cores(7)["OMP_NUM_THREADS"] == "1"
    assert share_of_cores(1) == {}
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert "OMP_NUM_THREADS" not in share_of_cores(2), "the user has said it"
    other = Planned("seed-42", kept.overrides, {**kept.params, "train.epochs": 2.0})
    with pytest.raises(UserError, match="dvc exp remove seed-42"):
        run_sweep(repository, [other], None, progress)
    run(["git", "commit", "-q", "--allow-empty", "-m", "another commit"], repository)
    with pytest.raises(UserError, match="of another commit or with other parameters"):
        run_sweep(repository, [kept], None, progress)
