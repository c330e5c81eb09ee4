import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure

from splade_sts.comparison.statistics import Bootstrap, Estimate
from splade_sts.report import names
from splade_sts.runs.pareto import Gain, Points, points
from splade_sts.runs.pareto_view import as_json, as_markdown, as_text, draw, picture, series, write
from splade_sts.runs.record import Record
from tests.support.commands import printed
from tests.support.records import changed

WEIGHT, MOST = "train.regularizer_weight", "evaluate.max_active_dims"


def estimate(
    low: float, high: float, error: float = 2e-4, method: Literal["bca", "percentile"] = "bca"
) -> Estimate:
    return Estimate((low + high) / 2, low, high, low, high, method, error)


def found_of(runs: dict[str, Record]) -> Points:
    """The runs, without predictions."""
    return points(runs, lambda run, model: None, lambda run: None, Bootstrap(100, 0.95, 0))


def drawn(found: Points) -> list[str]:
    """The texts in the panels of the picture."""
    figure = Figure(layout="constrained")
    draw(figure, found)
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def rows_of(text: str, name: str) -> list[str]:
    """The rows of all tables that begin with this name."""
    return [line for line in text.splitlines() if line.startswith(f"{name} ")]


def test_marks_say_by_which_costs(record: Record) -> None:
    """And the fronts of the same runs are one table."""
    found = found_of(
        {
            "dims": changed(record, 0.8, 20.0, flops=2.0),
            "flops": changed(record, 0.8, 30.0, flops=1.0),
            "none": changed(record, 0.7, 40.0, flops=3.0),
        }
    )
    text = as_text(found)
    marked = {
        name: [cell.endswith("*") for cell in re.split(r"  +", rows_of(text, name)[0])[2:5]]
        for name in ("dims", "flops", "none")
    }
    assert marked == {
        "dims": [True, False, True],
        "flops": [False, True, False],
        "none": [False, False, False],
    }
    assert "Efficient by active dims, index bytes; cheapest first:" in text
    assert "Efficient by FLOPs of a pair; cheapest first:" in text
    assert len(rows_of(text, "dims")) == len(rows_of(text, "flops")) == 2
    assert len(rows_of(text, "none")) == 1
    assert "* efficient by this cost" in text
    assert max(map(len, text.splitlines())) <= 120


def test_intervals(record: Record) -> None:
    """Those of each model where there is evidence."""
    text = as_text(
        found_of(
            {
                "a": changed(record, 0.6, 8.0),
                "bare": replace(changed(record, 0.6, 8.0), comparison=None),
            }
        )
    )
    assert "0.4000 [0.500, 0.700]" in rows_of(text, "a")[0]
    assert "[" not in rows_of(text, "bare")[0]


def test_gains(record: Record) -> None:
    """With their interval, or with the reason why there is none."""
    found = found_of({"small": changed(record, 0.7, 10.0), "large": changed(record, 0.9, 11.0)})
    text = as_text(found)
    assert "+0.2000 [not in the cache]" in rows_of(text, "large")[1]
    said = "not in the cache: validation predictions of small, large (dvc pull)"
    assert text.splitlines()[-1] == said
    for step, shown in {
        Gain("small", "large", 0.2, estimate(0.1, 0.3), ()): "+0.2000 [+0.100, +0.300]",
        Gain("small", "large", 0.2, estimate(0.1, 0.3, 0.002), ()): "+0.2000 [+0.10, +0.30]",
        Gain("small", "large", 0.2, None, ()): "+0.2000 [none: hardly varies]",
    }.items():
        fronts = tuple(replace(front, steps=(step,)) for front in found.fronts)
        assert shown in rows_of(as_text(replace(found, fronts=fronts)), "large")[1]


