"""Runs that differ in their seed, and two settings over the same seeds."""

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from splade_sts.comparison.clusters import Clusters
from splade_sts.comparison.crossed import over_both
from splade_sts.comparison.statistics import Bootstrap
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.runs.record import Record
from splade_sts.runs.scores import SplitScores
from splade_sts.runs.seeds import check_only_seeds_differ, summarize, unknown_precision
from splade_sts.runs.seeds_view import as_json, settings_text, summary_text
from splade_sts.runs.settings import (
    compare_settings,
    compare_with_model,
    paired,
    verdict,
)
from tests.support.commands import printed

BOOTSTRAP = Bootstrap(resamples=200, confidence=0.9, seed=0)
PAIRS = 40


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


def runs_of(record: Record, name: str, seeds: tuple[int, ...], **params: Any) -> dict[str, Record]:
    """A setting: runs with these seeds."""
    return {f"{name}{seed}": seeded(record, seed, **params) for seed in seeds}


def scores(noise: float, runs: int = 3, first: str = "a", dense: bool = True) -> SplitScores:
    """Scores around gold, those of the base far away, those of the dense encoder close."""
    generator = np.random.default_rng(0)
    gold = np.linspace(0, 1, PAIRS)
    own, common = generator.normal(size=(runs, PAIRS)), generator.normal(size=PAIRS)
    return SplitScores(
        Pairs([first] * PAIRS, ["b"] * PAIRS, gold),
        gold + noise * (common + 0.3 * own),
        gold + common,
        gold + 0.05 * common if dense else None,
    )


def test_summary(record: Record) -> None:
    """Mean, sample standard deviation and Student's interval, as scipy computes it; every seed is
    shown. Without predictions there is nothing over pairs.
    """
    values = [0.79, 0.81, 0.80]
    runs = {
        f"seed_{seed}": seeded(record, seed, value, **{"train.checkpoint_steps": seed})
        for seed, value in enumerate(values, start=1)
    }
    summary = summarize(runs, {"validation": None, "test": None}, BOOTSTRAP)
    found = summary.metrics["test.spearman"]
    assert summary.seeds == {"seed_1": 1, "seed_2": 2, "seed_3": 3}
    assert found.values == {"seed_1": 0.79, "seed_2": 0.81, "seed_3": 0.80}
    assert found.base == record.metrics["base.test.spearman"]
    assert (found.mean, found.sd) == pytest.approx((0.80, 0.01))
    assert (found.low, found.high) == pytest.approx(
        stats.t.interval(0.9, 2, 0.8, stats.sem(values))
    )
    assert found.dense is found.both is found.clustered is None
    assert summary.pairs == {}
    names = ("spearman", "pearson", "active_dims", "flops", "index_bytes")
    assert list(summary.metrics) == [
        f"{split}.{name}" for split in ("validation", "test") for name in names
    ]
    dims, size = (summary.metrics[f"test.{name}"] for name in ("active_dims", "index_bytes"))
    assert (size.base, size.mean) == (8 * dims.base, 8 * dims.mean)
    text = summary_text(summary)
    assert "seed_2 (seed 2)" in text
    assert "90 %" in text
    assert "mean over 3 seeds" in text
    assert text.splitlines()[0].split()[:4] == ["base", "dense", "fine-tuned", "sd"]
    assert "test Spearman " in text
    assert f"{found.low:.4f} to {found.high:.4f}" in text
    assert json.loads(as_json(summary))["metrics"]["test.spearman"]["values"]["seed_1"] == 0.79
    assert json.loads(printed(as_json(replace(summary, seeds={"über": 1}))))["seeds"] == {"über": 1}


def test_summary_with_predictions(record: Record) -> None:
    """The correlations are those of the scores, with an interval over pairs too; so a further set
    needs no record. Costs are those of the records.
    """
    found = scores(0.5)
    summary = summarize(runs_of(record, "s", (1, 2, 3)), {"test": found, "sick": found}, BOOTSTRAP)
    test, sick = (summary.metrics[f"{split}.spearman"] for split in ("test", "sick"))
    assert test == sick
    gold = found.pairs.score
    assert [*test.values.values()] == pytest.approx(
        [stats.spearmanr(gold, one)[0] for one in found.finetuned]
    )
    assert test.base == pytest.approx(stats.spearmanr(gold, found.base)[0])
    assert test.dense == pytest.approx(stats.spearmanr(gold, found.dense)[0])
    assert test.both == over_both(gold, found.finetuned, BOOTSTRAP)["spearman"]
    assert summary.metrics["test.active_dims"].both is None
    assert "sick.active_dims" not in summary.metrics
    content = json.loads(as_json(summary))["metrics"]["test.spearman"]["both"]
    assert content["low"] < content["value"] < content["high"]
    (row,) = [line for line in summary_text(summary).splitlines() if "sick Spearman" in line]
    assert f"{test.dense:.4f}" in row
    flat = replace(found, base=np.zeros(PAIRS))
    assert (
        "sick.spearman"
        not in summarize(runs_of(record, "s", (1, 2, 3)), {"sick": flat}, BOOTSTRAP).metrics
    )


