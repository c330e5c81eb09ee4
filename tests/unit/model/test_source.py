"""Where models come from, and which are refused before they are loaded."""

import pytest

from splade_sts.errors import UserError
from splade_sts.model import source
from splade_sts.model.source import Located, PipEncoder, locate


def test_a_folder_is_itself(tmp_path):
    assert locate(str(tmp_path), "ignored") == Located(tmp_path, None)


@pytest.mark.parametrize("key", ["base_model.source", "controls.dense_model"])
def test_unknown_sources(tmp_path, key):
    """A package that is not known, a folder that is not there; the message names the parameter."""
    with pytest.raises(UserError, match=f"{key}: unknown package"):
        locate("pip:something-else", None, key)
    with pytest.raises(UserError, match=f"{key}: folder .* not found"):
        locate(str(tmp_path / "nowhere"), None, key)


def test_a_package_with_other_weights(tmp_path, monkeypatch):
    """Missing, or with weights whose hash is not the known one."""
    known = {"tiny": PipEncoder("tiny_package_for_a_test", "model", "0" * 64)}
    monkeypatch.setattr(source, "PIP_ENCODERS", known)
    with pytest.raises(UserError, match="is not installed"):
        locate("pip:tiny", None)
    weights = tmp_path / "tiny_package_for_a_test" / "model" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    (weights.parents[1] / "__init__.py").touch()
    weights.write_bytes(b"other")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"has SHA-256 .*; expected 0000"):
        locate("pip:tiny", None)
