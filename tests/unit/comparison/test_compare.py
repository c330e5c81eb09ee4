"""The comparison, from predictions alone."""

from dataclasses import replace

import numpy as np
import pytest

from splade_sts.comparison.compare import SplitResults, compare, compare_split
from splade_sts.comparison.evidence import Comparison
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions
from tests.support.results import (
    BASE,
    BOOTSTRAP,
    FINETUNED,
    NOTHING,
    SEEN,
    comparison_of,
    repeated,
    split_results,
    two_genres,
)

MANY_BASE, MANY_FINETUNED = repeated(BASE), repeated(FINETUNED)


def test_gain():
    """Fine-tuned minus base, within its interval; swapped models swap its sign."""
    found = comparison_of(MANY_BASE, MANY_FINETUNED).splits["test"]
    back = comparison_of(MANY_FINETUNED, MANY_BASE).splits["test"]
    for name in ("pearson", "spearman"):
        change, reverse = getattr(found, name), getattr(back, name)
        assert change.gain.value == change.finetuned.value - change.base.value
        assert change.gain.low < change.gain.value < change.gain.high
        assert (change.base.value, change.finetuned.value) == (
            getattr(found.base.metrics, name),
            getattr(found.finetuned.metrics, name),
        )
        assert reverse.gain.value == -change.gain.value
    assert found.spearman_test == back.spearman_test
    assert found.spearman_test.resamples == BOOTSTRAP.resamples
    assert found.spearman_test.p < 0.05


def test_nothing_gained():
    """A model that did not change: an interval of zero width, and p = 1."""
    found = comparison_of(MANY_BASE, MANY_BASE).splits["test"]
    gain = found.spearman.gain
    assert (gain.low, gain.value, gain.high) == (0, 0, 0)
    assert found.spearman_test.p == 1


def with_scores(predictions: Predictions, score) -> Predictions:
    pairs = replace(predictions.pairs, score=np.array(score, dtype=float))
    return replace(predictions, pairs=pairs)


ONE = np.ones(20)


@pytest.mark.parametrize(
    ("base", "finetuned", "message"),
    [
        (BASE, FINETUNED, "test has 4 pairs; intervals need at least 10"),
        (replace(MANY_BASE, cosine=ONE / 2), MANY_FINETUNED, "base predictions are all 0.5"),
        (
            MANY_BASE,
            replace(MANY_FINETUNED, cosine=np.nan * ONE),
            "finetuned predictions hold values that are not finite",
        ),
        (with_scores(MANY_BASE, ONE), with_scores(MANY_FINETUNED, ONE), "gold scores are all 1"),
    ],
)
def test_no_comparison_of_nothing(base, finetuned, message):
    """Too few pairs, constant or undefined scores: one clear message."""
    with pytest.raises(UserError, match=message):
        comparison_of(base, finetuned)


def test_almost_constant_scores_give_no_interval():
    """One pair differs from all others: most resamples have no correlation, and the message says
    why.
    """
    gold = [1.0] + [0.0] * 19
    with pytest.raises(UserError, match="test: 20 pairs with almost all scores the same give no"):
        comparison_of(with_scores(MANY_BASE, gold), with_scores(MANY_FINETUNED, gold))


def other_pairs() -> list[Pairs]:
    pairs = MANY_BASE.pairs
    return [
        pairs.select(np.arange(20) < 19),
        Pairs(pairs.sentence1[::-1], pairs.sentence2[::-1], pairs.score[::-1]),
        replace(pairs, sentence1=["x"] * 20),
        replace(pairs, sentence2=["x"] * 20),
        replace(pairs, score=pairs.score / 2),
    ]


@pytest.mark.parametrize(
    "pairs", other_pairs(), ids=["fewer", "other order", "sentence1", "sentence2", "scores"]
)
@pytest.mark.parametrize("of", ["base", "finetuned", "controls"])
def test_every_difference_of_pairs_is_refused(pairs, of):
    """Files that do not belong together are named, in whichever split."""
    good = split_results(MANY_BASE, MANY_FINETUNED)
    bad = replace(good, **{of: replace(getattr(good, of), pairs=pairs)})
    name = rf"predictions/{of} \({len(pairs)} pairs\)"
    with pytest.raises(UserError, match=f"^test: of other pairs than data/normalized.*: {name}"):
        compare({"validation": good, "test": bad}, NOTHING, BOOTSTRAP)


