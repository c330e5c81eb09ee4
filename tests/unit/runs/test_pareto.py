import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from splade_sts.errors import UserError
from splade_sts.runs.pareto import as_json, as_table, picture, points, series, write
from splade_sts.runs.record import Record

WEIGHT, MOST = "train.regularizer_weight", "evaluate.max_active_dims"


def changed(record: Record, quality: float, size: float, **params: Any) -> Record:
    """A run with that validation Spearman and active dims; on test it is the other way round."""
    metrics = {
        "finetuned.validation.spearman": quality,
        "finetuned.validation.active_dims": size,
        "finetuned.test.spearman": 1 - quality,
    }
    return replace(
        record, metrics={**record.metrics, **metrics}, params={**record.params, **params}
    )


def test_which_runs_are_efficient(record: Record) -> None:
    """None may be at least as good in both on validation; test has no say; the base is there once,
    and counts.
    """
    base = record.metrics["base.validation.active_dims"]
    found = points(
        {
            "best": changed(record, 0.9, 20.0, **{WEIGHT: 1e-3}),
            "worse": changed(record, 0.8, 20.0, **{WEIGHT: 2e-3}),
            "smaller": changed(record, 0.7, base / 2, **{WEIGHT: 1e-2}),
            "twin": changed(record, 0.7, base / 2, **{WEIGHT: 2e-2}),
            "beaten": changed(record, 0.6, base * 2, **{WEIGHT: 3e-2}),
        }
    )
    assert found.varied == (WEIGHT,)
    efficient = {point.run: point.efficient for point in found.points}
    assert efficient == {
        "best": True,
        "worse": False,
        "smaller": True,
        "twin": True,
        "beaten": False,
        "base": False,
    }
    assert len(found.points) == 6
    sizes = [point.splits["validation"].active_dims for point in found.points]
    assert sizes == sorted(sizes)
    text = as_table(found)
    assert "| smaller | 0.01" in text
    assert "best for its size" in text
    assert "on validation" in text


def test_intervals(record: Record) -> None:
    """Those of each model, from the evidence; a run whose evidence is missing has none, and is
    still a point.
    """
    found = points(
        {
            "a": changed(record, 0.6, 8.0),
            "bare": replace(changed(record, 0.6, 8.0), comparison=None),
        }
    )
    by_name = {point.run: point.splits["test"] for point in found.points}
    assert (by_name["a"].low, by_name["a"].high) == pytest.approx((0.5, 0.7))
    assert (by_name["base"].low, by_name["base"].high) == pytest.approx((0.4, 0.6))
    assert by_name["bare"].low is None
    assert by_name["bare"].spearman == by_name["a"].spearman
    rows = {
        line.split("|")[1].strip(): line
        for line in as_table(found).splitlines()
        if line.startswith("|")
    }
    assert "0.4000 [0.5000, 0.7000]" in rows["a"]
    assert "[" not in rows["bare"]
    assert picture(found).startswith(b"\x89PNG")


def test_a_cut_base_is_another_base(record: Record) -> None:
    """Where a parameter changes the base model's numbers, each of them is a point."""
    cut = {name: value / 2 for name, value in record.metrics.items() if name.startswith("base.")}
    other = replace(record, metrics={**record.metrics, **cut}, params={**record.params, MOST: 4})
    found = points({"a": record, "b": other})
    assert [point.params for point in found.points if point.model == "base"] == [
        {MOST: 4},
        {MOST: None},
    ]


def test_series(record: Record) -> None:
    """A point belongs to the parameter that sets it apart from most runs, and shows the value that
    does.
    """
    usual: dict[str, Any] = {WEIGHT: 3e-3, MOST: None}
    found = points(
        {
            "usual": changed(record, 0.9, 20.0, **usual),
            "heavy": changed(record, 0.8, 10.0, **usual | {WEIGHT: 1e-2}),
            "light": changed(record, 0.91, 30.0, **usual | {WEIGHT: 1e-3}),
            "cut": changed(record, 0.7, 9.0, **usual | {MOST: 9}),
            "shorter": changed(record, 0.6, 5.0, **usual | {MOST: 5}),
            "both": changed(record, 0.5, 4.0, **usual | {WEIGHT: 1e-2, MOST: 5}),
        }
    )
    shown = {
        group.name: {point.run: text for point, text in group.points} for group in series(found)
    }
    assert shown == {
        "base": {"base": ""},
        "usual values": {"usual": ""},
        "train regularizer weight": {"heavy": "0.01", "light": "0.001"},
        "evaluate max active dims": {"cut": "9", "shorter": "5"},
        "evaluate max active dims and train regularizer weight": {"both": "5, 0.01"},
    }
    assert picture(found) == picture(found)


def test_one_parameter_alone(record: Record) -> None:
    """No value of it is more usual than another: every point shows its own."""
    found = points(
        {str(weight): changed(record, 0.9, 20.0, **{WEIGHT: weight}) for weight in (1e-3, 2e-3)}
    )
    (_, group) = series(found)
    assert group.name == "train regularizer weight"
    assert {text for _, text in group.points} == {
        "0.001",
        "0.002",
    }


def test_other_data_are_refused(record: Record) -> None:
    """Also under the same name."""
    other = replace(record, tags={**record.tags, "dvc.md5.data/normalized": "0"})
    with pytest.raises(UserError, match="a and b are of different data"):
        points({"a": record, "b": other})


def test_files(record: Record, tmp_path: Path) -> None:
    """JSON, Markdown without anybody's markup, and picture; written twice they are the same."""
    found = points({"a_b|c": changed(record, 0.9, 20.0)})
    write(found, tmp_path / "x")
    first = {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()}
    write(found, tmp_path / "x")
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()}
    assert set(first) == {"pareto.json", "pareto.md", "pareto.png"}
    assert r"a\_b\|c" in first["pareto.md"].decode()
    assert "a_b|c" in as_table(found)
    content = json.loads(first["pareto.json"])
    assert content == json.loads(as_json(found))
    assert content["points"][1]["splits"]["test"]["flops"] > 0
