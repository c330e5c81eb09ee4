"""Base against fine-tuned in a search: paired differences, with intervals."""

from dataclasses import dataclass

import numpy as np

from splade_sts.comparison.evidence import RetrievalChange, RetrievalComparison
from splade_sts.comparison.margin import verdict
from splade_sts.comparison.statistics import (
    Array,
    Bootstrap,
    Estimate,
    bca,
    dot,
    influences,
    resampled,
)
from splade_sts.errors import UserError
from splade_sts.evaluation.results import MEASURES, QueryResults, Retrieval

# Fewest groups of queries of which intervals are made.
MINIMUM_GROUPS = 10
# The measures whose losses `compare.margin` is about.
WITH_MARGIN = ("mrr_at_10", "ndcg_at_10")


@dataclass(frozen=True, eq=False)
class RetrievalResults:
    """What one model found in a search: the means, and each query."""

    means: Retrieval
    queries: QueryResults


# What base and fine-tuned found in the same search.
BothSearched = tuple[RetrievalResults, RetrievalResults]


def compare_retrieval(
    where: str,
    base: RetrievalResults,
    finetuned: RetrievalResults,
    bootstrap: Bootstrap,
    margin: float | None,
) -> RetrievalComparison:
    """Compare what two models found in the same search.

    Args:
        where: the split or set, for messages.
        base, finetuned: what they found.
        bootstrap: how intervals are made.
        margin: `compare.margin`.

    Raises:
        UserError: the two are of other queries or documents.
    """
    _check_same(where, base, finetuned)
    group = base.queries.group
    groups = len(np.unique(group))
    gains: dict[str, Estimate] = {}
    if groups >= MINIMUM_GROUPS:
        differences = np.stack(
            [finetuned.queries.measures[name] - base.queries.measures[name] for name in MEASURES]
        )
        gains = dict(zip(MEASURES, mean_over_groups(differences, group, bootstrap), strict=True))

    def change(name: str) -> RetrievalChange:
        gain = gains.get(name)
        if gain is None or margin is None or name not in WITH_MARGIN:
            not_inferior = None
        else:
            not_inferior = verdict(gain.low, gain.high, margin) not in ("inferior", "not shown")
        return RetrievalChange(
            base=getattr(base.means, name),
            finetuned=getattr(finetuned.means, name),
            gain=gain,
            not_inferior=not_inferior,
        )

    return RetrievalComparison(
        queries=base.means.queries,
        documents=base.means.documents,
        groups=groups,
        **{name: change(name) for name in MEASURES},
    )


def mean_over_groups(values: Array, group: np.ndarray, bootstrap: Bootstrap) -> list[Estimate]:
    """Means over queries, with the intervals of a bootstrap that draws whole groups.

    Queries of one group are not independent: they depend on the same texts. So groups are drawn,
    with replacement, each with all its queries (cluster bootstrap: Davison & Hinkley 1997,
    "Bootstrap Methods and their Application", section 3.8), as many as there are; the mean is that
    of all queries drawn. Intervals as in `splade_sts.comparison.statistics.estimates`, BCa with its
    acceleration from leaving out one group after the other.

    Args:
        values: float (rows, queries), finite.
        group: the group of each query, int (queries,).
        bootstrap: the settings.

    Returns:
        An estimate for each row.
    """
    _, member = np.unique(group, return_inverse=True)
    sizes = np.bincount(member).astype(np.float64)
    sums = np.stack([np.bincount(member, weights=row) for row in values])
    own = sums.sum(axis=1) / sizes.sum()
    drawn = resampled(
        [len(sizes)],
        bootstrap,
        lambda counts: np.stack([dot(counts, row) for row in sums]) / dot(counts, sizes),
    )
    without_each = (sums.sum(axis=1, keepdims=True) - sums) / (sizes.sum() - sizes)
    return bca(own.tolist(), own, drawn, [influences(without_each)], bootstrap)


def _check_same(where: str, base: RetrievalResults, finetuned: RetrievalResults) -> None:
    same = (
        base.queries.query == finetuned.queries.query
        and np.array_equal(base.queries.group, finetuned.queries.group)
        and base.means.documents == finetuned.means.documents
    )
    if not same:
        raise UserError(
            f"{where}: base ({base.means.queries} queries, {base.means.documents} documents) and "
            f"finetuned ({finetuned.means.queries}, {finetuned.means.documents}) were searched "
            "with other queries or documents; run dvc repro, which searches the same with both"
        )
