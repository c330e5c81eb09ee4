"""Pictures and the tables behind plots."""

import numpy as np
import pytest

from splade_sts.comparison.calibration import calibration
from splade_sts.report.pictures import PlotTables, pictures
from tests.support.results import (
    BASE,
    BOOTSTRAP,
    FINETUNED,
    TRAINING_CURVE,
    VALIDATION_CURVE,
    repeated,
)


@pytest.fixture(scope="module")
def tables() -> PlotTables:
    return PlotTables.of(repeated(BASE), repeated(FINETUNED))


def test_tables():
    """Every pair, errors by band (without empty ones), and every sentence in the histogram."""
    found = PlotTables.of(BASE, FINETUNED)
    assert found.prediction_table["base"].tolist() == [0.5, 0.4, 0.3, 0.9]
    assert found.error_by_band["band"].tolist() == [
        "0.0 to 0.2",
        "0.4 to 0.6",
        "0.6 to 0.8",
        "0.8 to 1.0",
    ]
    assert found.error_by_band["finetuned"].tolist() == pytest.approx([0.1, 0.1, 0.1, 0.1])
    assert found.active_dims_histogram[["base", "finetuned"]].to_numpy().sum(axis=0).tolist() == [
        8,
        8,
    ]


def test_pictures(tables):
    """Five, each in two themes, with a text that stands for it."""
    models = {"base": repeated(BASE), "finetuned": repeated(FINETUNED)}
    cosines = {name: found.cosine for name, found in models.items()}
    calibrated = calibration(models["base"].pairs.score, cosines, BOOTSTRAP)
    drawn = pictures(tables, calibrated, TRAINING_CURVE, VALIDATION_CURVE)
    assert [picture.name for picture in drawn] == [
        "predictions",
        "reliability",
        "error_by_band",
        "active_dims",
        "training",
    ]
    for picture in drawn:
        assert len(picture.alt) > 40
        assert picture.light.startswith(b"\x89PNG")
        assert picture.dark.startswith(b"\x89PNG")
        assert picture.light != picture.dark
    farthest = {
        model.name: max(abs(one.cosine - one.gold) for one in model.reliability)
        for model in calibrated.models
    }
    assert f"the base is off by up to {farthest['base']:.2f}" in drawn[1].alt
    assert f"the fine-tuned model by up to {farthest['finetuned']:.2f}" in drawn[1].alt
    assert "the last Spearman is 0.4000" in drawn[4].alt


def test_histogram_of_one_value():
    """All sentences have the same number of active dims."""
    same = np.full(4, 3)
    flat = PlotTables.of(
        *(
            type(model)(model.pairs, model.cosine, same, same, model.terms)
            for model in (BASE, FINETUNED)
        )
    )
    assert flat.active_dims_histogram["base"].sum() == 8
