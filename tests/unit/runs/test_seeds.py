import json
from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from splade_sts.errors import UserError
from splade_sts.runs.record import Record
from splade_sts.runs.seeds import as_json, as_text, check_only_seeds_differ, summarize


def seeded(
    record: Record,
    seed: int,
    spearman: float = 0.5,
    tags: dict[str, str] | None = None,
    **params: Any,
) -> Record:
    return replace(
        record,
        params={**record.params, "train.seed": seed, **params},
        tags={**record.tags, **(tags or {})},
        metrics={**record.metrics, "finetuned.test.spearman": spearman},
    )


def test_summary(record: Record) -> None:
    """Mean, sample standard deviation and Student's interval, as scipy computes it; every seed is
    shown.
    """
    values = [0.79, 0.81, 0.80]
    runs = {
        f"seed_{seed}": seeded(record, seed, value, **{"train.checkpoint_steps": seed})
        for seed, value in enumerate(values, start=1)
    }
    summary = summarize(runs, 0.9)
    found = summary.metrics["test.spearman"]
    assert summary.seeds == {"seed_1": 1, "seed_2": 2, "seed_3": 3}
    assert found.values == {"seed_1": 0.79, "seed_2": 0.81, "seed_3": 0.80}
    assert found.base == record.metrics["base.test.spearman"]
    assert (found.mean, found.sd) == pytest.approx((0.80, 0.01))
    assert (found.low, found.high) == pytest.approx(
        stats.t.interval(0.9, 2, 0.8, stats.sem(values))
    )
    names = ("spearman", "pearson", "active_dims", "flops", "index_bytes")
    assert list(summary.metrics) == [
        f"{split}.{name}" for split in ("validation", "test") for name in names
    ]
    dims, size = (summary.metrics[f"test.{name}"] for name in ("active_dims", "index_bytes"))
    assert (size.base, size.mean) == (8 * dims.base, 8 * dims.mean)
    text = as_text(summary)
    assert "seed_2 (seed 2)" in text
    assert "90 % interval" in text
    assert "mean over 3 seeds" in text
    assert "| test Spearman " in text
    assert f"{found.low:.4f} to {found.high:.4f}" in text
    assert json.loads(as_json(summary))["metrics"]["test.spearman"]["values"]["seed_1"] == 0.79


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.epochs": 2.0}, r"differ in more than train.seed.*\n  train.epochs: 1.0 and 2.0$"),
        ({"data.on_leak": "drop_from_train"}, "data.on_leak: 'keep' and 'drop_from_train'"),
        ({"tags": {"dvc.md5.data/normalized": "0"}}, "the content of data/normalized"),
        ({"tags": {"dvc.md5.models/base": "0"}}, "the content of models/base"),
        ({"seed": 1}, "the same seed twice: a has 1, b has 1"),
    ],
)
def test_other_differences_are_refused(
    record: Record, changes: dict[str, Any], message: str
) -> None:
    """Every parameter that differs is shown with both values; other data under the same name are
    noticed.
    """
    settings = {"seed": 2, **changes}
    with pytest.raises(UserError, match=message):
        check_only_seeds_differ({"a": seeded(record, 1), "b": seeded(record, **settings)})


def test_parameters_that_change_no_model(record: Record) -> None:
    """Another report or tracking does not matter; one run alone is refused."""
    other = seeded(record, 2, **{"compare.changed_pairs": 3, "track.enabled": False})
    check_only_seeds_differ({"a": seeded(record, 1), "b": other})
    with pytest.raises(UserError, match="at least two"):
        summarize({"a": seeded(record, 1)}, 0.95)
