"""Where a release may go, which models it takes, and what differs from dvc.lock."""

import json
import shutil
from pathlib import Path

import pytest

from splade_sts import layout
from splade_sts.errors import UserError
from splade_sts.release.folder import MANIFEST, check_model, check_target, make_release
from splade_sts.release.run import differences


def test_what_gives_way(tmp_path: Path) -> None:
    """An earlier release, and nothing else: not a folder of something, a file or a link."""
    check_target(tmp_path / "new")
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    (earlier / MANIFEST).touch()
    check_target(earlier)
    (tmp_path / "link").symlink_to(earlier)
    (tmp_path / "file").touch()
    for name in ("", "link", "file"):
        with pytest.raises(UserError, match=r"is there and is no release; name a folder"):
            check_target(tmp_path / name)


def test_a_release_in_the_model(tmp_path: Path) -> None:
    """It would be a part of what it is copied from."""
    with pytest.raises(UserError, match=r"--output: .* lies in .*finetuned, of which it is made"):
        make_release(tmp_path, tmp_path / layout.model("finetuned") / "release")


def test_models_that_are_not_handed_on(tmp_path: Path, tiny_splade: Path, tiny_bert: Path) -> None:
    """Without a head, in name or in weights; with weights that may run code."""
    check_model(tiny_splade)
    folder = tmp_path / "model"
    shutil.copytree(tiny_splade, folder)
    config = folder / "config.json"
    before = config.read_text()
    config.write_text(json.dumps({**json.loads(before), "architectures": ["BertModel"]}))
    with pytest.raises(UserError, match=r"has no masked-language-model head \(architectures in"):
        check_model(folder)
    config.write_text(before)
    weights = folder / "model.safetensors"
    shutil.copy(tiny_bert / "model.safetensors", weights)
    with pytest.raises(UserError, match=r"cls\."):
        check_model(folder)
    shutil.copy(tiny_splade / "model.safetensors", weights)
    (folder / "pytorch_model.bin").touch()
    with pytest.raises(UserError, match=r"holds pytorch_model.bin, which may run code when"):
        check_model(folder)


def test_differences_in_words() -> None:
    status = {
        "train": [
            {"changed deps": {"params.yaml": {"train.seed": "modified"}, "models/base": "deleted"}},
            {"changed outs": {"models/finetuned": "modified"}},
            "changed command",
        ],
        "data.dvc": [{"changed outs": {"data": "not in cache"}}],
    }
    assert differences(status) == [
        "train: params.yaml: train.seed modified",
        "train: models/base deleted",
        "train: models/finetuned modified",
        "train: changed command",
        "data.dvc: data not in cache",
    ]
