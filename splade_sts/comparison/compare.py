"""Base against fine-tuned, from predictions alone (no model, no torch)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from splade_sts import layout
from splade_sts.comparison.calibration import calibration, recalibration
from splade_sts.comparison.clusters import Clusters, cluster_of
from splade_sts.comparison.evidence import (
    Change,
    Clustered,
    Comparison,
    ControlResult,
    Part,
    SearchComparison,
    Slice,
    SplitComparison,
)
from splade_sts.comparison.randomisation import randomisation_tests
from splade_sts.comparison.retrieval import BothSearched, RetrievalResults, compare_retrieval
from splade_sts.comparison.simultaneous import simultaneous_gains
from splade_sts.comparison.slices import MINIMUM_SLICE, slices
from splade_sts.comparison.statistics import (
    GAIN,
    Array,
    Bootstrap,
    Correlations,
    Sample,
    estimates,
    two_samples,
)
from splade_sts.controls.scores import DENSE, ControlScores
from splade_sts.data.pairs import InParts, Pairs, check_size, unseen
from splade_sts.data.search import SearchOrigin
from splade_sts.errors import UserError
from splade_sts.evaluation.results import (
    Predictions,
    QueryResults,
    SearchEvaluation,
    SplitEvaluation,
)

# The Monte-Carlo error of an end of a slice's interval is then about 2 % of half its width.
SLICE_RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class SplitResults:
    """What the stages before found on one split.

    Attributes:
        pairs: the normalized pairs.
        base, finetuned: the two models' predictions for them.
        base_evaluation, finetuned_evaluation: the two models' numbers.
        controls: the controls' scores, `jaccard` among them.
        paraphrases: what both models found in the search for paraphrases; None where the split has
            none.
    """

    pairs: Pairs
    base: Predictions
    finetuned: Predictions
    base_evaluation: SplitEvaluation
    finetuned_evaluation: SplitEvaluation
    controls: ControlScores
    paraphrases: BothSearched | None = None


@dataclass(frozen=True, eq=False)
class SearchResults:
    """What `evaluate` found on one set that is searched in.

    Attributes:
        origin: where the set came from.
        base, finetuned: the two models' numbers.
        base_queries, finetuned_queries: what each query found.
    """

    origin: SearchOrigin
    base: SearchEvaluation
    finetuned: SearchEvaluation
    base_queries: QueryResults
    finetuned_queries: QueryResults


def compare(
    results: Mapping[str, SplitResults],
    train: InParts,
    bootstrap: Bootstrap,
    searches: Mapping[str, SearchResults] | None = None,
    paraphrases: Mapping[str, BothSearched] | None = None,
    margin: float | None = None,
) -> Comparison:
    """Compare the two models on every split, and on every set that is searched in.

    Args:
        results: by split.
        train: the pairs that training saw.
        bootstrap: how intervals are made; slices take at most `SLICE_RESAMPLES` resamples.
        searches: by name of the set.
        paraphrases: the search for paraphrases in further test sets, by name.
        margin: `compare.margin`.

    Raises:
        UserError: a split has fewer than ten pairs or scores that hardly vary, or the results are
            of different pairs or queries.
    """
    scored = [gold_and_cosines(results[split]) for split in layout.HELD_OUT if split in results]
    return Comparison(
        confidence=bootstrap.confidence,
        splits={
            split: compare_split(split, found, train, bootstrap, margin)
            for split, found in results.items()
        },
        paraphrases={
            name: compare_retrieval(name, *both, bootstrap, margin)
            for name, both in (paraphrases or {}).items()
        },
        searches={
            name: compare_search(name, found, bootstrap, margin)
            for name, found in (searches or {}).items()
        },
        margin=margin,
        recalibration=(recalibration(scored[0], scored[1], bootstrap) if len(scored) == 2 else ()),
    )


def compare_search(
    name: str, results: SearchResults, bootstrap: Bootstrap, margin: float | None
) -> SearchComparison:
    """`compare` for one set that is searched in."""
    return SearchComparison(
        source=results.origin.source,
        revision=results.origin.revision,
        base_active_dims=results.base.document_active_dims,
        finetuned_active_dims=results.finetuned.document_active_dims,
        retrieval=compare_retrieval(
            name,
            RetrievalResults(results.base.retrieval, results.base_queries),
            RetrievalResults(results.finetuned.retrieval, results.finetuned_queries),
            bootstrap,
            margin,
        ),
    )


def compare_split(
    split: str,
    results: SplitResults,
    train: InParts,
    bootstrap: Bootstrap,
    margin: float | None = None,
) -> SplitComparison:
    """`compare` for one split."""
    check_same_pairs(split, results)
    check_scores(split, results)
    scored = Sample(results.pairs.score, results.base.cosine, results.finetuned.cosine)
    found = with_controls(scored, results.controls, bootstrap)
    whole = part_of(len(scored), found)
    if whole.spearman is None:
        raise UserError(
            f"{split}: {len(scored)} pairs with almost all scores the same give no intervals (in "
            "some resamples all are "
            "the same); use a larger split, or check the data and the model"
        )
    tests = randomisation_tests(scored.gold, scored.finetuned, scored.base, bootstrap)
    new = unseen(results.pairs, train)
    seen_part, unseen_part, difference = compare_parts(
        scored.select(~new), scored.select(new), bootstrap
    )
    return SplitComparison(
        base=results.base_evaluation,
        finetuned=results.finetuned_evaluation,
        whole=whole,
        pearson_test=tests["pearson"],
        spearman_test=tests["spearman"],
        seen=seen_part,
        unseen=unseen_part,
        seen_minus_unseen=difference,
        controls=control_results(results.controls, found),
        slices=compare_slices(scored, results, bootstrap),
        retrieval=results.paraphrases
        and compare_retrieval(split, *results.paraphrases, bootstrap, margin),
        clustered=by_cluster(scored, results.pairs, bootstrap),
        calibration=calibration(*gold_and_cosines(results), bootstrap),
    )


def gold_and_cosines(results: SplitResults) -> tuple[Array, dict[str, Array]]:
    """Gold scores, and the cosines of both models and, where there is one, the dense encoder."""
    cosines = {"base": results.base.cosine, "finetuned": results.finetuned.cosine}
    if DENSE in results.controls.scores:
        cosines[DENSE] = results.controls.scores[DENSE]
    return results.pairs.score, cosines


def with_controls(
    scored: Sample, controls: ControlScores, bootstrap: Bootstrap
) -> dict[str, Correlations]:
    """Both models, the gain and every control, and the fine-tuned model minus every control (`NAME
    gain`), on the same resamples; without controls whose scores hardly vary.
    """
    gains = {f"{name} gain": ("finetuned", name) for name in controls.scores}
    scores = {**scored.predictions, **controls.scores}
    return estimates(scored.gold, scores, {**GAIN, **gains}, bootstrap)


def part_of(pairs: int, found: Mapping[str, Correlations]) -> Part:
    """Both coefficients before and after, of what `estimates` found for `pairs` pairs; none where
    something is missing in that.
    """
    if not {"base", "finetuned", "gain"} <= set(found):
        return Part(pairs, None, None)
    return Part(
        pairs,
        pearson=Change(*(found[name].pearson for name in ("base", "finetuned", "gain"))),
        spearman=Change(*(found[name].spearman for name in ("base", "finetuned", "gain"))),
    )


def compare_parts(
    first: Sample, second: Sample, bootstrap: Bootstrap
) -> tuple[Part, Part, Correlations | None]:
    """Two parts of a split, and the gain of the first minus that of the second; no coefficients of
    a part of fewer than `MINIMUM_SLICE` pairs, or whose scores hardly vary.
    """
    if min(len(first), len(second)) >= MINIMUM_SLICE:
        one, other, difference = two_samples(first, second, bootstrap)
        return part_of(len(first), one), part_of(len(second), other), difference
    one_part, other_part = (
        part_of(
            len(part),
            estimates(part.gold, part.predictions, GAIN, bootstrap)
            if len(part) >= MINIMUM_SLICE
            else {},
        )
        for part in (first, second)
    )
    return one_part, other_part, None


def compare_slices(
    scored: Sample, results: SplitResults, bootstrap: Bootstrap
) -> tuple[Slice, ...]:
    """All slices of a split; those of fewer than `MINIMUM_SLICE` pairs have no coefficients and are
    not of the family.
    """
    found = list(slices(results.pairs, results.controls.scores["jaccard"]))
    large = [members.chosen for members in found if members.chosen.sum() >= MINIMUM_SLICE]
    few = replace(bootstrap, resamples=min(bootstrap.resamples, SLICE_RESAMPLES))
    gains = iter(simultaneous_gains(scored, large, few))
    made = []
    for members in found:
        pairs = int(members.chosen.sum())
        gain = (next(gains) if pairs >= MINIMUM_SLICE else None) or {}
        made.append(
            Slice(members.by, members.name, pairs, gain.get("pearson"), gain.get("spearman"))
        )
    return tuple(made)


def by_cluster(scored: Sample, pairs: Pairs, bootstrap: Bootstrap) -> Clustered:
    """All pairs, those that share sentences drawn together."""
    cluster = cluster_of(pairs)
    clusters = Clusters.of(cluster)
    found = (
        estimates(scored.gold, scored.predictions, GAIN, bootstrap, cluster)
        if clusters.number > 1
        else {}
    )
    return Clustered(clusters, part_of(len(scored), found))


def control_results(
    controls: ControlScores, found: Mapping[str, Correlations]
) -> tuple[ControlResult, ...]:
    """Each control, of what `with_controls` found; without those that are not in it."""
    return tuple(
        ControlResult(
            name,
            pearson=found[name].pearson,
            spearman=found[name].spearman,
            pearson_gain=found[f"{name} gain"].pearson,
            spearman_gain=found[f"{name} gain"].spearman,
        )
        for name in controls.scores
        if name in found and f"{name} gain" in found
    )


def check_same_pairs(split: str, results: SplitResults) -> None:
    """Check that predictions and controls are of the same pairs and gold scores, in the same order,
    as the data.

    Raises:
        UserError: names those that are not.
    """
    tables = {
        str(layout.predictions("base")): results.base.pairs,
        str(layout.predictions("finetuned")): results.finetuned.pairs,
        str(layout.CONTROLS): results.controls.pairs,
    }
    other = [
        f"{name} ({len(pairs)} pairs)"
        for name, pairs in tables.items()
        if not pairs.same_as(results.pairs)
    ]
    if other:
        raise UserError(
            f"{split}: of other pairs than data/normalized ({len(results.pairs)} pairs): "
            f"{', '.join(other)}; "
            "run dvc repro, which scores the same data with all"
        )


def check_scores(split: str, results: SplitResults) -> None:
    """Check that the scores of a split allow a comparison.

    Raises:
        UserError: fewer than ten pairs, or scores that are constant or not finite.
    """
    check_size(results.pairs, split)
    columns = {
        "gold scores": results.pairs.score,
        "base predictions": results.base.cosine,
        "finetuned predictions": results.finetuned.cosine,
    }
    for name, values in columns.items():
        if not np.isfinite(values).all():
            raise UserError(
                f"{split}: the {name} hold values that are not finite; run dvc repro --force "
                "evaluate"
            )
        if (values == values[0]).all():
            raise UserError(
                f"{split}: the {name} are all {values[0]:g}: no correlation can be computed; "
                "check the data and the model"
            )
