"""Base against fine-tuned, from predictions alone (no model, no torch)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from splade_sts import layout
from splade_sts.comparison.evidence import (
    Change,
    Comparison,
    ControlResult,
    Part,
    Slice,
    SplitComparison,
)
from splade_sts.comparison.slices import MINIMUM_SLICE, slices
from splade_sts.comparison.statistics import Bootstrap, compare_correlations, estimates
from splade_sts.controls.scores import ControlScores
from splade_sts.data.pairs import Pairs, check_size, unseen
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions, SplitEvaluation

# What the worked examples of BCa take (Efron & Tibshirani 1993, "An Introduction to the Bootstrap",
# chapter 14).
SLICE_RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class SplitResults:
    """What the stages before found on one split.

    Attributes:
        pairs: the normalized pairs.
        base, finetuned: the two models' predictions for them.
        base_evaluation, finetuned_evaluation: the two models' numbers.
        controls: the controls' scores, `jaccard` among them.
    """

    pairs: Pairs
    base: Predictions
    finetuned: Predictions
    base_evaluation: SplitEvaluation
    finetuned_evaluation: SplitEvaluation
    controls: ControlScores


def compare(results: Mapping[str, SplitResults], train: Pairs, bootstrap: Bootstrap) -> Comparison:
    """Compare the two models on every split.

    Args:
        results: by split.
        train: the pairs that training saw.
        bootstrap: how intervals are made; slices take at most `SLICE_RESAMPLES` resamples.

    Raises:
        UserError: a split has fewer than ten pairs or scores that hardly vary, or the results are
            of different pairs.
    """
    return Comparison(
        confidence=bootstrap.confidence,
        splits={
            split: compare_split(split, found, train, bootstrap) for split, found in results.items()
        },
    )


def compare_split(
    split: str, results: SplitResults, train: Pairs, bootstrap: Bootstrap
) -> SplitComparison:
    """`compare` for one split."""
    check_same_pairs(split, results)
    check_scores(split, results)
    gold, base, finetuned = results.pairs.score, results.base.cosine, results.finetuned.cosine

    def part(chosen: NDArray[np.bool_], bootstrap: Bootstrap) -> Part:
        return compare_part(gold[chosen], base[chosen], finetuned[chosen], bootstrap, MINIMUM_SLICE)

    whole = compare_part(gold, base, finetuned, bootstrap, minimum=0)
    if whole.spearman is None:
        raise UserError(
            f"{split}: {len(gold)} pairs with almost all scores the same give no intervals (in "
            "some resamples all are "
            "the same); use a larger split, or check the data and the model"
        )
    tests = compare_correlations(gold, finetuned, base)
    few = replace(bootstrap, resamples=min(bootstrap.resamples, SLICE_RESAMPLES))
    return SplitComparison(
        base=results.base_evaluation,
        finetuned=results.finetuned_evaluation,
        whole=whole,
        pearson_test=tests["pearson"],
        spearman_test=tests["spearman"],
        unseen=part(unseen(results.pairs, train), bootstrap),
        controls=compare_controls(gold, finetuned, results.controls, bootstrap),
        slices=tuple(
            Slice(members.by, members.name, part(members.chosen, few))
            for members in slices(results.pairs, results.controls.scores["jaccard"])
        ),
    )


def compare_part(
    gold: NDArray[np.float64],
    base: NDArray[np.float64],
    finetuned: NDArray[np.float64],
    bootstrap: Bootstrap,
    minimum: int,
) -> Part:
    """Both coefficients before and after; none where there are fewer than `minimum` pairs or they
    hardly vary.
    """
    if len(gold) < max(minimum, 1):
        return Part(len(gold), None, None)
    found = estimates(
        gold, {"base": base, "finetuned": finetuned}, {"gain": ("finetuned", "base")}, bootstrap
    )
    if not {"base", "finetuned", "gain"} <= set(found):
        return Part(len(gold), None, None)
    return Part(
        len(gold),
        pearson=Change(*(found[name].pearson for name in ("base", "finetuned", "gain"))),
        spearman=Change(*(found[name].spearman for name in ("base", "finetuned", "gain"))),
    )


def compare_controls(
    gold: NDArray[np.float64],
    finetuned: NDArray[np.float64],
    controls: ControlScores,
    bootstrap: Bootstrap,
) -> tuple[ControlResult, ...]:
    """The fine-tuned model against each control, on the same resamples; without those whose scores
    hardly vary.
    """
    scores = {**controls.scores, "finetuned": finetuned}
    gains = {f"{name} gain": ("finetuned", name) for name in controls.scores}
    found = estimates(gold, scores, gains, bootstrap)
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
