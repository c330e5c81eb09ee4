"""Quality against cost: which of several runs no other beats in both."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, TypeVar

from splade_sts import layout
from splade_sts.comparison.statistics import Array, Bootstrap, Estimate, estimates
from splade_sts.controls.scores import DENSE, ControlScores
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions
from splade_sts.runs.record import OUTPUT_TAG, Record
from splade_sts.runs.table import varied_params

DATA = f"{OUTPUT_TAG}{layout.NORMALIZED}"
# Where runs are chosen.
JUDGED: layout.Split = "validation"

CostName = Literal["active_dims", "flops", "index_bytes"]
COSTS: tuple[CostName, ...] = ("active_dims", "flops", "index_bytes")
# The predictions of a run's model on `JUDGED`; None where they are not in DVC's cache.
ReadPredictions = Callable[[str, layout.Model], Predictions | None]
# What the controls of a run say there; None likewise.
ReadControls = Callable[[str], ControlScores | None]
BASE, DENSE_ENCODER = "base model", "dense encoder"


@dataclass(frozen=True)
class Quality:
    """Spearman on one split, with its interval: None where the evidence of the run is missing."""

    spearman: float
    interval: Estimate | None

    @property
    def place(self) -> tuple[float, ...]:
        """Its numbers, without the interval."""
        return (self.spearman,)


@dataclass(frozen=True)
class SplitPoint(Quality):
    """A model on one split: its quality, and its costs (see `splade_sts.evaluation.results`)."""

    active_dims: float
    flops: float
    index_bytes: float

    @property
    def place(self) -> tuple[float, ...]:
        """Its numbers, without the interval."""
        return (self.spearman, *map(self.cost, COSTS))

    def cost(self, name: CostName) -> float:
        """One of the costs."""
        value: float = getattr(self, name)
        return value

    def beats(self, other: "SplitPoint", cost: CostName) -> bool:
        """Whether it is at least as good in Spearman and in a cost, and better in one of them."""
        mine, theirs = self.cost(cost), other.cost(cost)
        both = self.spearman >= other.spearman and mine <= theirs
        return both and (self.spearman, mine) != (other.spearman, theirs)


@dataclass(frozen=True)
class Point:
    """A model between quality and cost.

    Attributes:
        name: the run's name; `base model`, or `base model of RUN` where there are several.
        run: the run whose files hold it.
        model: `base` or `finetuned`.
        params: its values of the parameters in which the runs differ; a base model knows nothing of
            training.
        splits: where it lies, by split.
        efficient_by: the costs by which it is efficient (Pareto): on validation no other point is
            at least as good in both Spearman and that cost, and better in one of them.
    """

    name: str
    run: str
    model: layout.Model
    params: dict[str, Any]
    splits: dict[layout.Split, SplitPoint]
    efficient_by: tuple[CostName, ...] = ()


@dataclass(frozen=True)
class Reference:
    """A dense encoder on the same pairs: it has a quality, and none of the costs.

    Attributes:
        name: `dense encoder`, or `dense encoder of RUN` where there are several.
        run: the run whose controls hold it.
        splits: its quality, by split.
    """

    name: str
    run: str
    splits: dict[layout.Split, Quality]


Somewhere = TypeVar("Somewhere", Point, Reference)


@dataclass(frozen=True)
class Gain:
    """An efficient point over the next cheaper one, or over a dense encoder.

    Attributes:
        over, point: names of the two.
        spearman_gain: the point minus the other on validation.
        interval: that of a paired bootstrap over the pairs; None where there is none.
        missing: names of those of the two whose scores are not in DVC's cache.
    """

    over: str
    point: str
    spearman_gain: float
    interval: Estimate | None
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Front:
    """The efficient points by one cost, cheapest first, and the steps between neighbours."""

    cost: CostName
    points: tuple[str, ...]
    steps: tuple[Gain, ...]


@dataclass(frozen=True)
class Points:
    """Runs and their base models by their active dims on validation.

    Attributes:
        varied: the parameters in which the runs differ.
        points: the models.
        references: the dense encoders that the runs were compared with.
        fronts: one for each cost.
        gaps: every efficient point against every dense encoder.
        confidence: level of the intervals between neighbours and of those of the gaps.
    """

    varied: tuple[str, ...]
    points: tuple[Point, ...]
    references: tuple[Reference, ...]
    fronts: tuple[Front, ...]
    gaps: tuple[Gain, ...]
    confidence: float


def points(
    runs: Mapping[str, Record],
    predictions: ReadPredictions,
    controls: ReadControls,
    bootstrap: Bootstrap,
) -> Points:
    """Where the runs, and each base model that they started from, lie between quality and cost.

    Args:
        runs: records by name.
        predictions: reads the predictions of an efficient point.
        controls: reads the scores of a dense encoder.
        bootstrap: how the intervals between neighbours are made.

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
    varied = tuple(varied_params(list(runs.values())))
    # those with intervals first: of several that are the same, the first stays
    known = sorted(runs.items(), key=lambda item: item[1].comparison is None)
    tuned = [_point(name, record, "finetuned", varied) for name, record in runs.items()]
    bases = _distinct(_point(name, record, "base", varied) for name, record in known)
    found = [*tuned, *(replace(base, name=_name(BASE, base.run, bases)) for base in bases)]
    dense = _distinct(
        Reference(name, name, splits) for name, record in known if (splits := _dense(record))
    )
    judged = tuple(
        replace(point, efficient_by=tuple(_efficient(point, found)))
        for point in sorted(found, key=lambda point: point.splits[JUDGED].active_dims)
    )
    references = tuple(replace(one, name=_name(DENSE_ENCODER, one.run, dense)) for one in dense)
    fronts, gaps = _compared(judged, references, predictions, controls, bootstrap)
    return Points(varied, judged, references, fronts, gaps, bootstrap.confidence)


