"""Test beside further test sets: what is measured, what is left out, and with which intervals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from splade_sts import layout
from splade_sts.comparison.evidence import ControlResult, best_words
from splade_sts.comparison.statistics import (
    BATCH,
    Bootstrap,
    Estimate,
    bca,
    estimates,
    influences,
)
from splade_sts.comparison.suite import Resampled, SetScores, correlations, make_suite
from splade_sts.controls.scores import ControlScores
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions

BOOTSTRAP = Bootstrap(resamples=400, confidence=0.9, seed=3)
NOBODY = Pairs(["x"], ["y"], np.array([0.5]))


def random_set(count: int, seed: int, name: str = "s") -> SetScores:
    """Pairs of sentences of their own, which the fine-tuned model predicts better."""
    generator = np.random.default_rng(seed)
    gold = np.round(generator.uniform(size=count), 1)
    pairs = Pairs(
        [f"{name} first {number}" for number in range(count)],
        [f"{name} second {number}" for number in range(count)],
        gold,
    )
    noise = {"base": 0.6, "finetuned": 0.3, "bm25": 0.9}
    return SetScores(
        pairs, {key: gold + size * generator.normal(size=count) for key, size in noise.items()}
    )


def test_a_set_by_itself():
    """Values are SciPy's; intervals agree with those of the other tables, up to their resamples."""
    one = random_set(300, 0)
    many = Bootstrap(resamples=4000, confidence=0.95, seed=0)
    found = make_suite({"one": one}, NOBODY, "bm25", many).levels["all"]
    assert found.sets["one"].pairs == 300
    expected = estimates(one.pairs.score, one.scores, {"gain": ("finetuned", "base")}, many)
    assert found.sets["one"].found.keys() == expected.keys() == {*one.scores, "gain"}
    for name, both in expected.items():
        for coefficient in layout.COEFFICIENTS:
            ours = getattr(found.sets["one"].found[name], coefficient)
            theirs = getattr(both, coefficient)
            assert ours.value == pytest.approx(theirs.value, abs=1e-12)
            assert ours.method == theirs.method == "bca"
            for end in ("low", "high", "percentile_low", "percentile_high"):
                assert getattr(ours, end) == pytest.approx(
                    getattr(theirs, end), abs=5 * theirs.error
                )
    assert found.mean == found.sets["one"].found