def in_clusters(found: SplitScores, size: int) -> SplitScores:
    """The same scores, of pairs of which each `size` share a sentence."""
    first = [f"first {number // size}" for number in range(PAIRS)]
    second = [f"second {number}" for number in range(PAIRS)]
    return replace(found, pairs=Pairs(first, second, found.pairs.score))


def test_pairs_that_share_sentences(record: Record) -> None:
    """Beside the interval over pairs stands the one over clusters, and how many these are; none
    where no pairs share a sentence, or all do.
    """
    runs, few = runs_of(record, "s", (1, 2, 3)), in_clusters(scores(0.5), 2)
    apart = in_clusters(scores(0.5), 1)
    summary = summarize(runs, {"few": few, "apart": apart, "one": scores(0.5)}, BOOTSTRAP)
    found = summary.metrics["few.spearman"]
    gold, cluster = few.pairs.score, np.arange(PAIRS) // 2
    expected = over_both(gold, few.finetuned, BOOTSTRAP, cluster=cluster)["spearman"]
    assert found.clustered == expected != found.both
    assert summary.pairs["few"].clusters == Clusters(20, 2, 20.0)
    for split in ("apart", "one"):
        assert summary.metrics[f"{split}.spearman"].both is not None
        assert summary.metrics[f"{split}.spearman"].clustered is None
    text = " ".join(summary_text(summary).split())
    assert "seeds and clusters" in text
    assert "few: 40 pairs in 20 clusters, the largest of 2 pairs" in text
    assert "do not trust the intervals from clusters of few; they" in text
    assert "apart: 40 pairs" not in text
    assert json.loads(as_json(summary))["metrics"]["few.spearman"]["clustered"] == asdict(expected)
    alone = summary_text(summarize(runs, {"apart": apart}, BOOTSTRAP))
    assert "clusters" not in alone


def test_without_what_train_holds(record: Record) -> None:
    """Records know nothing of the pairs that are left; the text says how many they are."""
    runs, whole = runs_of(record, "s", (1, 2, 3)), scores(0.5)
    left = whole.select(np.arange(PAIRS) >= 4)
    summary = summarize(runs, {"test": left}, BOOTSTRAP, "sentences")
    assert list(summary.metrics) == ["test.spearman", "test.pearson"]
    assert summary.metrics["test.spearman"].base == pytest.approx(
        stats.spearmanr(whole.pairs.score[4:], whole.base[4:])[0]
    )
    found = summary.pairs["test"]
    assert (summary.without, found.pairs, found.left_out) == ("sentences", 36, 4)
    said = "Without the pairs of which a sentence occurs in train. Left are: test 36 of 40."
    assert said in " ".join(summary_text(summary).split())
    for compared in (
        compare_with_model(runs, "base", {"test": left}, BOOTSTRAP, 0.01, "sentences"),
        compare_settings(
            runs,
            runs_of(record, "b", (1, 2, 3)),
            {"test": (left, left)},
            BOOTSTRAP,
            0.01,
            "sentences",
        ),
    ):
        assert list(compared.metrics) == ["test.spearman", "test.pearson"]
        assert said in " ".join(settings_text(compared).split())
        assert json.loads(as_json(compared))["without"] == "sentences"


def test_the_dense_encoder_of_the_records(record: Record) -> None:
    """Its Spearman stands in Git."""
    dense = {"controls.test.dense": 0.8}
    runs = {
        name: replace(one, metrics={**one.metrics, **dense})
        for name, one in runs_of(record, "s", (1, 2)).items()
    }
    summary = summarize(runs, {"test": None}, BOOTSTRAP)
    assert summary.metrics["test.spearman"].dense == 0.8
    assert summary.metrics["test.active_dims"].dense is None


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
        summarize({"a": seeded(record, 1)}, {}, BOOTSTRAP)


