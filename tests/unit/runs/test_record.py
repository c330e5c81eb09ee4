import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from splade_sts import layout
from splade_sts.comparison.evidence import (
    Comparison,
    LevelResult,
    MeanResult,
    SetResult,
    Suite,
)
from splade_sts.comparison.statistics import Correlations
from splade_sts.errors import UserError
from splade_sts.files import read_json, write_json
from splade_sts.runs.identity import training_id
from splade_sts.runs.record import CACHED, Record, collect, not_in_cache
from splade_sts.runs.source import RunFiles
from splade_sts.tracking.view import metric_name
from tests.support.projects import set_params
from tests.support.records import FOLDER_MD5, SOURCE, TRAINING, VALIDATION, write_run


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A working directory with a run."""
    write_run(tmp_path)
    return tmp_path


def read(folder: Path, cached: tuple[Path, ...] = CACHED) -> Record:
    return collect(RunFiles.workspace(folder), cached)


def test_what_a_record_holds(run_folder: Path) -> None:
    """Every headline under its stage's name, the curves as points, hashes, data sets and files."""
    record = read(run_folder)
    assert record.params["train.learning_rate"] == 1e-3
    assert record.params["base_model.source"] == "…/bert"
    expected = {
        "base.test.spearman": 0.5,
        "finetuned.validation.active_dims": 8.0,
        "comparison.gain_low": pytest.approx(0.0),
        "controls.test.bm25": 0.31,
    }
    assert {name: record.metrics[name] for name in expected} == expected
    details = {
        "base.test.pearson": 0.49,
        "comparison.gain": pytest.approx(0.1),
        "comparison.validation.gain_low": pytest.approx(0.0),
        "train.best_step": 4,
    }
    assert {name: record.details[name] for name in details} == details
    assert not record.details.keys() & record.metrics.keys()
    assert record.training == tuple(TRAINING)
    assert record.validation == tuple(VALIDATION)
    assert record.points == (*TRAINING, *VALIDATION)
    assert record.tags["precision"] == "fp32"
    assert record.tags["processes"] == "2"
    assert record.tags["threads"] == "3"
    assert record.tags["dvc.md5.models/finetuned"] == FOLDER_MD5
    assert not [name for name in record.tags if "reports" in name or "evidence" in name]
    assert [(data.name, data.rows) for data in record.datasets] == [
        ("train", 32),
        ("validation", 16),
        ("test", 16),
    ]
    assert record.datasets[2].digest == hashlib.md5(f"{FOLDER_MD5}/test".encode()).hexdigest()[:8]
    assert record.comparison is not None
    assert record.comparison.splits["test"].spearman.finetuned.low == 0.5
    assert record.missing == ()
    assert {
        "params.yaml",
        "dvc.lock",
        "metrics/comparison.json",
        "evidence/comparison.json",
        "reports/comparison.html",
    } <= {*record.artifacts}


def test_searches_are_details(run_folder: Path) -> None:
    """Both models' measures of a set, and the gains of every search that has intervals."""
    bounds = {"low": -0.1, "high": 0.3, "percentile_low": -0.1, "percentile_high": 0.3}
    gain = {"value": 0.1, **bounds, "method": "bca", "error": 0.001}
    change = {"base": 0.5, "finetuned": 0.6, "gain": gain, "not_inferior": False}
    found = dict.fromkeys(("mrr_at_10", "ndcg_at_10"), change)
    recall = {**change, "gain": None, "not_inferior": None}
    search = {"queries": 9, "documents": 20, "groups": 9, **found, "recall_at_10": recall}
    path = run_folder / layout.evidence("comparison")
    content = read_json(path)
    content["splits"]["test"]["retrieval"] = search
    dims = {"base_active_dims": 30.0, "finetuned_active_dims": 40.0}
    mine = {"source": "mine", "revision": None, **dims, "retrieval": search}
    write_json(path, {**content, "searches": {"mine": mine}})
    details = read(run_folder).details
    expected = {
        "base.search.mine.recall_at_10": 0.5,
        "finetuned.search.mine.ndcg_at_10": 0.6,
        "finetuned.search.mine.document_active_dims": 40.0,
        "comparison.search.mine.mrr_at_10_gain_low": -0.1,
        "comparison.test.ndcg_at_10_gain": 0.1,
    }
    assert {name: details.get(name) for name in expected} == expected
    assert "comparison.test.recall_at_10_gain" not in details
    assert metric_name("base.search.mine.recall_at_10") == "search/base_mine_recall_at_10"


def test_no_folder_of_the_machine_is_recorded(run_folder: Path) -> None:
    """Neither in parameters nor in files."""
    record = read(run_folder)
    assert SOURCE.encode() in (run_folder / "params.yaml").read_bytes()
    assert not [path for path, content in record.artifacts.items() if SOURCE.encode() in content]
    assert record.artifacts["reports/comparison.html"] == "<p>…/bert</p>".encode()