def _distinct(found: Iterable[Somewhere]) -> list[Somewhere]:
    """The first of those that lie at the same place."""
    places: dict[tuple[tuple[float, ...], ...], Somewhere] = {}
    for one in found:
        places.setdefault(tuple(part.place for part in one.splits.values()), one)
    return list(places.values())


def _name(model: str, run: str, among: Sequence[object]) -> str:
    """A name that no run has: those of Git hold no blanks."""
    return model if len(among) == 1 else f"{model} of {run}"


def _efficient(point: Point, others: list[Point]) -> Iterable[CostName]:
    mine = point.splits[JUDGED]
    return (
        cost
        for cost in COSTS
        if not any(other.splits[JUDGED].beats(mine, cost) for other in others)
    )


def _point(name: str, record: Record, model: layout.Model, varied: tuple[str, ...]) -> Point:
    params = {
        key: record.params.get(key)
        for key in varied
        if model == "finetuned" or not key.startswith("train.")
    }
    splits = {split: _split_point(record, model, split) for split in layout.HELD_OUT}
    return Point(name, name, model, params, splits)


def _split_point(record: Record, model: layout.Model, split: layout.Split) -> SplitPoint:
    interval: Estimate | None = None
    if record.comparison is not None:
        change = record.comparison.splits[split].spearman
        interval = change.base if model == "base" else change.finetuned
    return SplitPoint(
        record.measured(model, split, "spearman"),
        interval,
        *(record.measured(model, split, cost) for cost in COSTS),
    )


def _dense(record: Record) -> dict[layout.Split, Quality] | None:
    """The dense control of a run on both splits; None where it has none."""
    found: dict[layout.Split, Quality] = {}
    for split in layout.HELD_OUT:
        spearman = record.metrics.get(f"controls.{split}.{DENSE}")
        if spearman is None:
            return None
        controls = record.comparison.splits[split].controls if record.comparison else ()
        interval = next((one.spearman for one in controls if one.name == DENSE), None)
        found[split] = Quality(spearman, interval)
    return found


@dataclass(frozen=True, eq=False)
class _Scores:
    """What one model says of the pairs of `JUDGED`."""

    pairs: Pairs
    cosine: Array


def _compared(
    judged: tuple[Point, ...],
    references: tuple[Reference, ...],
    read: ReadPredictions,
    controls: ReadControls,
    bootstrap: Bootstrap,
) -> tuple[tuple[Front, ...], tuple[Gain, ...]]:
    """The fronts with the steps on them, and the gaps to the dense encoders."""
    chosen = {
        cost: sorted(
            (point for point in judged if cost in point.efficient_by),
            key=lambda point: point.splits[JUDGED].cost(cost),
        )
        for cost in COSTS
    }
    efficient = {point.name: point for front in chosen.values() for point in front}
    quality = {name: point.splits[JUDGED].spearman for name, point in efficient.items()}
    quality |= {one.name: one.splits[JUDGED].spearman for one in references}
    scores: dict[str, _Scores] = {}
    for point in efficient.values():
        if (found := read(point.run, point.model)) is not None:
            scores[point.name] = _Scores(found.pairs, found.cosine)
    for one in references:
        if (control := controls(one.run)) is not None and DENSE in control.scores:
            scores[one.name] = _Scores(control.pairs, control.scores[DENSE])
    steps = [(one.name, other.name) for front in chosen.values() for one, other in pairwise(front)]
    gaps = [(one.name, name) for one in references for name in efficient]
    intervals = _intervals(scores, dict.fromkeys([*steps, *gaps]), bootstrap)

    def gain(over: str, point: str) -> Gain:
        interval = intervals.get((over, point))
        missing = tuple(name for name in (over, point) if name not in scores)
        return Gain(over, point, quality[point] - quality[over], interval, missing)

    fronts = tuple(
        Front(
            cost,
            tuple(point.name for point in front),
            tuple(gain(one.name, other.name) for one, other in pairwise(front)),
        )
        for cost, front in chosen.items()
    )
    return fronts, tuple(gain(*names) for names in gaps)


def _intervals(
    scores: dict[str, _Scores], compared: Iterable[tuple[str, str]], bootstrap: Bootstrap
) -> dict[tuple[str, str], Estimate]:
    """Each difference in Spearman, second minus first, on the same resamples.

    Raises:
        UserError: the scores are of different pairs.
    """
    wanted = [both for both in compared if set(both) <= set(scores)]
    if not wanted:
        return {}
    needed = {name: scores[name] for both in wanted for name in both}
    first, *others = needed
    pairs = needed[first].pairs
    for other in others:
        if not needed[other].pairs.same_as(pairs):
            raise UserError(
                f"the predictions of {first} and {other} on {JUDGED} are of different pairs, "
                "though their dvc.lock names the same data; run dvc repro there and commit dvc.lock"
            )
    found = estimates(
        pairs.score,
        {f"of {name}": one.cosine for name, one in needed.items()},
        {
            f"{number}": (f"of {second}", f"of {first}")
            for number, (first, second) in enumerate(wanted)
        },
        bootstrap,
    )
    return {
        both: found[f"{number}"].spearman
        for number, both in enumerate(wanted)
        if f"{number}" in found
    }