def test_two_settings(record: Record) -> None:
    """They are paired by seed, in whatever order they are named; what they differ in is named."""
    first = runs_of(record, "a", (1, 2, 3))
    named = runs_of(record, "b", (3, 1, 2), **{"train.epochs": 4.0, "compare.seed": 5})
    second = paired(first, named)
    assert list(second) == ["b1", "b2", "b3"]
    better, worse = scores(0.3), scores(0.5)
    found = compare_settings(first, second, {"test": (better, worse)}, BOOTSTRAP, 0.01)
    assert found.differs == {"train.epochs": (1.0, 4.0)}
    assert (found.first, found.second) == ({"a1": 1, "a2": 2, "a3": 3}, {"b1": 1, "b2": 2, "b3": 3})
    one = found.metrics["test.spearman"]
    expected = over_both(better.pairs.score, better.finetuned, BOOTSTRAP, worse.finetuned)
    assert one.both == expected["spearman"]
    assert one.value == pytest.approx(one.first - one.second)
    assert (one.low, one.high) == (one.both.low, one.both.high)
    assert one.verdict == verdict(one.low, one.high, 0.01) == "superior"
    assert found.metrics["test.pearson"].verdict is None
    text = settings_text(found)
    assert "they differ in: train.epochs (1 and 4)" in text
    assert "first setting: a1 (seed 1), a2 (seed 2), a3 (seed 3)" in text
    assert "test Spearman: the first setting is better than the second setting by more" in text
    assert json.loads(as_json(found))["metrics"]["test.spearman"]["verdict"] == "superior"


def test_costs_of_two_settings(record: Record) -> None:
    """Paired by seed, over the seeds alone."""
    first, second = runs_of(record, "a", (1, 2, 3)), runs_of(record, "b", (1, 2, 3))
    for runs, sizes in ((first, (10.0, 12.0, 14.0)), (second, (9.0, 11.0, 12.0))):
        for name, size in zip(runs, sizes, strict=True):
            metrics = {**runs[name].metrics, "finetuned.test.active_dims": size}
            runs[name] = replace(runs[name], metrics=metrics)
    both = {"test": (scores(0.3), scores(0.3))}
    one = compare_settings(first, second, both, BOOTSTRAP, None).metrics["test.active_dims"]
    differences = [1.0, 1.0, 2.0]
    low, high = stats.t.interval(0.9, 2, np.mean(differences), stats.sem(differences))
    assert (one.value, one.low, one.high) == pytest.approx((4 / 3, low, high))
    assert one.both is one.verdict is None


def test_a_difference_with_clusters_drawn(record: Record) -> None:
    """It stands beside the other one; what it says of the margin is said where it is another
    thing.
    """
    runs = runs_of(record, "a", (1, 2, 3))
    one = in_clusters(scores(0.3), 8)
    found = compare_with_model(runs, "dense", {"test": one}, BOOTSTRAP, 0.2)
    test = found.metrics["test.spearman"]
    cluster = np.arange(PAIRS) // 8
    expected = over_both(one.pairs.score, one.finetuned, BOOTSTRAP, one.dense[None], cluster)
    assert test.clustered == expected["spearman"] != test.both
    assert test.clustered_verdict == verdict(test.clustered.low, test.clustered.high, 0.2)
    other = replace(test, verdict="equivalent", clustered_verdict="not shown")
    metrics = {"test.spearman": other}
    text = settings_text(replace(found, metrics={"validation.spearman": other, **metrics}))
    assert max(map(len, text.splitlines())) <= 120
    text = " ".join(settings_text(replace(found, metrics=metrics)).split())
    assert "are equivalent within 0.2" in text
    assert "With clusters drawn, it is not shown that the fine-tuned model" in text
    same = replace(test, verdict="not shown", clustered_verdict="not shown")
    metrics = {"test.spearman": same}
    assert "With clusters drawn" not in settings_text(replace(found, metrics=metrics))


def test_without_a_margin(record: Record) -> None:
    """Nothing is said of one."""
    runs = runs_of(record, "a", (1, 2, 3))
    found = compare_with_model(runs, "base", {"test": scores(0.3)}, BOOTSTRAP, None)
    assert {one.verdict for one in found.metrics.values()} == {None}
    assert "within" not in settings_text(found)


