"""What the names of runs say, and what sets runs apart."""

import pytest

from splade_sts.runs.naming import assignments, label, named_params, usual_values

PARAMS = {
    "train.seed": 1,
    "train.epochs": 2.0,
    "train.group_by_length": False,
    "evaluate.max_active_dims": None,
    "train.learning_rate": 1e-4,
}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("seed-1", ("train.seed",)),
        ("seed-2", ()),
        ("epochs-2-seed-1", ("train.epochs", "train.seed")),
        ("epochs-2.0", ("train.epochs",)),
        ("group_by_length-False-seed-1", ("train.group_by_length", "train.seed")),
        ("group_by_length-false", ("train.group_by_length",)),
        ("max_active_dims-null", ("evaluate.max_active_dims",)),
        ("learning_rate-0.0001", ("train.learning_rate",)),
        ("seed-1-and-more", ()),
        ("bold-name", ()),
    ],
)
def test_what_a_name_says(name: str, said: tuple[str, ...]) -> None:
    """The parameters of which the whole name consists, as people and tools write their values."""
    assert named_params(name, PARAMS) == said


def test_usual_values() -> None:
    """Those of more than half of the runs; two runs that differ have none."""
    assert usual_values([{"a": 1, "b": 2}, {"a": 1, "b": 3}]) == {"a": 1}
    assert usual_values([{"a": 1}, {"a": True}, {"a": True}]) == {"a": True}
    assert usual_values([]) == {}


def test_labels() -> None:
    """What the name does not say and is not usual stands in brackets."""
    usual = {"train.epochs": 1.0, "train.learning_rate": 1e-4}
    params = {"train.seed": 1, "train.epochs": 2.0, "train.learning_rate": 1e-4}
    assert label("seed-1", params, usual) == "seed-1 (epochs=2)"
    assert label("seed-1", params | usual, usual) == "seed-1"
    assert label("x", params, {}) == "x (seed=1, epochs=2, learning_rate=0.0001)"
    assert assignments({"evaluate.max_active_dims": None}) == "max_active_dims=null"
