"""What a comparison of base and fine-tuned finds, by split."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from splade_sts.comparison.calibration import Calibration, Recalibration
from splade_sts.comparison.clusters import Clusters
from splade_sts.comparison.randomisation import Test
from splade_sts.comparison.simultaneous import PartGain
from splade_sts.comparison.statistics import Correlations, Estimate
from splade_sts.controls.scores import DENSE
from splade_sts.evaluation.results import SplitEvaluation
from splade_sts.layout import Coefficient


@dataclass(frozen=True)
class Change:
    """One coefficient before and after, and fine-tuned minus base."""

    base: Estimate
    finetuned: Estimate
    gain: Estimate


@dataclass(frozen=True)
class Part:
    """Some pairs of a split; no coefficients where they are too few or hardly vary."""

    pairs: int
    pearson: Change | None
    spearman: Change | None


@dataclass(frozen=True)
class Slice:
    """Pairs of a split with one thing in common: `name` among the slices `by` something.

    The intervals of all slices of a split hold together, for each coefficient; there are no
    coefficients where the pairs are too few or hardly vary.
    """

    by: str
    name: str
    pairs: int
    pearson: PartGain | None
    spearman: PartGain | None


@dataclass(frozen=True)
class ControlResult:
    """A control's own correlations, and fine-tuned minus control on the same resamples."""

    name: str
    pearson: Estimate
    spearman: Estimate
    pearson_gain: Estimate
    spearman_gain: Estimate


def best_words(controls: Sequence[ControlResult]) -> str | None:
    """The name of the control without an encoder that has the highest Spearman, if there is one."""
    words = [control for control in controls if control.name != DENSE]
    best = max(words, key=lambda control: control.spearman.value, default=None)
    return best.name if best else None


@dataclass(frozen=True)
class RetrievalChange:
    """A measure of a search, the mean over its queries, before and after.

    Attributes:
        base, finetuned: before and after.
        gain: fine-tuned minus base, with an interval over groups of queries; None where there are
            too few groups.
        not_inferior: whether that interval lies above minus `compare.margin`; None where there is
            no interval, no margin, or the margin is not about this measure.
    """

    base: float
    finetuned: float
    gain: Estimate | None
    not_inferior: bool | None


@dataclass(frozen=True)
class RetrievalComparison:
    """Both models in the same search.

    Attributes:
        queries, documents: how many there are.
        groups: groups of queries that depend on the same texts
            (`splade_sts.data.search.Search.groups`).
        mrr_at_10, ndcg_at_10, recall_at_10: the measures.
    """

    queries: int
    documents: int
    groups: int
    mrr_at_10: RetrievalChange
    ndcg_at_10: RetrievalChange
    recall_at_10: RetrievalChange


@dataclass(frozen=True)
class SearchComparison:
    """Both models on a set that is searched in.

    Attributes:
        source: the id on the Hub, or the folder below `data.path`.
        revision: the Hub's commit hash; None for files.
        base_active_dims, finetuned_active_dims: mean active dims of a document.
        retrieval: what the queries found.
    """

    source: str
    revision: str | None
    base_active_dims: float
    finetuned_active_dims: float
    retrieval: RetrievalComparison


@dataclass(frozen=True)
class Clustered:
    """The whole split, with intervals from resampled clusters of pairs that share sentences; no
    coefficients where all pairs are one cluster, or too alike.
    """

    clusters: Clusters
    whole: Part


@dataclass(frozen=True)
class SplitComparison:
    """Everything that is said of one split.

    Attributes:
        base, finetuned: the two evaluations.
        whole: all pairs; its coefficients are there.
        pearson_test, spearman_test: of the equality of the two models' coefficients.
        seen: the pairs a sentence of which occurs in train.
        unseen: all others.
        seen_minus_unseen: the gain of the first minus that of the second; None where one of them
            has no coefficients.
        controls: each control whose scores vary.
        slices: by gold score, length, overlap and, where the data has it, genre.
        retrieval: the search for paraphrases; None where the split has none, or the comparison is
            of an older version.
        clustered: the same as `whole`, with other intervals; None in evidence of earlier versions.
        calibration: how near the cosines are to the gold scores; None there too.
    """

    base: SplitEvaluation
    finetuned: SplitEvaluation
    whole: Part
    pearson_test: Test
    spearman_test: Test
    seen: Part
    unseen: Part
    seen_minus_unseen: Correlations | None
    controls: tuple[ControlResult, ...]
    slices: tuple[Slice, ...]
    retrieval: RetrievalComparison | None = None
    clustered: Clustered | None = None
    calibration: Calibration | None = None

    @property
    def pairs(self) -> int:
        """The pairs of the split."""
        return self.whole.pairs

    @property
    def spearman(self) -> Change:
        """Spearman of all pairs."""
        assert self.whole.spearman is not None
        return self.whole.spearman

    @property
    def pearson(self) -> Change:
        """Pearson of all pairs."""
        assert self.whole.pearson is not None
        return self.whole.pearson

    @property
    def reference(self) -> ControlResult | None:
        """The control that gives a gain its size: the dense encoder where there is one, else the
        best by words alone.
        """
        dense = [control for control in self.controls if control.name == DENSE]
        best = sorted(self.controls, key=lambda control: control.spearman.value)[-1:]
        return next(iter(dense + best), None)


