"""compare: what it refuses to read."""

import pytest

from splade_sts import layout
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Evaluation
from stages import compare
from tests.support.results import BASE, evaluation


def test_a_missing_genre_is_named(tmp_path, monkeypatch):
    """The parameter names a column, and the data have none."""
    monkeypatch.chdir(tmp_path)
    found = evaluation(BASE)
    for name in layout.MODELS:
        Evaluation(dict.fromkeys(layout.HELD_OUT, found)).write(name)
    layout.NORMALIZED.mkdir(parents=True)
    for split in layout.HELD_OUT:
        BASE.pairs.write(layout.normalized(split))
    read = Evaluation.read("base")
    with pytest.raises(
        UserError,
        match=r"data\.columns\.genre is 'kind', but data/normalized has no genre for validation",
    ):
        compare.read_results(dict.fromkeys(layout.MODELS, read), "kind")
