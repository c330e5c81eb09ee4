from dataclasses import replace

import numpy as np
import pytest

from splade_sts.comparison.statistics import Bootstrap, estimates
from splade_sts.controls.scores import ControlScores
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.evaluation.results import POSTING_BYTES, Predictions
from splade_sts.runs.pareto import COSTS, Front, points
from splade_sts.runs.record import Record
from tests.support.records import changed

WEIGHT, MOST = "train.regularizer_weight", "evaluate.max_active_dims"
BOOTSTRAP = Bootstrap(resamples=500, confidence=0.95, seed=0)
PAIRS = 60


def nothing_cached(run: str, model: str) -> None:
    """Predictions that DVC's cache does not hold."""


def no_controls(run: str) -> None:
    """Controls that DVC's cache does not hold."""


def predictions(noise: float, first: str = "a") -> Predictions:
    """Scores that lie around gold."""
    rng = np.random.default_rng(0)
    gold = np.linspace(0, 1, PAIRS)
    pairs = Pairs([first] * PAIRS, ["b"] * PAIRS, gold)
    dims = np.ones(PAIRS, dtype=np.int64)
    return Predictions(pairs, gold + noise * rng.normal(size=PAIRS), dims, dims, [[]] * PAIRS)


def with_dense(record: Record, spearman: float) -> Record:
    """The same run, with a dense encoder among its controls."""
    dense = {f"controls.{split}.dense": spearman for split in ("validation", "test")}
    return replace(record, metrics={**record.metrics, **dense})


def front(found: tuple[Front, ...], cost: str) -> Front:
    """The front by one cost."""
    return next(one for one in found if one.cost == cost)


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
        },
        nothing_cached,
        no_controls,
        BOOTSTRAP,
    )
    assert found.varied == (WEIGHT,)
    assert {point.name: point.efficient_by for point in found.points} == {
        "best": COSTS,
        "worse": (),
        "smaller": COSTS,
        "twin": COSTS,
        "beaten": (),
        "base model": (),
    }
    sizes = [point.splits["validation"].active_dims for point in found.points]
    assert sizes == sorted(sizes)
    assert front(found.fronts, "active_dims").points == ("smaller", "twin", "best")


def test_costs_disagree(record: Record) -> None:
    """A run may be efficient by active dims and bytes, and beaten by FLOPs."""
    found = points(
        {
            "few dims": changed(record, 0.8, 20.0, flops=2.0, **{WEIGHT: 1e-3}),
            "few flops": changed(record, 0.8, 30.0, flops=1.0, **{WEIGHT: 2e-3}),
        },
        nothing_cached,
        no_controls,
        BOOTSTRAP,
    )
    by_name = {point.name: point for point in found.points}
    assert by_name["few dims"].efficient_by == ("active_dims", "index_bytes")
    assert by_name["few flops"].efficient_by == ("flops",)
    part = by_name["few dims"].splits["validation"]
    assert part.index_bytes == POSTING_BYTES * part.active_dims == 160
    assert {one.cost: "few dims" in one.points for one in found.fronts} == {
        "active_dims": True,
        "flops": False,
        "index_bytes": True,
    }


def test_gains_between_neighbours(record: Record) -> None:
    """Each efficient run against the next cheaper one, with the paired interval of their
    difference on the same pairs; other runs are not read.
    """
    cached = {"small": predictions(0.4), "middle": predictions(0.2), "large": predictions(0.1)}
    read = []

    def cache(run: str, model: str) -> Predictions | None:
        read.append((run, model))
        return cached.get(run)

    runs = {
        "large": changed(record, 0.9, 30.0, flops=3.0),
        "small": changed(record, 0.7, 10.0, flops=1.0),
        "middle": changed(record, 0.8, 20.0, flops=2.0),
        "beaten": changed(record, 0.6, 25.0, flops=4.0),
    }
    found = points(runs, cache, no_controls, BOOTSTRAP)
    assert sorted(read) == [(name, "finetuned") for name in ("large", "middle", "small")]
    for one in found.fronts:
        first, second = one.steps
        assert (first.over, first.point) == ("small", "middle")
        assert (second.over, second.point) == ("middle", "large")
        assert first.spearman_gain == pytest.approx(0.1)
        assert first.interval is not None
        assert second.interval is not None
        assert 0 < first.interval.low < first.interval.high < 0.5
        assert 0 < second.interval.low < second.interval.high < first.interval.high
        assert first.interval.method == "bca"
        assert 0 < first.interval.error < 0.1
        assert first.missing == second.missing == ()


