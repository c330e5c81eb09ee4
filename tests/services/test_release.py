"""The release of a pipeline run."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from splade_sts import layout
from splade_sts.errors import UserError
from splade_sts.files import read_json
from splade_sts.release.folder import CARD, Release, make_release
from tests.support.commands import run, splade_sts
from tests.support.projects import copy_project, set_params


def test_the_release_of_a_run(project: Path, tmp_path: Path) -> None:
    """Model, card, report, parameters and hashes; refused where the workspace is another than
    dvc.lock says, and then the release that is there stays.
    """
    folder = copy_project(project, tmp_path / "project", "checkpoints")
    target = folder / "release"
    done = splade_sts(folder, "release")
    assert done.returncode == 0, done.stderr
    assert "release: splade-sts of commit " in done.stdout
    release = Release.read(target)
    assert release.commit == run(["git", "rev-parse", "HEAD"], folder).stdout.strip()
    assert release.changed == ()
    assert release.outputs["models/finetuned"].endswith(".dir")
    model = folder / layout.model("finetuned")
    for path in model.rglob("*"):
        if path.is_file():
            assert (target / path.relative_to(model)).read_bytes() == path.read_bytes()
    assert {*release.files} >= {"report/comparison.html", "pipeline/params.yaml"}
    assert "report/model_card.md" not in release.files
    assert release.commit in (target / "report/comparison.html").read_text()
    card = ModelCard.load(target / CARD).data
    metrics = read_json(folder / layout.metrics("finetuned"))
    found = {(one.dataset_split, one.metric_type): one.metric_value for one in card.eval_results}
    for split in layout.HELD_OUT:
        assert found[split, "spearman_cosine"] == metrics[split]["spearman"]
        assert found[split, "active_dims"] == metrics[split]["active_dims"]
    written = [path for path in target.rglob("*") if path.suffix not in (".safetensors", ".png")]
    source = read_json(folder / layout.BASE_SOURCE)["source"]
    assert Path(source).is_absolute()
    for path in written:
        if path.is_file():
            assert source.encode() not in path.read_bytes(), f"{path} names a folder of a machine"

    before = (target / CARD).read_bytes()
    set_params(folder, train__seed=7)
    with pytest.raises(UserError) as error:
        make_release(folder, target)
    assert "the workspace is not what dvc.lock says: train: params.yaml: train.seed mo" in str(
        error.value
    )
    set_params(folder, train__seed=42)
    run(["git", "checkout", "params.yaml"], folder)
    shutil.rmtree(model)
    with pytest.raises(UserError, match=r"models/finetuned deleted"):
        make_release(folder, target)
    (folder / layout.LOCK).unlink()
    with pytest.raises(UserError, match=r"^there is no finished run here \(dvc.lock is missing\)"):
        make_release(folder, target)
    assert (target / CARD).read_bytes() == before
    assert not [*folder.glob(".release*")]
