"""What people see of quality against cost: tables, JSON and a picture."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from splade_sts.comparison.statistics import Estimate
from splade_sts.evaluation.results import POSTING_BYTES
from splade_sts.files import replacing, write_json
from splade_sts.report import names
from splade_sts.report.pictures import THEMES, render
from splade_sts.runs.naming import assignments, label, usual_values
from splade_sts.runs.pareto import (
    COSTS,
    JUDGED,
    CostName,
    Front,
    Gain,
    Point,
    Points,
    Quality,
    SplitPoint,
)
from splade_sts.runs.record import not_in_cache
from splade_sts.text import markdown_table, one_line, paragraph, printed_json, terminal_table

THEME = THEMES["light"]
FRONT_COLOR = "#8c959f"
# Okabe and Ito's colours that the report does not use, and marks, one for each parameter that
# varies.
SERIES = (("#D55E00", "o"), ("#009E73", "s"), ("#CC79A7", "^"), ("#56B4E9", "v"), ("#E69F00", "P"))
AXES: dict[CostName, str] = {
    "active_dims": "active dims of a sentence",
    "flops": "FLOPs of a pair (expected multiplications)",
}
# Of the costs, in two lines.
HEADERS: dict[CostName, str] = {
    "active_dims": "active\ndims",
    "flops": "FLOPs\nof a pair",
    "index_bytes": "index\nbytes",
}
MARK = "*"
# What a dense encoder has: none of the costs, and so no mark.
NO_COSTS = ["– "] * len(COSTS)
HOW_TO_READ = (
    f"{MARK} efficient by this cost: no other run is at least as good in both {JUDGED} Spearman "
    f"and that cost, and better in one. Choose on {JUDGED}, and report test. The interval of a run "
    "is of that model alone; two runs are compared by the gain between them, which is on the same "
    "pairs."
)
HOW_TO_READ_GAINS = (
    "An interval that holds zero: the dearer run may be no better on other pairs. The runs were "
    "chosen by the same scores, so the gains lean to the large side."
)
HOW_TO_READ_GAPS = (
    "An interval over the dense encoder that lies below zero: the run is worse than the dense "
    "encoder."
)


def as_text(found: Points) -> str:
    """Every run with its costs, then the efficient runs by each cost with the gain from one to the
    next, for a terminal.
    """
    return "\n\n".join(
        paragraph(part) if isinstance(part, str) else terminal_table(part.headers, part.rows)
        for part in _parts(found)
    )


def as_markdown(found: Points) -> str:
    """The same as Markdown, in which no name is markup."""
    return "\n\n".join(
        one_line(part)
        if isinstance(part, str)
        else markdown_table(
            [" ".join(header.split()) for header in part.headers],
            [[one_line(label), *numbers] for label, *numbers in part.rows],
        )
        for part in _parts(found)
    )


@dataclass(frozen=True)
class _Table:
    """A table, of which the first column is text."""

    headers: list[str]
    rows: list[list[str]]


def _parts(found: Points) -> Iterator[str | _Table]:
    usual = usual_values([point.params for point in found.points if point.model == "finetuned"])
    tables = [_runs(found, usual)]
    yield tables[0]
    if usual:
        yield f"Where the first column names no other value: {assignments(usual)}."
    yield HOW_TO_READ
    for fronts in _alike(found.fronts):
        costs = ", ".join(names.METRICS[front.cost] for front in fronts)
        yield f"Efficient by {costs}; cheapest first:"
        tables.append(_front(found, fronts[0]))
        yield tables[-1]
    yield HOW_TO_READ_GAINS
    if found.gaps:
        yield HOW_TO_READ_GAPS
    numbers = [cell for table in tables for row in table.rows for cell in row[1:]]
    if any(names.PERCENTILE_MARK in cell for cell in numbers):
        yield names.PERCENTILE_NOTE
    compared = (*(step for front in found.fronts for step in front.steps), *found.gaps)
    if missing := dict.fromkeys(name for one in compared for name in one.missing):
        yield not_in_cache([f"{JUDGED} predictions of {', '.join(missing)}"])


def _runs(found: Points, usual: Mapping[str, Any]) -> _Table:
    rows = []
    for point in found.points:
        judged, test = point.splits[JUDGED], point.splits["test"]
        is_tuned = point.model == "finetuned"
        costs = [
            f"{names.number(cost, judged.cost(cost))}{MARK if cost in point.efficient_by else ' '}"
            for cost in COSTS
        ]
        named = label(point.name, point.params, usual) if is_tuned else point.name
        rows.append([named, _spearman(judged), *costs, _spearman(test), *_costs(test)[:-1]])
    for reference in found.references:
        judged_dense, test_dense = (reference.splits[split] for split in (JUDGED, "test"))
        rows.append(
            [
                reference.name,
                _spearman(judged_dense),
                *NO_COSTS,
                _spearman(test_dense),
                *NO_COSTS[:-1],
            ]
        )
    costs = [HEADERS[cost] for cost in COSTS]
    headers = ["run", f"{JUDGED}\n{names.METRICS['spearman']}", *costs]
    headers += [f"test\n{names.METRICS['spearman']}", *costs[:-1]]
    return _Table(headers, rows)


def _costs(part: SplitPoint) -> list[str]:
    return [names.number(cost, part.cost(cost)) for cost in COSTS]


def _spearman(part: Quality) -> str:
    return _with_interval(part.spearman, part.interval)


def _with_interval(value: float, interval: Estimate | None, sign: str = "") -> str:
    shown = names.number("spearman", value, sign)
    if interval is None:
        return shown
    return f"{shown} [{', '.join(names.ends(interval, sign))}]{names.mark(interval)}"


def _alike(fronts: tuple[Front, ...]) -> list[list[Front]]:
    """The fronts, those of the same runs together."""
    groups: dict[tuple[str, ...], list[Front]] = {}
    for front in fronts:
        groups.setdefault(front.points, []).append(front)
    return list(groups.values())


def _front(found: Points, front: Front) -> _Table:
    by_name = {point.name: point.splits[JUDGED] for point in found.points}
    steps = {step.point: _gain(step) for step in front.steps}
    gaps = {(gap.over, gap.point): _gain(gap) for gap in found.gaps}
    references = [reference.name for reference in found.references]
    rows = [
        [
            name,
            *_costs(by_name[name]),
            names.number("spearman", by_name[name].spearman),
            steps.get(name, ""),
            *(gaps[reference, name] for reference in references),
        ]
        for name in front.points
    ]
    headers = [
        "run",
        *(HEADERS[cost] for cost in COSTS),
        f"{JUDGED}\n{names.METRICS['spearman']}",
        f"gain over the\nrun above [{names.percent(found.confidence)}]",
        *(f"over the\n{reference}" for reference in references),
    ]
    return _Table(headers, rows)


def _gain(found: Gain) -> str:
    shown = _with_interval(found.spearman_gain, found.interval, "+")
    if found.missing:
        return f"{shown} [not in the cache]"
    return shown if found.interval is not None else f"{shown} [none: hardly varies]"


def as_json(found: Points) -> str:
    """`{varied, points: [{name, run, model, params, splits: {split: {…}}, efficient_by}],
    references, fronts: [{cost, points, steps}], gaps, confidence}`.
    """
    return printed_json(asdict(found))


@dataclass(frozen=True)
class Series:
    """Points that one thing sets apart: its name, and for each of them the values that do."""

    name: str
    points: tuple[tuple[Point, str], ...]


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


def picture(found: Points) -> bytes:
    """`draw`, as PNG."""
    return render(lambda figure, _: draw(figure, found), THEME, size=(11, 5.2), transparent=False)


def draw(figure: Figure, found: Points) -> None:
    """Draw Spearman on validation, with its interval, over active dims and over FLOPs.

    A line joins the efficient points; a dotted one is the dense encoder, which has no such costs.
    Index bytes, a multiple of active dims, are the upper axis of the first panel.
    """
    panels = figure.subplots(1, len(AXES), sharey=True)
    for axes, cost in zip(panels, AXES, strict=True):
        _draw(axes, cost, found)
    panels[0].set_ylabel(f"{names.METRICS['spearman']} on {JUDGED}")
    upper = panels[0].secondary_xaxis(
        "top", functions=(lambda dims: dims * POSTING_BYTES, lambda size: size / POSTING_BYTES)
    )
    upper.set_xlabel("index bytes of a sentence")
    _plain_numbers(upper)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)


def _draw(axes: Axes, cost: CostName, found: Points) -> None:
    best = [point.splits[JUDGED] for point in found.points if cost in point.efficient_by]
    best.sort(key=lambda part: part.cost(cost))
    axes.plot(
        [part.cost(cost) for part in best],
        [part.spearman for part in best],
        color=FRONT_COLOR,
        linewidth=1,
        label="efficient: no run is both cheaper and better",
        zorder=1,
    )
    for number, group in enumerate(series(found)):
        color, marker = SERIES[(number - 1) % len(SERIES)] if number else (THEME["base"], "D")
        parts = [point.splits[JUDGED] for point, _ in group.points]
        ends = [
            (part.interval.low, part.interval.high)
            if part.interval
            else (part.spearman, part.spearman)
            for part in parts
        ]
        below, above = zip(
            *(
                (max(0.0, part.spearman - low), max(0.0, high - part.spearman))
                for part, (low, high) in zip(parts, ends, strict=True)
            ),
            strict=True,
        )
        axes.errorbar(
            [part.cost(cost) for part in parts],
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
            place = (part.cost(cost), part.spearman)
            axes.annotate(
                text, place, xytext=(5, 4), textcoords="offset points", fontsize=8, color=color
            )
    for reference in found.references:
        quality = reference.splits[JUDGED].spearman
        axes.axhline(quality, color=THEME["text"], linestyle=":", linewidth=1)
        axes.annotate(
            f"{reference.name} {names.number('spearman', quality)}",
            (0, quality),
            xycoords=axes.get_yaxis_transform(),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=8,
            color=THEME["text"],
        )
    axes.set(xlabel=AXES[cost], xscale="log")
    _plain_numbers(axes)


def _plain_numbers(axes: Axes) -> None:
    """Label a logarithmic axis with 20, 40, 60 rather than with powers of ten."""
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())


def write(found: Points, folder: Path) -> None:
    """Write `pareto.json`, `pareto.md` and `pareto.png` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "pareto.json", asdict(found))
    table = f"{as_markdown(found)}\n".encode()
    for name, content in (("pareto.md", table), ("pareto.png", picture(found))):
        with replacing(folder / name) as target:
            target.write_bytes(content)
