"""controls: which there are, and what is written of them."""

from pathlib import Path

import numpy as np
import pytest

from splade_sts import layout
from splade_sts.controls.scores import ControlScores
from splade_sts.data.pairs import Pairs
from splade_sts.data.sets import write_names
from splade_sts.errors import UserError
from splade_sts.files import read_json
from stages import controls
from tests.support.projects import write_params

WORDS = ["jaccard", "tfidf", "char_tfidf", "bm25"]


@pytest.fixture
def project(tmp_path, monkeypatch, pairs) -> Path:
    """Normalized data; the two pairs of test have no word in common."""
    monkeypatch.chdir(tmp_path)
    layout.NORMALIZED.mkdir(parents=True)
    write_names(layout.NORMALIZED, [])
    pairs.write(layout.normalized("train"))
    pairs.write(layout.normalized("validation"))
    Pairs(["xyz", "xyz"], ["zzz", "abc"], np.array([0.0, 1.0])).write(layout.normalized("test"))
    return tmp_path


@pytest.mark.parametrize("dense", [False, True])
def test_what_it_writes(project, tiny_bert, dense):
    """Scores for every held-out pair and their correlations; a control that scores every pair alike
    has none. The headlines are Spearman of the best control without an encoder, and of the dense
    one, which is there only where it is wanted.
    """
    write_params(project, controls__dense_model=str(tiny_bert) if dense else False)
    controls.main()
    names = WORDS + ["dense"] * dense
    for split in layout.HELD_OUT:
        assert list(ControlScores.read(layout.CONTROLS / f"{split}.parquet").scores) == names
    headlines, evidence = (
        read_json(path("controls")) for path in (layout.metrics, layout.evidence)
    )
    assert list(evidence["validation"]) == names
    spearman = {name: both["spearman"] for name, both in evidence["validation"].items()}
    best = max(WORDS, key=spearman.__getitem__)
    wanted = [best] + ["dense"] * dense
    assert headlines["validation"] == {name: spearman[name] for name in wanted}
    assert headlines["validation"][best] > 0.9
    assert "jaccard" not in evidence["test"]
    assert list(headlines["test"]) == [name for name in evidence["test"] if name == "dense"]


@pytest.mark.parametrize("dims", [8, None])
def test_the_encoder_that_the_base_model_is_made_of(project, tiny_bert, capsys, dims):
    """It is a control by default; where the base model is a SPLADE model already, there is none."""
    write_params(
        project,
        controls__dense_model=None,
        base_model__source=str(tiny_bert),
        base_model__target_active_dims=dims,
    )
    controls.main()
    assert list(read_json(layout.evidence("controls"))["validation"]) == WORDS + ["dense"] * bool(
        dims
    )
    said = f"dense: {tiny_bert}, which the base model is converted from, on the first 32 tokens"
    assert (said in capsys.readouterr().out) == bool(dims)


def test_a_base_model_that_is_not_there(project):
    """The parameter that names it is named, not the one that is empty."""
    write_params(project, controls__dense_model=None, base_model__source="./nowhere")
    with pytest.raises(UserError, match=r"^base_model.source: folder ./nowhere not found"):
        controls.main()


def test_further_test_sets(project):
    """They are scored too, by statistics of train; the headlines do not have them."""
    write_params(project)
    controls.main()
    before = read_json(layout.metrics("controls"))
    write_names(layout.NORMALIZED, ["more"])
    layout.normalized("more").parent.mkdir(exist_ok=True)
    layout.normalized("more").write_bytes(layout.normalized("validation").read_bytes())
    controls.main()
    assert read_json(layout.metrics("controls")) == before
    evidence = read_json(layout.evidence("controls"))
    assert list(evidence) == ["validation", "test", "more"]
    assert evidence["more"] == evidence["validation"]
    assert list(ControlScores.read(layout.control("more")).scores) == WORDS
