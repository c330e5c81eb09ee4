"""Quality against sparsity: which of several runs is not beaten in both."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from splade_sts import layout
from splade_sts.comparison.statistics import Estimate
from splade_sts.errors import UserError
from splade_sts.files import replacing, write_json
from splade_sts.report import names
from splade_sts.report.pictures import THEMES, render
from splade_sts.runs.record import FREE_PARAMS, OUTPUT_TAG, Record
from splade_sts.text import markdown_table, one_line

DATA = f"{OUTPUT_TAG}{layout.NORMALIZED}"
# Okabe and Ito's colours that the report does not use, and marks, one for each parameter that
# varies.
SERIES = (("#D55E00", "o"), ("#009E73", "s"), ("#CC79A7", "^"), ("#56B4E9", "v"), ("#E69F00", "P"))
HOW_TO_READ = (
    "Best for its size: no other run has fewer active dims and a Spearman at least as high, on "
    "validation; choose there, "
    "and take the numbers from test. The intervals are of each model by itself, over pairs; runs "
    "on the same pairs are more "
    "alike than they suggest."
)


@dataclass(frozen=True)
class SplitPoint:
    """A model on one split; `low` and `high` bound its Spearman, None where the evidence of the run
    is missing.
    """

    spearman: float
    low: float | None
    high: float | None
    active_dims: float
    flops: float | None


@dataclass(frozen=True)
class Point:
    """A model between quality and sparsity.

    Attributes:
        run: the run's name, or `base`.
        model: `base` or `finetuned`.
        params: its values of the parameters in which the runs differ; a base model knows nothing of
            training.
        splits: where it lies, by split.
        efficient: whether no other point is at least as good in both validation Spearman and
            validation active dims and better in one (Pareto efficiency).
    """

    run: str
    model: layout.Model
    params: dict[str, Any]
    splits: dict[layout.Split, SplitPoint]
    efficient: bool = False

    @property
    def place(self) -> tuple[float | None, ...]:
        """Its numbers, without intervals."""
        parts = self.splits.values()
        return tuple(
            number for part in parts for number in (part.spearman, part.active_dims, part.flops)
        )

    def beats(self, other: "Point") -> bool:
        """Whether it is at least as good in both, and better in one, on validation."""
        mine, theirs = self.splits["validation"], other.splits["validation"]
        both = mine.spearman >= theirs.spearman and mine.active_dims <= theirs.active_dims
        return both and (mine.spearman, mine.active_dims) != (theirs.spearman, theirs.active_dims)


@dataclass(frozen=True)
class Points:
    """Points by their active dims on validation, and the parameters in which the runs differ."""

    varied: tuple[str, ...]
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Series:
    """Points that one thing sets apart: its name, and for each of them the values that do."""

    name: str
    points: tuple[tuple[Point, str], ...]


def points(runs: dict[str, Record]) -> Points:
    """Where the runs, and each base model that they started from, lie between quality and sparsity.

    Args:
        runs: records by name.

    Raises:
        UserError: the runs are of different data.
    """
    first, *others = runs
    for other in others:
        if runs[other].tags.get(DATA) != runs[first].tags.get(DATA):
            raise UserError(
                f"{first} and {other} are of different data (data/normalized): they are not to be "
                "compared"
            )
    used = {
        name
        for record in runs.values()
        for name in record.params
        if not name.startswith(FREE_PARAMS)
    }
    varied = tuple(
        sorted(
            name
            for name in used
            if len({str(record.params.get(name)) for record in runs.values()}) > 1
        )
    )
    tuned = [_point(name, record, "finetuned", varied) for name, record in runs.items()]
    bases: dict[tuple[float, ...], Point] = {}
    # those with intervals first: the same base model is there once
    for record in sorted(runs.values(), key=lambda record: record.comparison is None):
        base = _point("base", record, "base", varied)
        bases.setdefault(base.place, base)
    found = [*tuned, *bases.values()]
    found = [
        replace(point, efficient=not any(other.beats(point) for other in found)) for point in found
    ]
    return Points(
        varied, tuple(sorted(found, key=lambda point: point.splits["validation"].active_dims))
    )


def _point(name: str, record: Record, model: layout.Model, varied: tuple[str, ...]) -> Point:
    params = {
        key: record.params.get(key)
        for key in varied
        if model == "finetuned" or not key.startswith("train.")
    }
    return Point(
        name,
        model,
        params,
        {split: _split_point(record, model, split) for split in layout.HELD_OUT},
    )


def _split_point(record: Record, model: layout.Model, split: layout.Split) -> SplitPoint:
    interval: Estimate | None = None
    if record.comparison is not None:
        change = record.comparison.splits[split].spearman
        interval = change.base if model == "base" else change.finetuned
    return SplitPoint(
        record.metrics[f"{model}.{split}.spearman"],
        interval.low if interval else None,
        interval.high if interval else None,
        record.metrics[f"{model}.{split}.active_dims"],
        record.numbers.get(f"{model}.{split}.flops"),
    )


def as_table(found: Points, escape: Callable[[object], str] = str) -> str:
    """The points as a Markdown table, and how to read it; `escape` is applied to names and values
    of parameters.
    """
    rows = []
    for point in found.points:
        values = [point.params.get(name, "") for name in found.varied]
        row = [
            escape(cell)
            for cell in (point.run, *("–" if value is None else value for value in values))
        ]
        for part in point.splits.values():
            row += [_spearman(part), names.number("active_dims", part.active_dims)]
        rows.append(
            [
                *row,
                f"{point.splits['test'].flops:.3f}",
                "yes" if point.efficient else "",
            ]
        )
    headers = ["run", *(escape(name) for name in found.varied)]
    headers += [
        f"{split} {names.METRICS[what]}"
        for split in layout.HELD_OUT
        for what in ("spearman", "active_dims")
    ]
    headers += [f"{names.METRICS['flops']} (test)", "best for its size"]
    return f"{markdown_table(headers, rows, labels=1 + len(found.varied))}\n\n{HOW_TO_READ}"


def _spearman(part: SplitPoint) -> str:
    if part.low is None or part.high is None:
        return names.number("spearman", part.spearman)
    value, low, high = (
        names.number("spearman", number) for number in (part.spearman, part.low, part.high)
    )
    return f"{value} [{low}, {high}]"


def as_json(found: Points) -> str:
    """`{varied, points: [{run, model, params, splits: {split: {…}}, efficient}]}`."""
    return json.dumps(asdict(found), indent=2, ensure_ascii=False)


def picture(found: Points) -> bytes:
    """The points of both splits as PNG: Spearman with its interval over active dims; a line joins
    the efficient ones.
    """

    def draw(figure: Figure, theme: dict[str, str]) -> None:
        panels = figure.subplots(1, 2)
        for axes, split in zip(panels, layout.HELD_OUT, strict=True):
            _draw(axes, split, found)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)

    return render(draw, THEMES["light"], size=(11, 4.6), transparent=False)


def series(found: Points) -> list[Series]:
    """The points by what sets them apart: the base models, each parameter by itself, several at
    once, or nothing.

    What is usual for a parameter is the value that most runs have. Where one parameter varies, no
    value of it is more usual than another.
    """
    tuned = [point for point in found.points if point.model == "finetuned"]
    usual = {
        name: _most_frequent([str(point.params[name]) for point in tuned]) for name in found.varied
    }
    groups: dict[tuple[str, ...], list[Point]] = {}
    for point in tuned:
        different = tuple(name for name in found.varied if str(point.params[name]) != usual[name])
        groups.setdefault(found.varied if len(found.varied) == 1 else different, []).append(point)
    bases = [
        (point, _values(point, tuple(point.params)))
        for point in found.points
        if point.model == "base"
    ]
    return [
        Series(names.MODELS["base"], tuple(bases)),
        *(
            Series(
                " and ".join(_readable(name) for name in different) or "usual values",
                tuple((point, _values(point, different)) for point in group),
            )
            for different, group in groups.items()
        ),
    ]


def _most_frequent(values: list[str]) -> str:
    return Counter(sorted(values)).most_common(1)[0][0]


def _readable(name: str) -> str:
    """`train.batch_size` as `train batch size`."""
    return name.replace(".", " ").replace("_", " ")


def _values(point: Point, different: tuple[str, ...]) -> str:
    values = [point.params[name] for name in different]
    return ", ".join(
        f"{value:g}" if isinstance(value, float) else str(value)
        for value in values
        if value is not None
    )


def _draw(axes: Axes, split: layout.Split, found: Points) -> None:
    best = [point.splits[split] for point in found.points if point.efficient]
    axes.plot(
        [part.active_dims for part in best],
        [part.spearman for part in best],
        color="#8c959f",
        linewidth=1,
        label="best for its size, on validation",
        zorder=1,
    )
    for number, group in enumerate(series(found)):
        color, marker = (
            SERIES[(number - 1) % len(SERIES)] if number else (THEMES["light"]["base"], "D")
        )
        parts = [point.splits[split] for point, _ in group.points]
        below = [0.0 if part.low is None else max(0.0, part.spearman - part.low) for part in parts]
        above = [
            0.0 if part.high is None else max(0.0, part.high - part.spearman) for part in parts
        ]
        axes.errorbar(
            [part.active_dims for part in parts],
            [part.spearman for part in parts],
            yerr=[below, above],
            fmt=marker,
            color=color,
            elinewidth=0.8,
            alpha=0.9,
            label=group.name,
            markersize=6,
        )
        for part, (_, text) in zip(parts, group.points, strict=True):
            place = (part.active_dims, part.spearman)
            axes.annotate(
                text, place, xytext=(5, 4), textcoords="offset points", fontsize=8, color=color
            )
    axes.set(
        title=split,
        xlabel="active dims of a sentence",
        ylabel=names.METRICS["spearman"],
        xscale="log",
    )
    axes.xaxis.set_major_formatter(ScalarFormatter())
    few = len(axes.get_xticks(minor=True)) < 12
    axes.xaxis.set_minor_formatter(ScalarFormatter() if few else NullFormatter())


def write(found: Points, folder: Path) -> None:
    """Write `pareto.json`, `pareto.md` and `pareto.png` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "pareto.json", asdict(found))
    table = f"{as_table(found, one_line)}\n".encode()
    for name, content in (("pareto.md", table), ("pareto.png", picture(found))):
        with replacing(folder / name) as target:
            target.write_bytes(content)