def test_parts():
    """Pairs add up; a part of all pairs equals the whole; small parts say nothing."""
    results = two_genres()
    found = compare_split("test", results, SEEN, BOOTSTRAP)
    assert (found.pairs, found.seen.pairs, found.unseen.pairs) == (200, 3, 197)
    assert (found.seen.spearman, found.seen_minus_unseen) == (None, None)
    for by in ("gold", "length", "overlap", "genre"):
        assert sum(part.pairs for part in found.slices if part.by == by) == 200
    news, odd = (
        next(part for part in found.slices if part.name == name) for name in ("news", "forum | odd")
    )
    assert (odd.pairs, odd.spearman, odd.pearson) == (20, None, None)
    assert news.pairs == 180
    for gain in (news.pearson, news.spearman):
        assert 0 < gain.low < gain.gain < gain.high
        assert gain.gain == pytest.approx(gain.finetuned - gain.base)

    everything = compare_split("test", results, NOTHING, BOOTSTRAP)
    assert (everything.unseen.pairs, everything.seen.pairs) == (200, 0)
    assert everything.unseen == everything.whole


def half_seen() -> tuple[SplitResults, Pairs]:
    """400 pairs of which training has seen the first 200; the gain is larger in these."""
    results = two_genres(400)
    pairs = results.pairs
    better = np.where(np.arange(400) < 200, pairs.score, results.base.cosine)
    finetuned = replace(results.finetuned, cosine=0.8 * better + 0.2 * results.finetuned.cosine)
    return replace(results, finetuned=finetuned), pairs.select(np.arange(400) < 200)


def test_seen_minus_unseen():
    """The difference of the two gains, with an interval of its own."""
    results, train = half_seen()
    found = compare_split("test", results, train, BOOTSTRAP)
    assert (found.seen.pairs, found.unseen.pairs) == (200, 200)
    for name in ("pearson", "spearman"):
        difference = getattr(found.seen_minus_unseen, name)
        gains = [getattr(part, name).gain for part in (found.seen, found.unseen)]
        assert difference.value == gains[0].value - gains[1].value
        assert 0 < difference.low < difference.value < difference.high
        assert difference.high - difference.low > max(gain.high - gain.low for gain in gains)


def test_a_part_of_constant_scores_says_nothing():
    """All unseen pairs have the same gold score."""
    results = two_genres(300)
    seen = Pairs(results.pairs.sentence1[:180], ["x"] * 180, np.zeros(180))
    score = results.pairs.score.copy()
    score[180:] = 0.5
    pairs = replace(results.pairs, score=score)
    same = {
        name: replace(getattr(results, name), pairs=pairs)
        for name in ("base", "finetuned", "controls")
    }
    found = compare_split("test", replace(results, pairs=pairs, **same), seen, BOOTSTRAP)
    assert (found.unseen.pairs, found.unseen.spearman) == (120, None)
    assert found.seen.spearman is not None
    assert found.seen_minus_unseen is None


def test_controls():
    """Own value, and what the fine-tuned model adds; a control that scores every pair alike is left
    out.
    """
    found = compare_split("test", two_genres(), SEEN, BOOTSTRAP)
    jaccard, tfidf = found.controls
    assert (jaccard.name, tfidf.name) == ("jaccard", "tfidf")
    assert tfidf.spearman.value == pytest.approx(1)
    assert tfidf.spearman_gain.high < 0 < jaccard.spearman_gain.low
    expected = found.pearson.finetuned.value - jaccard.pearson.value
    assert jaccard.pearson_gain.value == pytest.approx(expected)


def test_headlines():
    """The gain on test, and what gives it its size: the dense encoder, else the best by words."""
    results = two_genres()
    found = compare({"validation": results, "test": results}, SEEN, BOOTSTRAP)
    test = found.splits["test"]
    gain = test.spearman.gain
    best = test.controls[1]
    assert best.name == "tfidf"
    assert found.headlines() == {
        "gain_low": gain.low,
        "gain_high": gain.high,
        "over_words": best.spearman_gain.value,
    }
    scores = results.controls.scores | {"dense": results.controls.scores["jaccard"]}
    controls = replace(results.controls, scores=scores)
    found = compare({"test": replace(results, controls=controls)}, SEEN, BOOTSTRAP)
    dense = found.splits["test"].controls[-1]
    assert dense.name == "dense"
    assert found.headlines()["over_dense"] == dense.spearman_gain.value
    assert "over_words" not in found.headlines()


def test_it_survives_json():
    """What is written comes back as it was."""
    results, train = half_seen()
    found = compare({"test": results, "validation": two_genres()}, train, BOOTSTRAP)
    assert found.splits["test"].seen_minus_unseen is not None
    assert Comparison.from_content(found.content()) == found