def test_a_model_that_the_runs_have_in_common(record: Record) -> None:
    """The base has costs, the dense encoder has none."""
    runs, found = runs_of(record, "a", (1, 2, 3)), {"test": scores(0.3)}
    over_base = compare_with_model(runs, "base", found, BOOTSTRAP, 0.01)
    assert over_base.second == "base"
    assert over_base.metrics["test.active_dims"].value == pytest.approx(8 - 12)
    assert over_base.metrics["test.spearman"].verdict == "superior"
    assert "the fine-tuned model is better than the base model" in settings_text(over_base)
    under_dense = compare_with_model(runs, "dense", found, BOOTSTRAP, 0.01)
    assert list(under_dense.metrics) == ["test.spearman", "test.pearson"]
    assert under_dense.metrics["test.spearman"].value < 0
    bare = {"test": scores(0.3, dense=False)}
    with pytest.raises(UserError, match=r"were not compared with a dense encoder; controls.dense"):
        compare_with_model(runs, "dense", bare, BOOTSTRAP, 0.01)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.05, "superior"),
        (-0.009, 0.009, "equivalent"),
        (0.001, 0.009, "equivalent"),
        (-0.009, 0.01, "not inferior"),
        (-0.01, 0.05, "not shown"),
        (-0.05, 0.0, "not shown"),
        (-0.05, -0.01, "inferior"),
    ],
)
def test_verdicts(low: float, high: float, said: str) -> None:
    """At the margin itself nothing is excluded."""
    assert verdict(low, high, 0.01) == said


def test_settings_that_are_refused(record: Record) -> None:
    """Other seeds; a run in both; more than the seed within one of them; other pairs."""
    first = runs_of(record, "a", (1, 2, 3))
    with pytest.raises(UserError, match=r"has the seed of: a3 \(seed 3\), b4 \(seed 4\); leave"):
        paired(first, runs_of(record, "b", (1, 2, 4)))
    with pytest.raises(UserError, match="in both settings: a2"):
        paired(first, {**runs_of(record, "b", (1, 3)), "a2": first["a2"]})
    mixed = {**runs_of(record, "b", (1, 2)), "b3": seeded(record, 3, **{"train.epochs": 2.0})}
    for one, other in ((first, mixed), (mixed, first)):
        with pytest.raises(UserError, match=r"differ in more than train.seed"):
            paired(one, other)
    second = runs_of(record, "b", (1, 2, 3))
    both = {"test": (scores(0.3), scores(0.3, first="x"))}
    with pytest.raises(UserError, match=r"a1 and b1 were evaluated on other pairs \(test\)"):
        compare_settings(first, second, both, BOOTSTRAP, None)


def test_auto_became_something_else(record: Record) -> None:
    """The same parameter, of which the hardware made one thing or another: no spread of seeds, and
    what two settings differ in.
    """
    auto = {"train.precision": "auto"}
    first = runs_of(record, "a", (1, 2), **auto)
    other = runs_of(record, "b", (1, 2, 3), tags={"precision": "bf16"}, **auto)
    message = r"a1 and b3 .*\n  what train.precision: auto became: 'fp32' and 'bf16'$"
    with pytest.raises(UserError, match=message):
        check_only_seeds_differ({**first, "b3": other["b3"]})
    del other["b3"]
    both = {"test": (scores(0.3, 2), scores(0.3, 2))}
    text = settings_text(compare_settings(first, other, both, BOOTSTRAP, None))
    assert "they differ in: what train.precision: auto became (fp32 and bf16)\n" in text


def test_what_auto_became_is_not_known(record: Record) -> None:
    """Nothing is made up for a run whose evidence is not in DVC's cache; the others are compared
    still.
    """
    auto = {"train.precision": "auto"}
    tags = {name: value for name, value in record.tags.items() if name != "precision"}
    bare = replace(seeded(record, 1, **auto), tags=tags)
    known, other = (
        seeded(record, 2, **auto),
        seeded(record, 3, tags={"precision": "bf16"}, **auto),
    )
    check_only_seeds_differ({"a": bare, "b": known})
    assert unknown_precision({"a": bare, "b": known}) == ["a"]
    assert unknown_precision({"a": replace(bare, params=record.params)}) == []
    with pytest.raises(UserError, match="b and c differ in more"):
        check_only_seeds_differ({"a": bare, "b": known, "c": other})


def test_settings_that_differ_in_their_files(record: Record) -> None:
    """The same parameters, other data at the same path: DVC's hash says so."""
    first = runs_of(record, "a", (1, 2))
    changed = {"dvc.md5.data/normalized": "0" * 32, "dvc.md5.models/base": "1" * 32}
    second = runs_of(record, "b", (1, 2), tags=changed)
    both = {"test": (scores(0.3, 2),) * 2}
    found = compare_settings(first, second, both, BOOTSTRAP, None)
    text = " ".join(settings_text(found).split())
    data, base = (record.tags[tag] for tag in changed)
    assert f"they differ in: the content of data/normalized ({data} and {'0' * 32}), " in text
    assert f"the content of models/base ({base} and {'1' * 32})" in text
    same = compare_settings(first, runs_of(record, "b", (1, 2)), both, BOOTSTRAP, None)
    assert "they differ in: no parameter, nor in data, base model" in settings_text(same)