def test_identity(run_folder: Path) -> None:
    """Parameters, headlines and curves make it; tracking and reports do not."""
    first, training = read(run_folder), training_id(RunFiles.workspace(run_folder))
    assert first.training_id == training
    set_params(run_folder, track__enabled=False)
    (run_folder / "reports" / "comparison.md").write_text("another report")
    assert read(run_folder).id == first.id
    set_params(run_folder, compare__resamples=777)
    changed = read(run_folder)
    assert changed.id != first.id
    assert changed.training_id == training
    write_json(run_folder / layout.metrics("controls"), {"test": {"bm25": 0.2}})
    assert read(run_folder).id != changed.id
    curve = run_folder / layout.VALIDATION_CURVE
    curve.write_text(curve.read_text().replace("0.4", "0.5"))
    assert read(run_folder).training_id != training


def test_what_the_cache_lacks_is_said(run_folder: Path) -> None:
    """Files and a folder; what Git holds is still there."""
    for path in (run_folder / "reports").iterdir():
        path.unlink()
    (run_folder / "reports").rmdir()
    for name in ("comparison", "train"):
        (run_folder / layout.evidence(name)).unlink()
    record = read(run_folder)
    assert set(record.missing) == {"reports", "evidence/comparison.json", "evidence/train.json"}
    assert record.comparison is None
    assert "precision" not in record.tags
    assert record.metrics["base.test.spearman"] == 0.5
    assert (
        not_in_cache(("reports", "evidence/x.json"))
        == "not in the cache: reports, evidence/x.json (dvc pull)"
    )
    assert read(run_folder, cached=()).missing == ()


def test_evidence_of_another_version(run_folder: Path) -> None:
    """It counts as missing."""
    write_json(run_folder / layout.evidence("comparison"), {"confidence": 0.95})
    record = read(run_folder)
    assert record.comparison is None
    assert record.missing == ("evidence/comparison.json of this version",)


@pytest.mark.parametrize("missing", ["dvc.lock", "metrics/comparison.json", "metrics/training.csv"])
def test_a_run_that_has_not_ended(run_folder: Path, missing: str) -> None:
    """The first file that is missing is named."""
    (run_folder / missing).unlink()
    with pytest.raises(FileNotFoundError) as error:
        read(run_folder)
    assert error.value.filename == missing


def test_a_lock_without_the_data(run_folder: Path) -> None:
    """A dvc.lock that only the first stage has written."""
    (run_folder / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    with pytest.raises(FileNotFoundError) as error:
        read(run_folder)
    assert error.value.filename == "data/normalized"


def test_parameters_of_another_version(run_folder: Path) -> None:
    """The schema is their only reader."""
    text = (run_folder / "params.yaml").read_text()
    (run_folder / "params.yaml").write_text(text.replace("base_model:", "model:"))
    with pytest.raises(UserError, match=r"params.yaml is not valid"):
        read(run_folder)


def test_a_run_from_before_a_key(run_folder: Path) -> None:
    """Keys that came later are as what was done before them, and make no other run of it."""
    now = read(run_folder)
    text = (run_folder / "params.yaml").read_text()
    (run_folder / "params.yaml").write_text(text.replace("offline: false\n", ""))
    before = read(run_folder)
    assert before.params == now.params
    assert before.id == now.id


def test_further_test_sets(run_folder: Path) -> None:
    """The gain and both models' Spearman on each, and on the mean; nothing of what has none."""
    path = run_folder / layout.evidence("comparison")
    found = Comparison.from_content(read_json(path))
    change = found.splits["test"].spearman
    models = {
        name: Correlations(pearson=value, spearman=value)
        for name, value in (("base", change.base), ("finetuned", change.finetuned))
    }
    all_of = {**models, "gain": Correlations(pearson=change.gain, spearman=change.gain)}
    sets = {"test": SetResult(16, all_of), "MORE": SetResult(20, all_of), "flat": SetResult(9, {})}
    means = {"all": MeanResult(tuple(sets), models, {})}
    suite = Suite(None, {"all": LevelResult(sets, means)}, {}, {})
    write_json(path, replace(found, suite=suite).content())
    details = read(run_folder).details
    new = details.keys() - collect_details(run_folder, path, found)
    assert new == {
        *("base.MORE.spearman", "finetuned.MORE.spearman"),
        *("comparison.MORE.gain", "comparison.MORE.gain_low", "comparison.MORE.gain_high"),
        *("base.mean.spearman", "finetuned.mean.spearman"),
    }
    assert details["comparison.MORE.gain_low"] == details["comparison.MORE.gain"] - 0.1
    older = replace(suite, levels={"all": LevelResult(sets)})
    write_json(path, replace(found, suite=older).content())
    assert {name for name in read(run_folder).details if ".mean." in name} == set()


def collect_details(folder: Path, path: Path, comparison: Comparison) -> set[str]:
    """The names of the details of a comparison without further sets."""
    write_json(path, comparison.content())
    return set(read(folder).details)
