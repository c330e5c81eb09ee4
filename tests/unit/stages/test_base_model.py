"""base_model: what is said of the model to start from."""

import json
import shutil

import pytest

from splade_sts import layout
from splade_sts.files import read_json
from stages import base_model
from tests.support.projects import write_params


@pytest.mark.parametrize(
    ("strategy", "activation"), [("max", "relu"), ("sum", "relu"), ("max", "log1p_relu")]
)
def test_how_it_pools(tiny_splade, tmp_path, monkeypatch, capsys, strategy, activation):
    """The pooling is part of the model: it is kept, recorded and said."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "own"
    shutil.copytree(tiny_splade, folder)
    path = folder / "1_SpladePooling" / "config.json"
    wanted = {"pooling_strategy": strategy, "activation_function": activation}
    path.write_text(json.dumps({**json.loads(path.read_text()), **wanted}))
    write_params(tmp_path, base_model__source=str(folder), base_model__target_active_dims=None)
    base_model.main()
    assert wanted.items() <= read_json(layout.BASE_SOURCE).items()
    kept = read_json(layout.model("base") / "1_SpladePooling" / "config.json")
    assert wanted.items() <= kept.items()
    assert f", {strategy} of {activation}, licence" in capsys.readouterr().out
