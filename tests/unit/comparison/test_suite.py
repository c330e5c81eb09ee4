"""Test beside further test sets: what is measured, what is left out, and with which intervals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from splade_sts import layout
from splade_sts.comparison.clusters import Clusters
from splade_sts.comparison.evidence import (
    LEVELS,
    ClusteredSet,
    ControlResult,
    MeanResult,
    SetResult,
    best_words,
    gain_left,
)
from splade_sts.comparison.statistics import (
    BATCH,
    Bootstrap,
    Estimate,
    bca,
    estimates,
    influences,
)
from splade_sts.comparison.suite import (
    Resampled,
    SetScores,
    correlations,
    make_suite,
    means,
    usual_sets,
)
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
    assert found.means["all"].found == found.sets["one"].found


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
        mean = getattr(found.means["all"].found[name], coefficient)
        assert mean.value == pytest.approx(np.mean([part.value for part in parts]), abs=1e-12)
        half = stats.norm.ppf(0.95) * spread[row]
        assert mean.high - mean.low == pytest.approx(2 * half, rel=0.2)
    mean = found.means["all"].found
    gain, models = mean["gain"].spearman, (mean["base"], mean["finetuned"])
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
        assert "gain" in suite.levels[level].means["all"].found
    leaky_found = [result.sets["leaky"].found for result in suite.levels.values()]
    gains = [found["gain"].spearman.value for found in leaky_found]
    assert gain_left(leaky_found[0], leaky_found[1]) == gains[1] / gains[0]
    assert gain_left(*(suite.levels[level].sets["clean"].found for level in LEVELS[:2])) == 1
    means = [suite.levels[level].means["all"].found for level in LEVELS]
    assert 0 < gain_left(means[0], means[2]) != 1


def test_a_gain_that_may_be_chance_has_no_shares():
    """Nor has one that is not there."""
    one = random_set(150, 0)
    same = SetScores(one.pairs, {"base": one.scores["base"], "finetuned": one.scores["base"]})
    suite = make_suite({"one": same}, NOBODY, None, BOOTSTRAP)
    found = suite.levels["all"].sets["one"].found
    assert gain_left(found, found) is None
    flat = SetScores(one.pairs, {"base": one.scores["base"], "finetuned": np.zeros(150)})
    suite = make_suite({"one": flat}, NOBODY, None, BOOTSTRAP)
    assert suite.levels["all"].sets["one"].found.keys() == {"base"}
    mean = suite.levels["all"].means["all"].found
    assert gain_left(mean, mean) is None


def test_too_few_pairs_are_left():
    """Nothing is said of them, nor of the mean over them; a small set of which all is left has
    numbers, and the sets that have some have a mean of their own, over the same sets everywhere.
    """
    small, other = random_set(40, 0, "small"), random_set(45, 2, "other")
    leaky = random_set(150, 1, "leaky")
    train = leaky.pairs.select(np.arange(150) < 60)
    sets = {"small": small, "leaky": leaky, "other": other}
    suite = make_suite(sets, train, None, BOOTSTRAP)
    left = suite.levels["without_pairs"]
    assert left.sets["small"].found
    assert left.sets["leaky"] == SetResult(90, {})
    assert left.means["all"] == MeanResult(("small", "leaky", "other"), {}, {})
    assert suite.levels["all"].means["all"].found
    for level in LEVELS:
        mean = suite.levels[level].means["enough"]
        assert mean.sets == ("small", "other")
        assert {*mean.found} == {*mean.clustered} == {"base", "finetuned", "bm25", "gain"}
    assert mean == suite.levels["all"].means["enough"]
    alone = make_suite({"small": small, "leaky": leaky}, train, None, BOOTSTRAP)
    assert list(alone.levels["all"].means) == ["all"]


def test_fine_tuned_minus_the_dense_encoder():
    """Paired, on the same resamples; on every set and level, and on the mean."""
    one = random_set(150, 0)
    dense = one.pairs.score + 0.2 * np.random.default_rng(9).normal(size=150)
    one = SetScores(one.pairs, {**one.scores, "dense": dense})
    train = one.pairs.select(np.arange(150) < 20)
    suite = make_suite({"one": one}, train, "bm25", BOOTSTRAP)
    for level, first in (("all", 0), ("without_pairs", 20)):
        found = suite.levels[level].sets["one"].found
        values = [
            stats.spearmanr(one.pairs.score[first:], one.scores[name][first:])[0]
            for name in ("finetuned", "dense")
        ]
        over = found["over_dense"].spearman
        assert over.value == pytest.approx(values[0] - values[1])
        expected = estimates(
            one.pairs.score[first:],
            {name: scores[first:] for name, scores in one.scores.items()},
            {"over": ("finetuned", "dense")},
            BOOTSTRAP,
        )["over"].spearman
        for end in ("low", "high"):
            assert getattr(over, end) == pytest.approx(getattr(expected, end), abs=6 * over.error)
        mean = suite.levels[level].means["all"].found["over_dense"].spearman
        assert mean == over


def test_clusters_are_drawn_beside_pairs():
    """Of a set in which every pair stands four times the interval is twice as wide; of one without
    shared sentences it is the same. The mean has both intervals, too.
    """
    once, other = random_set(150, 0, "once"), random_set(150, 1, "other")
    many = SetScores(
        Pairs(
            *(side * 4 for side in (once.pairs.sentence1, once.pairs.sentence2)),
            np.tile(once.pairs.score, 4),
        ),
        {name: np.tile(one, 4) for name, one in once.scores.items()},
    )
    found = make_suite({"many": many, "other": other}, NOBODY, "bm25", BOOTSTRAP).levels["all"]
    repeated, apart = found.sets["many"], found.sets["other"]
    assert repeated.clustered.clusters == Clusters(150, 4, 150.0)
    assert apart.clustered == ClusteredSet(Clusters(150, 1, 150.0), apart.found)
    assert repeated.found.keys() == repeated.clustered.found.keys()
    for name, plain in repeated.found.items():
        clustered = repeated.clustered.found[name]
        for key in layout.COEFFICIENTS:
            narrow, wide = getattr(plain, key), getattr(clustered, key)
            assert wide.value == pytest.approx(narrow.value)
            assert (narrow.high - narrow.low) / (wide.high - wide.low) == pytest.approx(
                0.5, abs=0.1
            )
    mean = found.means["all"]
    for name in mean.found:
        narrow, wide = mean.found[name].spearman, mean.clustered[name].spearman
        assert wide.value == narrow.value
        assert wide.high - wide.low > 1.1 * (narrow.high - narrow.low)


def test_one_cluster_has_no_interval():
    """Nor has a mean with such a set; with pairs drawn both have one."""
    chain, other = random_set(20, 0, "chain"), random_set(30, 1, "other")
    pairs = chain.pairs
    linked = Pairs([f"s{n}" for n in range(20)], [f"s{n + 1}" for n in range(20)], pairs.score)
    sets = {"chain": SetScores(linked, chain.scores), "other": other}
    found = make_suite(sets, NOBODY, None, BOOTSTRAP).levels["all"]
    assert found.sets["chain"].clustered == ClusteredSet(Clusters(1, 20, 1.0), {})
    assert found.sets["chain"].found
    assert found.means["all"].found
    assert found.means["all"].clustered == {}


SEVEN = ("test", "STS12", "sts-13", "STS14", "STS15", "STS16", "SICK-R")


def test_the_mean_of_the_usual_seven():
    """It is there beside others, and is not theirs: a set that is too small without what train
    holds takes the mean of all away, and this one not. Of the seven alone it is the mean of all.
    """
    sizes = dict.fromkeys(SEVEN, 300) | {"test": 1379}
    more = sizes | {"BIOSSES": 100}
    assert means(more, SEVEN) == {"all": (*SEVEN, "BIOSSES"), "usual": SEVEN}
    assert means(sizes, SEVEN) == {"all": SEVEN}
    without = SEVEN[:-1]
    assert means(more, without) == {"all": (*SEVEN, "BIOSSES"), "usual": SEVEN, "enough": without}
    sets = {
        name: random_set(1379 if name == "test" else 110, place, name)
        for place, name in enumerate(more)
    }
    small = sets["BIOSSES"].pairs
    train = small.select(np.arange(110) < 20)
    suite = make_suite(sets, train, None, Bootstrap(50, 0.9, 3))
    for level, there in (("all", True), ("without_pairs", False)):
        found = suite.levels[level]
        assert bool(found.means["all"].found) is there
        usual = found.means["usual"]
        assert usual.sets == SEVEN
        values = [found.sets[name].found["gain"].spearman.value for name in SEVEN]
        assert usual.found["gain"].spearman.value == pytest.approx(np.mean(values))


@pytest.mark.parametrize(
    ("changes", "there"),
    [
        ({}, True),
        ({"test": 1000}, False),
        ({"test": 1000, "STSb": 900}, True),
        ({"STSBenchmark": 900}, True),
        ({"SICK-R": None}, False),
        ({"SICK-R": None, "STS17": 250}, False),
    ],
)
def test_which_sets_are_the_usual_ones(changes, there):
    """Known by name; test is the STS benchmark's where no other set is, and has its pairs."""
    sizes = dict.fromkeys(SEVEN, 300) | {"test": 1379, "BIOSSES": 100} | changes
    found = usual_sets({name: size for name, size in sizes.items() if size is not None})
    assert len(found) == (7 if there else 0)
    assert "BIOSSES" not in found
    if there:
        assert ("test" in found) is not bool({"STSb", "STSBenchmark"} & {*sizes})


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
    assert drawn.moved.shape == (8, BATCH + 20)
    assert drawn.drawn.shape == (8, 400)
    row, gold, base = drawn.names.index(("spearman", "base")), one.pairs.score, one.scores["base"]
    without = np.array(
        [
            stats.spearmanr(np.delete(gold, place), np.delete(base, place))[0]
            for place in range(len(gold))
        ]
    )
    assert drawn.moved[row] == pytest.approx((len(gold) - 1) * (without.mean() - without))


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