def test_intervals_that_fell_back(record: Record) -> None:
    """They are marked in both tables and for the dense encoder, and one line says what that is."""
    found = found_of({"small": changed(record, 0.7, 10.0), "large": changed(record, 0.9, 11.0)})
    assert "†" not in as_text(found)
    marked = estimate(0.1, 0.3, 0.002, "percentile")
    step = Gain("small", "large", 0.2, marked, ())
    fronts = tuple(replace(front, steps=(step,)) for front in found.fronts)
    of_steps = replace(found, fronts=fronts)
    splits = {split: replace(one, interval=marked) for split, one in found.points[0].splits.items()}
    of_points = replace(found, points=tuple(replace(one, splits=splits) for one in found.points))
    assert "+0.2000 [+0.10, +0.30] †" in rows_of(as_text(of_steps), "large")[1]
    assert rows_of(as_text(of_points), "large")[0].count(" [0.10, 0.30] †") == 2
    for shown in (of_steps, of_points):
        assert " ".join(as_text(shown).split()).count(names.PERCENTILE_NOTE) == 1
        assert names.PERCENTILE_NOTE in as_markdown(shown)
    content = json.loads(as_json(of_steps))
    assert content["fronts"][0]["steps"][0]["interval"]["method"] == "percentile"
    assert content["points"][0]["splits"]["test"]["interval"]["error"] == 2e-4


def test_the_dense_control(record: Record) -> None:
    """A row without costs, and a line in the picture that says what it is."""
    dense = {f"controls.{split}.dense": 0.8123 for split in ("validation", "test")}
    without = found_of({"a": record})
    found = found_of({"a": replace(record, metrics={**record.metrics, **dense})})
    (row,) = rows_of(as_text(found), "dense encoder")
    assert row.count("0.8123") == 2
    assert row.count("–") == 5
    assert not rows_of(as_text(without), "dense encoder")
    text = as_text(found)
    assert "over the" in text
    assert "over the dense encoder" in as_markdown(found)
    assert "over the dense" not in as_markdown(without)
    (gap,) = found.gaps
    shown = replace(gap, interval=estimate(-0.3, -0.1), missing=())
    row = rows_of(as_text(replace(found, gaps=(shown,))), "a")[1]
    assert row.endswith(" -0.2123 [-0.300, -0.100]")
    assert drawn(found).count("dense encoder 0.8123") == 2
    assert "dense" not in "".join(drawn(without))
    (reference,) = json.loads(as_json(found))["references"]
    assert json.loads(printed(as_json(replace(found, varied=("über",)))))["varied"] == ["über"]
    assert reference["splits"]["validation"]["spearman"] == 0.8123


def test_series(record: Record) -> None:
    """A point belongs to the parameter that sets it apart from most runs, and shows the value that
    does.
    """
    usual: dict[str, Any] = {WEIGHT: 3e-3, MOST: None}
    found = found_of(
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
        group.name: {point.name: text for point, text in group.points} for group in series(found)
    }
    assert shown == {
        "base": {"base model": ""},
        "usual values": {"usual": ""},
        "train regularizer weight": {"heavy": "0.01", "light": "0.001"},
        "evaluate max active dims": {"cut": "9", "shorter": "5"},
        "evaluate max active dims and train regularizer weight": {"both": "5, 0.01"},
    }
    assert picture(found) == picture(found)


def test_one_parameter_alone(record: Record) -> None:
    """No value of it is more usual than another: every point shows its own."""
    found = found_of(
        {str(weight): changed(record, 0.9, 20.0, **{WEIGHT: weight}) for weight in (1e-3, 2e-3)}
    )
    (_, group) = series(found)
    assert group.name == "train regularizer weight"
    assert {text for _, text in group.points} == {"0.001", "0.002"}


def test_files(record: Record, tmp_path: Path) -> None:
    """JSON, Markdown without anybody's markup, and picture; written twice they are the same."""
    found = found_of({"a_b|c": changed(record, 0.9, 20.0), "d": changed(record, 0.8, 10.0)})
    write(found, tmp_path / "x")
    first = {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()}
    write(found, tmp_path / "x")
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()}
    assert set(first) == {"pareto.json", "pareto.md", "pareto.png"}
    assert first["pareto.png"].startswith(b"\x89PNG")
    assert r"a\_b\|c" in first["pareto.md"].decode()
    assert "a_b|c" in as_text(found)
    content = json.loads(first["pareto.json"])
    assert content == json.loads(as_json(found))
    assert content["points"][1]["splits"]["test"]["index_bytes"] > 0
    assert [front["cost"] for front in content["fronts"]] == ["active_dims", "flops", "index_bytes"]
    (step,) = content["fronts"][0]["steps"]
    assert step["missing"] == ["d", "a_b|c"]
