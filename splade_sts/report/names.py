"""What people read instead of our names, and how many digits a number carries."""

import math
from collections.abc import Sequence

from splade_sts.comparison.clusters import ENOUGH, Clusters
from splade_sts.comparison.crossed import OverBoth
from splade_sts.comparison.randomisation import Test
from splade_sts.comparison.simultaneous import PartGain
from splade_sts.comparison.statistics import Estimate

METRICS = {
    "pearson": "Pearson",
    "spearman": "Spearman",
    "active_dims": "active dims",
    "sparsity_ratio": "sparsity",
    "flops": "FLOPs of a pair",
    "index_bytes": "index bytes",
    "mrr_at_10": "MRR@10",
    "ndcg_at_10": "nDCG@10",
    "recall_at_10": "recall@10",
}
MODELS = {"base": "base", "finetuned": "fine-tuned"}
CONTROLS = {
    "jaccard": "word overlap (Jaccard)",
    "tfidf": "TF-IDF cosine",
    "char_tfidf": "TF-IDF cosine of characters",
    "bm25": "BM25",
    "dense": "dense encoder",
}
# Whose cosines are compared with the gold scores.
OF_COSINES = {**MODELS, "dense": CONTROLS["dense"]}
SLICES = {
    "gold": "gold score (% of its range)",
    "length": "words of the longer sentence",
    "overlap": "word overlap (Jaccard, %)",
    "genre": "genre",
}
# Behind an interval that is not BCa's.
PERCENTILE_MARK = "†"
PERCENTILE_NOTE = (
    f"{PERCENTILE_MARK} Percentile interval: BCa has none, because the value stands at or beyond "
    "an end of all resamples, or no pair moves it."
)
FORMATS = {"active_dims": ".1f", "index_bytes": ".0f", "flops": ".3f"}


def number(metric: str, value: float, sign: str = "") -> str:
    """`value` with the digits of its metric; `sign` is `+` for a change."""
    return format(value, sign + FORMATS.get(metric, ".4f"))


def percent(share: float) -> str:
    """A level such as 0.95 as `95 %`."""
    return f"{100 * share:g} %"


def decimals(error: float) -> int:
    """Decimals that a number with the standard error `error` carries: half a unit of the last one
    is at least `error`; one to four.
    """
    if error <= 0:
        return 4
    return max(1, min(4, math.floor(-math.log10(2 * error))))


def ends(interval: Estimate | PartGain | OverBoth, sign: str = "") -> tuple[str, str]:
    """Low and high end of an interval, with the digits that its resamples carry; `sign` is `+` for
    a change.
    """
    form = f"{sign}.{decimals(interval.error)}f"
    return format(interval.low, form), format(interval.high, form)


def mark(interval: Estimate | PartGain) -> str:
    """What stands behind an interval: ` †` where it is a percentile interval instead of BCa's."""
    fell_back = isinstance(interval, Estimate) and interval.method == "percentile"
    return f" {PERCENTILE_MARK}" if fell_back else ""


def clusters(name: str, pairs: int, found: Clusters) -> str:
    """How the pairs of a split or test set hang together, and whether that is enough."""
    size = (
        f"{name}: {pairs} pairs in {found.number} clusters, the largest of {found.largest} pairs; "
        f"they count like {found.effective:.0f} clusters of equal size."
    )
    return size if found.enough else f"{size} {too_few([name])}"


def too_few(found: Sequence[str]) -> str:
    """What intervals from the clusters of the splits or test sets `found` are worth."""
    return (
        f"Fewer than {ENOUGH} say little: do not trust the intervals from clusters of "
        f"{', '.join(found)}; they may be far too narrow."
    )


def p_value(test: Test) -> str:
    """`p = 0.03`, with the digits that its resamples carry; `p ≤ 0.0001` where no resample was as
    extreme as the data.
    """
    smallest = 1 / (test.resamples + 1)
    if test.p <= smallest:
        return f"p ≤ {smallest:.1g}"
    if test.p == 1:
        return "p = 1"
    error = math.sqrt(test.p * (1 - test.p) / test.resamples)
    first = -math.floor(math.log10(float(f"{test.p:.0e}")))  # decimal of the first digit not 0
    return f"p = {test.p:.{max(first, decimals(error))}f}"
