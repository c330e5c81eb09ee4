"""What colleagues get of a project whose files lie in a DVC remote (docs/sharing.md)."""

import json
import shutil
from pathlib import Path

import pytest

from splade_sts import layout
from tests.support.commands import dvc, run, stages_run
from tests.support.projects import commit, copy_project

pytestmark = pytest.mark.xdist_group("sharing")
VERSION = "splade-sts@v1.0.0"


@pytest.fixture(scope="module")
def origin(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare Git repository with a tagged run and an experiment of it; beside it a folder as DVC
    remote, and the cache of the project where they were made, of which nothing else is left.
    """
    folder = tmp_path_factory.mktemp("team")
    mine, bare = copy_project(project, folder / "mine"), folder / "origin.git"
    dvc(mine, "remote", "add", "-d", "shared", str(folder / "remote"))
    commit(mine, "DVC remote")
    run(["git", "tag", "-a", VERSION, "-m", "first version"], mine)
    (mine / "README.md").write_text("Work goes on.\n")
    commit(mine, "not tagged")
    run(["git", "init", "-q", "--bare", str(bare)], mine)
    run(["git", "remote", "add", "origin", str(bare)], mine)
    dvc(mine, "push", "--run-cache")
    run(["git", "push", "-q", "origin", "HEAD", VERSION], mine)
    dvc(mine, "exp", "run", "--temp", "-n", "short", "-S", "compare.changed_pairs=3")
    dvc(mine, "exp", "push", "origin", "short")
    (mine / ".dvc/cache").rename(folder / "cache")
    shutil.rmtree(mine)
    return bare


def clone(origin: Path, folder: Path) -> Path:
    run(["git", "clone", "-q", str(origin), str(folder)], origin)
    return folder


def test_a_colleague_repeats_nothing(origin: Path, tmp_path: Path) -> None:
    """After `dvc pull`, or with `dvc repro --pull` alone, there is nothing to do; an experiment
    comes with its files.
    """
    pulled = clone(origin, tmp_path / "pulled")
    dvc(pulled, "pull")
    assert stages_run(dvc(pulled, "repro").stdout) == []
    lazy = clone(origin, tmp_path / "lazy")
    assert stages_run(dvc(lazy, "repro", "--pull").stdout) == []
    dvc(lazy, "exp", "pull", "origin", "short")
    dvc(lazy, "exp", "apply", "short")
    assert "changed_pairs: 3" in (lazy / "params.yaml").read_text()
    for path in ("metrics/finetuned.json", "models/finetuned/model.safetensors"):
        assert (lazy / path).read_bytes() == (pulled / path).read_bytes()
    report = "reports/comparison.md"
    assert (lazy / report).read_text().count("\n") < (pulled / report).read_text().count("\n")


def test_the_run_cache(origin: Path, tmp_path: Path) -> None:
    """DVC uploads no results that Git holds: of a run that is in no commit, stages with such
    results run again. With a copy of the whole cache as remote they do not.
    """
    mine = clone(origin, tmp_path / "mine")
    dvc(mine, "pull", "--run-cache")
    (mine / "dvc.lock").unlink()
    assert stages_run(dvc(mine, "repro", "--pull", "base_model").stdout) == ["normalize"]
    run(["git", "checkout", "-q", "dvc.lock"], mine)
    whole = origin.with_name("cache")
    dvc(mine, "remote", "add", "-d", "--local", "whole", str(whole))
    dvc(mine, "fetch", "--run-cache")
    again = dvc(mine, "exp", "run", "--pull", "-n", "again", "-S", "compare.changed_pairs=3")
    assert stages_run(again.stdout) == ["track"]


READ = """
import json, sys, dvc.api
repo, rev = sys.argv[1:]
print(json.dumps(dvc.api.artifacts_show("splade-sts", repo=repo)))
with dvc.api.open("metrics/finetuned.json", repo=repo, rev=rev) as file:
    print(file.read())
config = dvc.api.read("models/finetuned/config.json", repo=repo, rev=rev)
assert '"BertForMaskedLM"' in config, config
"""


def test_the_model_from_elsewhere(project: Path, origin: Path, tmp_path: Path) -> None:
    """By its name and version, by its path and tag, and from Python: the same bytes."""
    model = project / layout.model("finetuned")
    dvc(tmp_path, "artifacts", "get", str(origin), "splade-sts", "--rev", "v1.0.0", "-o", "one")
    tag = ["--rev", VERSION]
    dvc(tmp_path, "get", str(origin), "models/finetuned", *tag, "-o", "two")
    for name in ("one", "two"):
        found = {
            path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.is_file()
        }
        assert found == {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}
    read = run(["python", "-c", READ, str(origin), VERSION], tmp_path)
    newest, _, metrics = read.stdout.partition("\n")
    commit = run(["git", "rev-parse", f"{VERSION}^{{commit}}"], origin).stdout.strip()
    assert json.loads(newest) == {"rev": commit, "path": "models/finetuned"}
    assert metrics.strip() == (project / "metrics/finetuned.json").read_text().strip()
