"""DVC rewrites params.yaml (`-S`) and dvc.yaml (`dvc freeze`): nothing but what was asked for
changes.
"""

import difflib
import shutil

import pytest
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides

from splade_sts import params
from splade_sts.params import flatten
from tests.support.commands import ROOT

# Another value of each parameter, where one more, the opposite or `other` would not do.
OTHER = {
    "data.score_range": "[0,4]",
    "data.delimiter": "tab",
    "data.on_leak": "drop_from_train",
    "train.loss": "angle",
    "train.precision": "fp32",
}


def other(name, value):
    if name in OTHER:
        return OTHER[name]
    if isinstance(value, bool):
        return str(not value).lower()
    return str(value + 1) if isinstance(value, int | float) else "7" if value is None else "other"


def changed_lines(before, after):
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in lines if line[0] in "+-" and not line.startswith(("+++", "---"))]


@pytest.mark.parametrize("name", flatten(params.load(ROOT / "params.yaml").model_dump()))
def test_setting_a_parameter_changes_nothing_else(name, tmp_path):
    """`-S` of one key, twice and then back to null: only lines of that key differ."""
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    before = path.read_text(encoding="utf-8")
    value = flatten(params.load(path).model_dump())[name]
    key = name.rsplit(".", 1)[-1]
    for _ in range(2):
        apply_overrides(path, [f"{name}={other(name, value)}"])
    lines = changed_lines(before, path.read_text(encoding="utf-8"))
    assert lines, name
    assert all(line[1:].strip().startswith((f"{key}:", "- ")) for line in lines), lines
    if value is None:
        apply_overrides(path, [f"{name}=null"])
        assert path.read_text(encoding="utf-8") == before


def test_freezing_and_unfreezing_changes_nothing(tmp_path):
    """For every stage that DVC can freeze: not those with a `${…}` in them."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "data" / "local").mkdir(parents=True)
    before = (tmp_path / "dvc.yaml").read_text(encoding="utf-8")
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        stages = [stage for stage in repo.index.stages if not stage.raw_data.parametrized]
        assert len(stages) > 5
        for stage in stages:
            repo.freeze(stage.addressing)
            repo.unfreeze(stage.addressing)
    assert (tmp_path / "dvc.yaml").read_text(encoding="utf-8") == before