def test_the_interval_is_that_of_scipy():
    """From the same resamples, of two samples, to the last digits."""
    generator = np.random.default_rng(0)
    samples = generator.exponential(size=40), generator.exponential(size=25) * 3

    def mean(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
        return (one.mean(axis=axis) ** 2 + other.mean(axis=axis) ** 2) / 2

    theirs = stats.bootstrap(
        samples,
        mean,
        n_resamples=999,
        confidence_level=BOOTSTRAP.confidence,
        method="BCa",
        rng=np.random.default_rng(1),
    )
    without = [
        np.array([[np.delete(sample, place).mean() ** 2 / 2 for place in range(len(sample))]])
        for sample in samples
    ]
    value = float(mean(*samples))
    (ours,) = bca(
        [value],
        np.array([value]),
        theirs.bootstrap_distribution[None],
        [influences(one) for one in without],
        BOOTSTRAP,
    )
    expected = theirs.confidence_interval
    assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert ours.low != ours.percentile_low


def test_the_mean_is_taken_within_resamples():
    """Of sets that are resampled independently, each with the same weight: the variance of the mean
    is that of its parts. A gain is paired.
    """
    sets = {"one": random_set(150, 0, "a"), "two": random_set(400, 1, "b")}
    found = make_suite(sets, NOBODY, "bm25", BOOTSTRAP).levels["all"]
    drawn = [
        Resampled.of(part.pairs.score, part.scores, replace(BOOTSTRAP, seed=seed))
        for seed, part in enumerate(sets.values())
    ]
    spread = np.sqrt(sum(one.drawn.var(axis=1) for one in drawn)) / 2
    for row, (coefficient, name) in enumerate(drawn[0].names):
        parts = [getattr(part.found[name], coefficient) for part in found.sets.values()]
        mean = getattr(found.mean[name], coefficient)
        assert mean.value == pytest.approx(np.mean([part.value for part in parts]), abs=1e-12)
        half = stats.norm.ppf(0.95) * spread[row]
        assert mean.high - mean.low == pytest.approx(2 * half, rel=0.2)
    gain, models = found.mean["gain"].spearman, (found.mean["base"], found.mean["finetuned"])
    assert gain.value == pytest.approx(models[1].spearman.value - models[0].spearman.value)


def test_another_set_changes_nothing_of_the_first():
    """Each has resamples of its own, which do not depend on what stands beside it."""
    one, two = random_set(120, 0, "a"), random_set(130, 1, "b")
    alone = make_suite({"one": one}, NOBODY, None, BOOTSTRAP)
    both = make_suite({"two": two, "one": one}, NOBODY, None, BOOTSTRAP)
    assert both.levels["all"].sets["one"] == alone.levels["all"].sets["one"]


def test_what_train_holds_is_left_out():
    """Pairs in either order, then sentences in any pair, however they are spelled; the rows are
    listed. A set of which nothing is left out has the same numbers at every level.
    """
    clean, leaky = random_set(150, 0, "clean"), random_set(200, 1, "leaky")
    first, second = leaky.pairs.sentence1, leaky.pairs.sentence2
    train = Pairs(
        [*first[:30], second[30].upper(), "other", "other"],
        [*second[:30], f" {first[30]} ", first[31], second[32]],
        np.full(33, 0.5),
    )
    suite = make_suite({"clean": clean, "leaky": leaky}, train, "bm25", BOOTSTRAP)
    assert suite.left_out == {
        "all": {"clean": [], "leaky": []},
        "without_pairs": {"clean": [], "leaky": [*range(31)]},
        "without_sentences": {"clean": [], "leaky": [*range(33)]},
    }
    for level, pairs in (("all", 200), ("without_pairs", 169), ("without_sentences", 167)):
        found = suite.levels[level].sets
        assert found["clean"] == suite.levels["all"].sets["clean"]
        assert found["leaky"].pairs == pairs
        expected = stats.spearmanr(
            leaky.pairs.score[200 - pairs :], leaky.scores["finetuned"][200 - pairs :]
        )
        assert found["leaky"].found["finetuned"].spearman.value == pytest.approx(expected[0])
        assert "gain" in suite.levels[level].mean
    gains = [
        suite.levels[level].sets["leaky"].found["gain"].spearman.value for level in suite.levels
    ]
    assert suite.gain_left("without_pairs", "leaky") == gains[1] / gains[0]
    assert suite.gain_left("without_pairs", "clean") == 1
    assert 0 < suite.gain_left("without_sentences", None) != 1


def test_a_gain_that_may_be_chance_has_no_shares():
    """Nor has one that is not there."""
    one = random_set(150, 0)
    same = SetScores(one.pairs, {"base": one.scores["base"], "finetuned": one.scores["base"]})
    assert make_suite({"one": same}, NOBODY, None, BOOTSTRAP).gain_left("all", "one") is None
    flat = SetScores(one.pairs, {"base": one.scores["base"], "finetuned": np.zeros(150)})
    suite = make_suite({"one": flat}, NOBODY, None, BOOTSTRAP)
    assert suite.levels["all"].sets["one"].found.keys() == {"base"}
    assert suite.gain_left("all", None) is None


def test_too_few_pairs_are_left():
    """Nothing is said of them, nor of the mean; a small set of which all is left has numbers."""
    small, leaky = random_set(40, 0, "small"), random_set(150, 1, "leaky")
    train = leaky.pairs.select(np.arange(150) < 60)
    suite = make_suite({"small": small, "leaky": leaky}, train, None, BOOTSTRAP)
    left = suite.levels["without_pairs"]
    assert left.sets["small"].found
    assert (left.sets["leaky"].pairs, left.sets["leaky"].found, left.mean) == (90, {}, {})
    assert suite.levels["all"].mean


def test_scores_that_hardly_vary_have_no_interval():
    """In some resample all gold scores are the same: no numbers, and no warning."""
    gold = np.array([1.0] + [0.0] * 11)
    scores = {"base": np.arange(12.0), "finetuned": np.arange(12.0)[::-1]}
    drawn = Resampled.of(gold, scores, replace(BOOTSTRAP, seed=0))
    assert np.isnan(drawn.drawn).any()
    assert correlations([drawn], BOOTSTRAP) == {}
    flat = Resampled.of(np.ones(12), scores, replace(BOOTSTRAP, seed=0))
    assert correlations([flat], BOOTSTRAP) == {}


def test_every_pair_is_left_out_once():
    """Of more pairs than a batch."""
    one = random_set(BATCH + 20, 0)
    drawn = Resampled.of(one.pairs.score, one.scores, replace(BOOTSTRAP, seed=0))
    assert drawn.without.shape == (8, BATCH + 20)
    assert drawn.drawn.shape == (8, 400)
    row, place = drawn.names.index(("spearman", "base")), BATCH + 5
    expected = stats.spearmanr(
        np.delete(one.pairs.score, place), np.delete(one.scores["base"], place)
    )
    assert drawn.without[row, place] == pytest.approx(expected[0])


def test_genres():
    """All pairs of each, without what does not vary there."""
    one = random_set(60, 0)
    pairs = Pairs(
        one.pairs.sentence1, one.pairs.sentence2, one.pairs.score, ["b"] * 50 + ["a"] * 10
    )
    scores = {**one.scores, "bm25": np.concatenate([one.scores["bm25"][:50], np.zeros(10)])}
    found = make_suite(
        {"one": SetScores(pairs, scores), "two": one}, NOBODY, None, BOOTSTRAP
    ).genres
    assert list(found) == ["one"]
    assert [(name, part.pairs, len(part.found)) for name, part in found["one"].items()] == [
        ("a", 10, 2),
        ("b", 50, 3),
    ]
    expected = stats.spearmanr(pairs.score[:50], scores["base"][:50])[0]
    assert found["one"]["b"].found["base"]["spearman"] == pytest.approx(expected)


def test_the_best_score_without_an_encoder():
    """The dense one is none of them."""

    def control(name: str, value: float) -> ControlResult:
        spearman = Estimate(value, value, value, value, value, "bca", 0.0)
        return ControlResult(name, spearman, spearman, spearman, spearman)

    controls = [control("bm25", 0.5), control("tfidf", 0.6), control("dense", 0.9)]
    assert best_words(controls) == "tfidf"
    assert best_words(controls[2:]) is None


def test_predictions_of_other_pairs(tmp_path, monkeypatch):
    """Are refused by name; those of the same are read, with the controls that are shown."""
    monkeypatch.chdir(tmp_path)
    one = random_set(12, 0)
    none = np.zeros(12, dtype=np.int64)
    for path in (layout.normalized("x"), layout.control("x")):
        path.parent.mkdir(parents=True)
    one.pairs.write(layout.normalized("x"))
    controls = {"jaccard": one.scores["bm25"], "bm25": one.scores["bm25"], "dense": none + 0.5}
    ControlScores(one.pairs, controls).write(layout.control("x"))
    for model in layout.MODELS:
        path = layout.prediction(model, "x")
        path.parent.mkdir(parents=True)
        Predictions(one.pairs, one.scores[model], none, none, [[]] * 12).write(path)
    assert list(SetScores.read("x", "bm25").scores) == ["base", "finetuned", "bm25", "dense"]
    random_set(12, 1).pairs.write(layout.normalized("x"))
    with pytest.raises(UserError, match="x: predictions or controls are of other pairs than"):
        SetScores.read("x", None)