# Which pairs of a set count: all, those that do not stand in train (in either order), and those no
# sentence of which occurs in train.
Level = Literal["all", "without_pairs", "without_sentences"]
LEVELS: tuple[Level, ...] = ("all", "without_pairs", "without_sentences")


# Correlations by the name of a model or control, the `gain` of fine-tuned over base, and fine-tuned
# minus the dense encoder (`over_dense`), where there is one. Not there is what hardly varies.
Found = dict[str, Correlations]

# Which sets a mean is over, the same at every `Level`: all; the usual seven, where all of them and
# others are there; those that have numbers at every level, where these are not all.
Mean = Literal["all", "usual", "enough"]


@dataclass(frozen=True)
class ClusteredSet:
    """The same as `SetResult.found`, with intervals from resampled clusters of pairs that share
    sentences; nothing is found where all pairs are one cluster, or too alike.
    """

    clusters: Clusters
    found: Found


@dataclass(frozen=True)
class SetResult:
    """Some pairs of a set.

    Attributes:
        pairs: how many there are.
        found: correlations, with intervals from resampled pairs. Nothing is found where fewer than
            `MINIMUM_SLICE` pairs are left of more.
        clustered: with other intervals; None where nothing is found, and in evidence of earlier
            versions.
    """

    pairs: int
    found: Found
    clustered: ClusteredSet | None = None


@dataclass(frozen=True)
class MeanResult:
    """The mean of some sets, each with the same weight, of what is found in every one of them.

    Attributes:
        sets: their names, in the order of the sets.
        found: with intervals from resampled pairs of each set.
        clustered: with intervals from resampled clusters of each set.
    """

    sets: tuple[str, ...]
    found: Found
    clustered: Found


@dataclass(frozen=True)
class LevelResult:
    """What was found at one `Level`.

    Attributes:
        sets: by the name of the set.
        means: by which sets they are over; empty in evidence of earlier versions.
    """

    sets: dict[str, SetResult]
    means: dict[Mean, MeanResult] = field(default_factory=dict)


@dataclass(frozen=True)
class GenreResult:
    """Correlations on the pairs of one genre, by model or control."""

    pairs: int
    found: dict[str, dict[Coefficient, float]]


@dataclass(frozen=True)
class Suite:
    """The models on all test sets.

    Attributes:
        words: the control without an encoder that is shown: the best one on validation; None where
            none of them varies.
        levels: by `Level`.
        left_out: by `Level` and set, the rows of its normalized table that are left out, from 0.
        genres: by set and genre, of the sets that have genres; all pairs count.
    """

    words: str | None
    levels: dict[Level, LevelResult]
    left_out: dict[Level, dict[str, list[int]]]
    genres: dict[str, dict[str, GenreResult]]


def gain_left(whole: Found, left: Found) -> float | None:
    """The gain in Spearman on some pairs, as a share of that on all. None where the interval of the
    latter is not above zero, or one is missing.
    """
    if "gain" not in whole or "gain" not in left or whole["gain"].spearman.low <= 0:
        return None
    return left["gain"].spearman.value / whole["gain"].spearman.value


@dataclass(frozen=True)
class Comparison:
    """Base against fine-tuned by held-out split.

    Attributes:
        confidence: level of all intervals.
        splits: what was found, by split.
        dense_is_parent: whether the dense control is the encoder that the base model was converted
            from.
        paraphrases: the search for paraphrases in each further test set that has some.
        searches: the sets that were searched in, by name.
        margin: `compare.margin`.
        recalibration: what is left of the error on test once validation has set the scale; empty
            where one of the two splits is missing, and in evidence of earlier versions.
        suite: test beside the further test sets; None where there are none.
    """

    confidence: float
    splits: dict[str, SplitComparison]
    dense_is_parent: bool = False
    paraphrases: dict[str, RetrievalComparison] = field(default_factory=dict)
    searches: dict[str, SearchComparison] = field(default_factory=dict)
    margin: float | None = None
    recalibration: tuple[Recalibration, ...] = ()
    suite: Suite | None = None

    def headlines(self) -> dict[str, float]:
        """What `dvc metrics show` lists, all of Spearman on test: the interval of fine-tuned minus
        base, and fine-tuned minus what gives that its size.

        That is the dense encoder where there is one (`over_dense`), else the best score by words
        alone (`over_words`).
        """
        test = self.splits["test"]
        gain = test.spearman.gain
        found = {"gain_low": gain.low, "gain_high": gain.high}
        reference = test.reference
        if reference is not None:
            name = "over_dense" if reference.name == DENSE else "over_words"
            found[name] = reference.spearman_gain.value
        return found

    def content(self) -> dict[str, Any]:
        """All of it, as JSON takes it."""
        return asdict(self)

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> "Comparison":
        """Read what `content` gave.

        Raises:
            pydantic.ValidationError: it is of another version.
        """
        return TypeAdapter(cls).validate_python(content)