def test_predictions_that_are_not_cached(record: Record) -> None:
    """The gain is there without an interval, and says whose predictions are missing."""
    runs = {"small": changed(record, 0.7, 10.0), "large": changed(record, 0.9, 11.0)}
    found = points(
        runs, lambda run, _: predictions(0.1) if run == "large" else None, no_controls, BOOTSTRAP
    )
    (step,) = front(found.fronts, "flops").steps
    assert step.spearman_gain == pytest.approx(0.2)
    assert (step.interval, step.missing) == (None, ("small",))


def test_predictions_of_other_pairs(record: Record) -> None:
    """They are refused, whatever dvc.lock says."""
    cached = {"small": predictions(0.4), "large": predictions(0.1, first="x")}
    runs = {"small": changed(record, 0.7, 10.0), "large": changed(record, 0.9, 11.0)}
    with pytest.raises(UserError, match="small and large on validation are of different pairs"):
        points(runs, lambda run, _: cached[run], no_controls, BOOTSTRAP)


def test_intervals(record: Record) -> None:
    """Those of each model, from the evidence; a run whose evidence is missing has none, and is
    still a point.
    """
    found = points(
        {
            "a": changed(record, 0.6, 8.0),
            "bare": replace(changed(record, 0.6, 8.0), comparison=None),
        },
        nothing_cached,
        no_controls,
        BOOTSTRAP,
    )
    by_name = {point.name: point.splits["test"] for point in found.points}
    for name, ends in (("a", (0.5, 0.7)), ("base model", (0.4, 0.6))):
        interval = by_name[name].interval
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx(ends)
    assert by_name["bare"].interval is None
    assert by_name["bare"].spearman == by_name["a"].spearman


def test_a_cut_base_is_another_base(record: Record) -> None:
    """Where a parameter changes the base model's numbers, each of them is a point, and its name
    says whose it is.
    """
    cut = {name: value / 2 for name, value in record.metrics.items() if name.startswith("base.")}
    other = replace(record, metrics={**record.metrics, **cut}, params={**record.params, MOST: 4})
    found = points({"a": record, "b": other}, nothing_cached, no_controls, BOOTSTRAP)
    bases = {point.name: point.params for point in found.points if point.model == "base"}
    assert bases == {"base model of b": {MOST: 4}, "base model of a": {MOST: None}}


def test_the_dense_control(record: Record) -> None:
    """It is there once, with its quality and without costs, where the records have it."""
    run = with_dense(record, 0.8)
    (reference,) = points(
        {"a": run, "b": run, "c": record}, nothing_cached, no_controls, BOOTSTRAP
    ).references
    assert reference.name == "dense encoder"
    assert reference.run == "a"
    assert reference.splits["test"].spearman == 0.8
    assert points({"a": record}, nothing_cached, no_controls, BOOTSTRAP).references == ()


def test_gaps_to_the_dense_encoder(record: Record) -> None:
    """Every efficient run against it, by a paired interval, where the cache has both."""
    runs = {
        "small": with_dense(changed(record, 0.7, 10.0), 0.85),
        "large": with_dense(changed(record, 0.9, 11.0), 0.85),
        "beaten": with_dense(changed(record, 0.6, 12.0), 0.85),
    }
    cached = {"small": predictions(0.4), "large": predictions(0.1)}
    dense = predictions(0.2)
    controls = ControlScores(dense.pairs, {"bm25": dense.cosine * 0, "dense": dense.cosine})
    found = points(runs, lambda run, _: cached[run], lambda run: controls, BOOTSTRAP)
    gaps = {gap.point: gap for gap in found.gaps}
    assert list(gaps) == ["small", "large"]
    assert {gap.over for gap in found.gaps} == {"dense encoder"}
    assert gaps["large"].spearman_gain == pytest.approx(0.05)
    paired = estimates(
        dense.pairs.score,
        {"run": cached["large"].cosine, "dense": dense.cosine},
        {"gap": ("run", "dense")},
        BOOTSTRAP,
    )["gap"].spearman
    assert gaps["large"].interval == paired
    assert gaps["small"].interval is not None
    assert gaps["small"].interval.high < 0
    for read in (no_controls, lambda run: ControlScores(dense.pairs, {"bm25": dense.cosine})):
        bare = points(runs, lambda run, _: cached[run], read, BOOTSTRAP).gaps
        assert {gap.missing for gap in bare} == {("dense encoder",)}
        assert {gap.interval for gap in bare} == {None}


def test_other_data_are_refused(record: Record) -> None:
    """Also under the same name."""
    other = replace(record, tags={**record.tags, "dvc.md5.data/normalized": "0"})
    with pytest.raises(UserError, match="a and b are of different data"):
        points({"a": record, "b": other}, nothing_cached, no_controls, BOOTSTRAP)
