"""Predictions, evaluations and comparisons that no model has made, for tests of what is made of
them.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from splade_sts.comparison.compare import SplitResults, compare
from splade_sts.comparison.evidence import Comparison
from splade_sts.comparison.retrieval import RetrievalResults
from splade_sts.comparison.statistics import Bootstrap, correlation
from splade_sts.controls.lexical import overlap
from splade_sts.controls.scores import ControlScores
from splade_sts.data.pairs import Pairs
from splade_sts.data.provenance import Provenance
from splade_sts.evaluation.results import (
    Cost,
    Metrics,
    Predictions,
    QueryResults,
    Retrieval,
    SplitEvaluation,
)
from splade_sts.report.setting import Setting
from splade_sts.training.curves import TrainingPoint, ValidationPoint

BOOTSTRAP = Bootstrap(resamples=200, confidence=0.95, seed=0)
VOCABULARY = 1000
FOUR_PAIRS = Pairs(
    ["a | b", "<script>alert(1)</script>", "c", "d"],
    ["e", "f", "g\nh", "i"],
    np.array([0.0, 0.4, 0.7, 1.0]),
)
FOUR_TERMS = [[("x", 0.2), ("y", 0.1)], [], [("z", 0.5)], [("q", 0.9)]]


def four_predictions(cosine: list[float], active_dims: int) -> Predictions:
    """For `FOUR_PAIRS`; second sentences have two active dims more than the first ones."""
    dims = np.full(4, active_dims)
    return Predictions(FOUR_PAIRS, np.array(cosine), dims, dims + 2, FOUR_TERMS)


BASE = four_predictions([0.5, 0.4, 0.3, 0.9], 9)
FINETUNED = four_predictions([0.1, 0.5, 0.6, 0.9], 4)


def repeated(found: Predictions, times: int = 5) -> Predictions:
    """The pairs several times, with a little noise of their own in the cosines."""
    noise = np.random.default_rng(0).normal(scale=0.02, size=len(found.cosine) * times)
    return Predictions(
        pairs=Pairs(
            found.pairs.sentence1 * times,
            found.pairs.sentence2 * times,
            np.tile(found.pairs.score, times),
        ),
        cosine=np.tile(found.cosine, times) + noise,
        active_dims1=np.tile(found.active_dims1, times),
        active_dims2=np.tile(found.active_dims2, times),
        terms=found.terms * times,
    )


def evaluation(found: Predictions, retrieval: Retrieval | None = None) -> SplitEvaluation:
    """The numbers that belong to predictions."""
    both = correlation(found.pairs.score, found.cosine) or {"pearson": np.nan, "spearman": np.nan}
    dims = float(found.active_dims1.mean() + found.active_dims2.mean()) / 2
    metrics = Metrics(**both, active_dims=dims, sparsity_ratio=1 - dims / VOCABULARY)
    return SplitEvaluation(len(found.pairs), metrics, Cost(dims / 100, 8 * dims), retrieval)


def queries(mrr: NDArray[np.float64], groups: int | None = None) -> QueryResults:
    """Queries with these reciprocal ranks, the same nDCG and full recall, in groups of consecutive
    queries, as many as there are queries unless given.
    """
    size = len(mrr)
    group = np.arange(size) * (groups or size) // size
    return QueryResults([f"q{number}" for number in range(size)], group, mrr, mrr, np.ones(size))


def split_results(
    base: Predictions,
    finetuned: Predictions,
    searched: tuple[QueryResults | None, QueryResults | None] = (None, None),
    documents: int = 20,
) -> SplitResults:
    """The two models' predictions for a split with what belongs to them, and what the queries of a
    search found; word overlap is the only control.
    """
    found = [one and RetrievalResults(Retrieval.of(one, documents), one) for one in searched]
    before, after = found
    return SplitResults(
        pairs=base.pairs,
        base=base,
        finetuned=finetuned,
        base_evaluation=evaluation(base, before and before.means),
        finetuned_evaluation=evaluation(finetuned, after and after.means),
        controls=ControlScores(base.pairs, {"jaccard": overlap(base.pairs)}),
        paraphrases=None if before is None or after is None else (before, after),
    )


NOTHING = Pairs(["never seen"], ["either"], np.array([0.5]))


def comparison_of(
    base: Predictions, finetuned: Predictions, bootstrap: Bootstrap = BOOTSTRAP
) -> Comparison:
    """The comparison of two models on test alone, after a training on other sentences."""
    return compare({"test": split_results(base, finetuned)}, NOTHING, bootstrap)


def two_genres(count: int = 200) -> SplitResults:
    """A split of random scores that the fine-tuned model predicts better; the last 20 pairs are of
    a genre of their own.

    `jaccard` says nothing, `tfidf` is perfect, `bm25` scores every pair alike.
    """
    generator = np.random.default_rng(0)
    gold = np.round(generator.uniform(size=count), 2)
    pairs = Pairs(
        [f"w{number} " + "long " * (number % 20) for number in range(count)],
        [f"w{number} other" for number in range(count)],
        gold,
        ["news" if number < count - 20 else "forum | odd" for number in range(count)],
    )

    def predicted(noise: float) -> Predictions:
        cosine: NDArray[np.float64] = gold + noise * generator.normal(size=count)
        dims = np.full(count, 9)
        return Predictions(replace(pairs, genre=None), cosine, dims, dims + 2, [[]] * count)

    base, finetuned = predicted(0.5), predicted(0.1)
    scores = {"jaccard": np.linspace(0, 1, count), "tfidf": gold / 2, "bm25": np.zeros(count)}
    results = split_results(base, finetuned)
    return replace(results, pairs=pairs, controls=ControlScores(base.pairs, scores))


# What training has seen of the split of `two_genres`: the sentences of pairs 1, 3 and 7.
SEEN = Pairs(["W1  Long ", "x", "w7 other"], ["never", "w3 OTHER", "y"], np.array([0.5, 0.5, 0.1]))


TRAINING_CURVE = [
    TrainingPoint(step, step / 4, 1 / step, 0.9 / step, 0.1 / step, 1e-3, 1e-4, None)
    for step in (1, 2, 3, 4)
]
VALIDATION_CURVE = [ValidationPoint(step, step / 4, 0.4, 0.1 * step, 9.5, 0.9) for step in (2, 4)]


def making(**base: object) -> Setting:
    """How a model was made: from a dense encoder of the Hub; `base` adds to models/base.json."""
    split = {
        "rows": 20,
        "mean_score": 0.5,
        "words_p50": 3.0,
        "words_max": 9,
        "duplicate_pairs": 1,
        "contradicting_groups": 0,
    }
    source = {"source": "a/b", "revision": None, "license": "mit", "converted_to_active_dims": 80}
    params = {
        "data.source": "c/d",
        "data.path": "unused",
        "data.revision": "e" * 40,
        "base_model.revision": "unused",
        "controls.dense_model": None,
        "controls.dense_revision": None,
        "train.epochs": 1.0,
        "train.batch_size": 16,
        "train.group_by_length": True,
        "train.learning_rate": 5e-5,
        "train.loss": "cosine",
        "train.regularizer_weight": 3e-3,
        "train.seed": 42,
        "train.precision": "auto",
        "train.threads": None,
    }
    return Setting(
        base={**source, **base},
        data={
            "splits": {"test": split},
            "overlaps": {"test_in_train": {"same_pair": 2, "same_sentence": 3, "near_sentence": 1}},
            "shared_pairs": {},
            "label_noise": {
                "repeated": {
                    "groups": 20,
                    "deviation": 0.04,
                    "low": 0.03,
                    "high": 0.05,
                    "ceilings": {"test": {"value": 0.99, "low": 0.98, "high": 0.995}},
                },
                "disagreeing": {
                    "groups": 7,
                    "deviation": 0.06,
                    "low": None,
                    "high": None,
                    "ceilings": {"test": {"value": 0.97, "low": None, "high": None}},
                },
            },
            "test_sets": {},
        },
        provenance=Provenance("c/d", "e" * 40, {}),
        training={"precision": "fp32", "steps": 4, "best_step": 2},
        params=params,
        score_range=(0.0, 5.0),
    )


def setting(**params: object) -> Setting:
    """What was compared, with `params` in the table of parameters."""
    made = making()
    return replace(made, params={**made.params, **params})
