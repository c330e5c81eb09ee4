"""The tables of the report, from a comparison."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from splade_sts import layout
from splade_sts.comparison.evidence import (
    Change,
    Comparison,
    Found,
    GenreResult,
    Level,
    Mean,
    Part,
    RetrievalChange,
    RetrievalComparison,
    SplitComparison,
    Suite,
    gain_left,
)
from splade_sts.comparison.margin import verdict
from splade_sts.comparison.randomisation import Test
from splade_sts.comparison.retrieval import MINIMUM_GROUPS, WITH_MARGIN
from splade_sts.comparison.simultaneous import PartGain
from splade_sts.comparison.slices import MINIMUM_SLICE
from splade_sts.comparison.statistics import Correlations, Estimate
from splade_sts.controls.scores import DENSE
from splade_sts.data.pairs import MINIMUM_PAIRS
from splade_sts.evaluation.results import MEASURES, RELEVANT
from splade_sts.report import names


@dataclass(frozen=True)
class Section:
    """A table: its title, how to read it, the names of its columns and its cells.

    The first `labels` columns are text, the others numbers.
    """

    title: str
    reading: str
    columns: list[str]
    rows: list[list[str]]
    labels: int


def sections(comparison: Comparison) -> list[Section]:
    """Every table that has rows, in the order of the report; one with a percentile interval in it
    says so.
    """
    found = [
        numbers(comparison),
        *(suite_sections(comparison.suite, comparison.confidence) if comparison.suite else ()),
        against_words(comparison),
        without_seen(comparison),
        shared_sentences(comparison),
        calibration(comparison),
        recalibration(comparison),
        calibration_by_gold(comparison),
        retrieval(comparison),
        *all_slices(comparison),
    ]
    return [_with_note(section) for section in found if section.rows]


def _with_note(section: Section) -> Section:
    marked = any(names.PERCENTILE_MARK in cell for row in section.rows for cell in row)
    return (
        replace(section, reading=f"{section.reading} {names.PERCENTILE_NOTE}")
        if marked
        else section
    )


def numbers(comparison: Comparison) -> Section:
    """Every metric of both models, with the intervals of the changes of correlations."""
    return Section(
        "Numbers",
        "Pearson and Spearman are correlations of the cosine similarity with the gold score. "
        "Active dims is the mean number "
        "of vocabulary entries that are not zero in a sentence's vector: fewer are cheaper to "
        "store and search. FLOPs of a "
        "pair is how many multiplications its score is expected to take. Index bytes is what a "
        "sentence takes in an inverted "
        "index of 8 bytes a posting, uncompressed. The interval of a change comes from a paired "
        "bootstrap over the pairs "
        "(BCa): a change whose interval holds zero may be chance. p is that of a paired "
        "randomisation test: how often a change is at least as large where the two models' scores "
        "of a pair are swapped at random. No p is smaller than its resamples can say. The "
        "checkpoint was chosen on validation; test played no part in it.",
        [
            "split",
            "metric",
            "base",
            "fine-tuned",
            "change",
            f"{names.percent(comparison.confidence)} interval",
            "p",
        ],
        [
            [split, *row]
            for split, values in comparison.splits.items()
            for row in _metric_rows(values)
        ],
        labels=2,
    )


def _metric_rows(values: SplitComparison) -> Iterator[list[str]]:
    for name in layout.COEFFICIENTS:
        change: Change = getattr(values, name)
        test: Test = getattr(values, f"{name}_test")
        both = [f"{model.value:.4f}" for model in (change.base, change.finetuned)]
        p = names.p_value(test).removeprefix("p ").removeprefix("= ")
        yield [names.METRICS[name], *both, *_estimate(change.gain, "+"), p]
    base, finetuned = values.base, values.finetuned
    pairs = {
        "active_dims": (base.metrics.active_dims, finetuned.metrics.active_dims),
        "sparsity_ratio": (base.metrics.sparsity_ratio, finetuned.metrics.sparsity_ratio),
        "flops": (base.cost.flops, finetuned.cost.flops),
        "index_bytes": (base.cost.index_bytes, finetuned.cost.index_bytes),
    }
    for metric, (before, after) in pairs.items():
        change_text = names.number(metric, after - before, "+")
        yield [
            names.METRICS[metric],
            names.number(metric, before),
            names.number(metric, after),
            change_text,
            "",
            "",
        ]


def against_words(comparison: Comparison) -> Section:
    """The controls."""
    level = f"{names.percent(comparison.confidence)} interval"
    reading = (
        "What a pair scores without any encoder, with statistics from train only. The last two "
        "columns are what the fine-tuned model's Spearman adds. Only where all of these intervals "
        "are above zero does it know more than which words and letters are shared."
    )
    rows = [
        [
            split,
            names.CONTROLS[control.name],
            *_estimate(control.spearman),
            *_estimate(control.spearman_gain, "+"),
        ]
        for split, values in comparison.splits.items()
        for control in values.controls
    ]
    if any(
        control.name == "dense"
        for values in comparison.splits.values()
        for control in values.controls
    ):
        reading += (
            " The dense encoder is no control but a reference: what an encoder without sparsity "
            "reaches."
        )
    columns = ["split", "control", "Spearman", level, "fine-tuned minus it", level]
    return Section("Against words alone", reading, columns, rows, labels=2)


def without_seen(comparison: Comparison) -> Section:
    """The whole splits, their pairs with and without sentences that training has seen, and the
    difference of the two gains.
    """
    level = f"{names.percent(comparison.confidence)} interval"
    rows = []
    for split, values in comparison.splits.items():
        parts = [("as published", values.whole), ("seen in train", values.seen)]
        if values.seen.pairs:  # else all of them are unseen, which the first row says
            parts.append(("unseen in train", values.unseen))
        rows += [[split, kind, *_part(part)] for kind, part in parts]
        if values.seen_minus_unseen is not None:
            difference = _estimate(values.seen_minus_unseen.spearman, "+")
            rows.append([split, "seen minus unseen", "", "", "", *difference])
    return Section(
        "Without what training has seen",
        "Spearman. A pair is seen if one of its sentences occurs in train (case, white "
        "space, Unicode form and what nobody sees aside). The last row of a split is by how much "
        "the gain on seen pairs is larger than the gain on unseen ones, with the two parts "
        "resampled independently of each other. A smaller "
        "gain on unseen pairs does not show that sentences were learned by heart: the two parts "
        "also differ in their scores, lengths and sources. What would answer that is a training "
        "without those sentences (data.on_leak: drop_sentences_from_train): its gain on the same "
        "seen pairs beside this one. Parts with fewer than "
        f"{MINIMUM_SLICE} pairs, or scores that hardly vary, have no numbers.",
        ["split", "pairs are", "pairs", "base", "fine-tuned", "change", level],
        rows,
        labels=2,
    )


def shared_sentences(comparison: Comparison) -> Section:
    """Intervals from resampled pairs beside those from resampled clusters of pairs that share
    sentences; none of splits without such pairs.
    """
    level = names.percent(comparison.confidence)
    rows, sizes = [], []
    for split, values in comparison.splits.items():
        found = values.clustered
        if found is None or found.clusters.largest == 1:
            continue
        sizes.append(names.clusters(split, values.pairs, found.clusters))
        for coefficient in layout.COEFFICIENTS:
            plain: Change = getattr(values, coefficient)
            clustered: Change | None = getattr(found.whole, coefficient)
            for name in ("base", "finetuned", "gain"):
                sign = "+" if name == "gain" else ""
                apart = (
                    _estimate(getattr(clustered, name), sign)[1] if clustered is not None else "–"
                )
                label = f"{names.METRICS[coefficient]}, {names.MODELS.get(name, 'change')}"
                rows.append([split, label, *_estimate(getattr(plain, name), sign), apart])
    return Section(
        "Pairs that share sentences",
        "Pairs with a sentence in common are not independent, and neither are pairs that a chain "
        "of such pairs connects. The last column resamples these clusters as a whole (cluster "
        f"bootstrap). Where it is wider, the other one is too narrow. {' '.join(sizes)}",
        [
            "split",
            "what",
            "value",
            f"{level} interval, pairs drawn",
            f"{level} interval, clusters drawn",
        ],
        rows,
        labels=2,
    )


def calibration(comparison: Comparison) -> Section:
    """Mean squared errors, and what is left of them with a straight line fitted on validation."""
    level = f"{names.percent(comparison.confidence)} interval"
    rows = [
        [
            split,
            names.OF_COSINES[model.name],
            *_estimate(model.squared_error),
            *(_estimate(model.finetuned_minus, "+") if model.finetuned_minus else ["", ""]),
        ]
        for split, values in comparison.splits.items()
        if values.calibration is not None
        for model in values.calibration.models
    ]
    return Section(
        "Calibration",
        "Mean squared error of the cosine against the gold score, which runs from 0 to 1. The loss "
        '"cosine" asks for a cosine that is the gold score; "cosent" and "angle" ask for the order '
        "alone. A correlation does not see the difference. A lower error may be a better scale "
        "and no better order: see the next table.",
        ["split", "model", "squared error", level, "fine-tuned minus it", level],
        rows,
        labels=2,
    )


def recalibration(comparison: Comparison) -> Section:
    """What is left of the errors on test once validation has set the scale."""
    level = f"{names.percent(comparison.confidence)} interval"
    rows = [
        [
            names.OF_COSINES[found.name],
            *(f"{one.value:.4f}" for one in (found.plain, found.linear, found.isotonic)),
            *(_estimate(found.finetuned_minus, "+") if found.finetuned_minus else ["", ""]),
        ]
        for found in comparison.recalibration
    ]
    return Section(
        "Calibration: how much is a matter of scale?",
        "Squared error on test: of the cosine, of a straight line that maps it to gold scores, and "
        "of a curve that never falls, both fitted on validation. What a line takes away was a "
        "matter of scale, and costs nothing to have. The last two columns compare what is left.",
        ["model", "cosine", "line", "curve", "fine-tuned minus it, with lines", level],
        rows,
        labels=1,
    )


def calibration_by_gold(comparison: Comparison) -> Section:
    """Mean of cosine - gold in bands of gold scores."""
    level = f"{names.percent(comparison.confidence)} interval"
    found = {
        split: values.calibration
        for split, values in comparison.splits.items()
        if values.calibration is not None
    }
    models = list(dict.fromkeys(model.name for one in found.values() for model in one.models))
    rows = [
        [
            split,
            band.band,
            str(band.pairs),
            *(
                _with_interval(band.bias[name], "+") if name in band.bias else "–"
                for name in models
            ),
        ]
        for split, one in found.items()
        for band in one.bands
    ]
    return Section(
        "Calibration by gold score",
        "Mean of cosine minus gold score in bands of gold scores (% of their range), with its "
        f"{level}: above zero the cosine is too high. Each interval holds by itself. Do "
        "not expect zero at both ends: of pairs that it cannot tell apart, a model whose cosines "
        "are right on average is above the low gold scores and below the high ones, and gold "
        "scores that are off by chance do the same. The picture of reliability goes by the cosine "
        f"and has no such effect. Bands of fewer than {MINIMUM_PAIRS} pairs have no numbers.",
        [
            "split",
            "gold score",
            "pairs",
            *(names.OF_COSINES[name] for name in models),
        ],
        rows,
        labels=2,
    )


def retrieval(comparison: Comparison) -> Section:
    """The searches for paraphrases, then the sets that are searched in."""
    searches = [
        (f"{split}, paraphrases", values.retrieval)
        for split, values in comparison.splits.items()
        if values.retrieval is not None
    ]
    searches += [(f"{name}, paraphrases", found) for name, found in comparison.paraphrases.items()]
    searches += [(name, found.retrieval) for name, found in comparison.searches.items()]
    columns = [
        "search",
        "measure",
        "base",
        "fine-tuned",
        "change",
        f"{names.percent(comparison.confidence)} interval",
    ]
    if comparison.margin is not None:
        columns.append(f"loses less than {comparison.margin:g}")
    rows = [
        [where, names.METRICS[name], *_retrieval(getattr(found, name), comparison.margin)][
            : len(columns)
        ]
        for where, found in searches
        for name in MEASURES
    ]
    return Section(
        "Did it stay a retriever?", _reading(comparison, searches), columns, rows, labels=2
    )


def _reading(comparison: Comparison, searches: list[tuple[str, RetrievalComparison]]) -> str:
    sizes = "; ".join(
        f"{where}: {found.queries} queries in {found.groups} groups, {found.documents} documents"
        for where, found in searches
    )
    dims = "".join(
        f" A document of {name} ({found.source}"
        f"{f' at {found.revision}' if found.revision else ''}) has {found.base_active_dims:.1f} "
        f"active dims with base and {found.finetuned_active_dims:.1f} with fine-tuned."
        for name, found in comparison.searches.items()
    )
    margin = (
        ""
        if comparison.margin is None
        else (
            f" The last column says whether the interval lies above -{comparison.margin:g} "
            "(compare.margin): yes says that the fine-tuned model does not lose that much, no that "
            "it loses at least that much, open that these queries cannot tell. It stands for "
            f"{' and '.join(names.METRICS[name] for name in WITH_MARGIN)} alone."
        )
    )
    return (
        "Fine-tuning on similarity should not cost what the model could do before. Where "
        "paraphrases are searched, every sentence with a partner of gold score "
        f"{RELEVANT:g} and above looks for it among the sentences of the split. That is an easy "
        "search among few sentences of the kind that training saw: where MRR stands near its "
        "ceiling, 1, for both models, it says little, and of other data it says nothing "
        "(evaluate.retrieval_set). The checkpoint was chosen on validation. The "
        "intervals come from a paired bootstrap over groups of queries that depend on the same "
        f"texts (BCa); fewer than {MINIMUM_GROUPS} groups have none.{margin} Searched were: "
        f"{sizes}.{dims}"
    )


def _retrieval(change: RetrievalChange, margin: float | None) -> list[str]:
    models = [f"{change.base:.4f}", f"{change.finetuned:.4f}"]
    if change.gain is None:
        return [*models, f"{change.finetuned - change.base:+.4f}", "–", ""]
    if margin is None or change.not_inferior is None:
        said = ""
    elif change.not_inferior:
        said = "yes"
    else:
        found = verdict(change.gain.low, change.gain.high, margin)
        said = "no" if found == "inferior" else "open"
    return [*models, *_estimate(change.gain, "+"), said]


def all_slices(comparison: Comparison) -> list[Section]:
    """The slices of each split that have enough pairs; the first table says how to read all."""
    level = names.percent(comparison.confidence)
    reading = (
        "Spearman within a part of the pairs. Compare along a row, not between rows: within a "
        "band of gold scores every correlation is lower because the scores vary less. The "
        f"intervals of all rows hold together: with {level} confidence every one of them holds its "
        "true change. Numbers have the digits that the resamples of an interval carry."
    )
    found: list[Section] = []
    for split, values in comparison.splits.items():
        rows = [
            [names.SLICES[part.by], part.name, str(part.pairs), *_slice(part.spearman)]
            for part in values.slices
            if part.spearman is not None
        ]
        columns = ["by", "slice", "pairs", "base", "fine-tuned", "change"]
        columns.append(f"{level} interval, all together")
        how = reading if not found else "Read as the slices above."
        if rows:
            said = f"{how}{silent(values)}"
            found.append(Section(f"Slices of {split}", said, columns, rows, labels=2))
    return found


# What of a suite is a difference of two correlations.
SIGNED = ("gain", "over_dense")
# The levels of a suite that leave something out, and what of train they leave out.
WITHOUT: dict[Level, str] = {"without_pairs": "pairs", "without_sentences": "sentences"}


def suite_sections(suite: Suite, confidence: float) -> tuple[Section, ...]:
    """All models on all test sets; the same without what train holds; with clusters drawn; each
    genre by itself.
    """
    return (
        _test_sets(suite, names.percent(confidence)),
        *(_without_train(suite, level) for level in WITHOUT),
        _clusters_of_sets(suite, names.percent(confidence)),
        _genres(suite),
    )


def _models_of(suite: Suite) -> dict[str, str]:
    """What is found on some set, with its name."""
    every = {
        **names.MODELS,
        **({suite.words: names.CONTROLS[suite.words]} if suite.words else {}),
        DENSE: names.CONTROLS[DENSE],
        "gain": "change",
        "over_dense": f"fine-tuned minus {names.CONTROLS[DENSE]}",
    }
    sets = suite.levels["all"].sets.values()
    return {key: name for key, name in every.items() if any(key in one.found for one in sets)}


def _means(suite: Suite) -> tuple[dict[Mean, str], str]:
    """Every mean with its name, and a sentence for each but the first on what it is over."""
    over = {which: one.sets for which, one in suite.levels["all"].means.items()}
    if len(over) < 2:
        return dict.fromkeys(over, "mean"), ""
    said: dict[Mean, str] = {}
    sentences = ""
    for which, sets in over.items():
        kind: dict[Mean, str] = {"all": "all ", "usual": "the usual ", "enough": ""}
        said[which] = f"mean of {kind[which]}{len(sets)}"
        if which == "usual":
            sentences += f" The usual {len(sets)} are {', '.join(sets)}."
        if which == "enough":
            sentences += f" {len(sets)} sets have numbers in all three tables: {', '.join(sets)}."
    return said, sentences


def _suite_rows(suite: Suite, level: Level) -> Iterator[tuple[str, str, Found, Found]]:
    """Every set and mean: its name, its pairs, what is found at a level and what on all pairs."""
    whole, found = suite.levels["all"], suite.levels[level]
    for name, one in found.sets.items():
        pairs = whole.sets[name].pairs
        left_out = pairs - one.pairs
        size = (
            str(pairs)
            if level == "all"
            else f"{left_out} of {pairs} ({100 * left_out / pairs:.0f} %)"
        )
        yield name, size, one.found, whole.sets[name].found
    for which, name in _means(suite)[0].items():
        yield name, "", found.means[which].found, whole.means[which].found


def _test_sets(suite: Suite, level: str) -> Section:
    models = _models_of(suite)
    words = (
        f"{names.CONTROLS[suite.words]} is the best score without an encoder on validation. "
        if suite.words
        else ""
    )
    return Section(
        "Test sets",
        f"Spearman, all pairs of a set together as MTEB has it, with {level} intervals. A set is "
        "resampled by itself, with the same pairs for all models; a mean gives each set the same "
        f"weight, within each resample.{_means(suite)[1]} These are other resamples than those of "
        "the table above, so the last digit of an interval of test may differ. Nothing was chosen "
        f"by these sets. {words}Where train shares pairs or sentences with a set, its numbers are "
        "no fair comparison with models that did not see them: see the next table.",
        ["set", "pairs", *models.values()],
        [
            [name, size, *(_suite_cell(found.get(key), key) for key in models)]
            for name, size, found, _ in _suite_rows(suite, "all")
        ],
        labels=1,
    )


def _without_train(suite: Suite, level: Level) -> Section:
    kind = WITHOUT[level]
    which = {
        "pairs": "The same without the pairs that stand in train, in either order (case, white "
        "space, Unicode form and what nobody sees aside).",
        "sentences": "The same without all pairs a sentence of which occurs in train, in any pair.",
    }[kind]
    models = _models_of(suite)
    rows = []
    for name, size, found, whole in _suite_rows(suite, level):
        share = gain_left(whole, found)
        cells = [_suite_cell(found.get(key), key) for key in models]
        rows.append([name, size, *cells, "–" if share is None else f"{100 * share:.0f} %"])
    return Section(
        f"Test sets without {kind} of train",
        f'{which} "Of the change" says how much is left of the change of all pairs, where the '
        "interval of that is above zero. What is left also differs in scores, lengths and sources. "
        f"A set of which fewer than {MINIMUM_SLICE} pairs are left, but not all, has no numbers, "
        "and neither has a mean that it is in. The rows that are left out stand in "
        f"{layout.evidence('comparison')}.",
        ["set", "left out", *models.values(), "of the change"],
        rows,
        labels=1,
    )


def _clusters_of_sets(suite: Suite, level: str) -> Section:
    """Only sets in which pairs share sentences; and the means, where there is such a set."""
    models = {
        key: name
        for key, name in _models_of(suite).items()
        if key in ("finetuned", "gain", "over_dense")
    }
    kinds: dict[Level, str] = {"all": "all", "without_pairs": "no pairs of train"}
    kinds["without_sentences"] = "no sentences of train"
    rows, few = [], []

    def cells(found: Found, clustered: Found) -> Iterator[str]:
        for key in models:
            sign = "+" if key in SIGNED else ""
            yield _suite_cell(found.get(key), key)
            yield _estimate(clustered[key].spearman, sign)[1] if key in clustered else "–"

    for at, kind in kinds.items():
        result = suite.levels[at]
        shared = {
            name: (one, one.clustered)
            for name, one in result.sets.items()
            if one.clustered is not None and one.clustered.clusters.largest > 1
        }
        for name, (one, apart) in shared.items():
            size = f"{apart.clusters.number} (like {apart.clusters.effective:.0f})"
            rows.append([kind, name, size, *cells(one.found, apart.found)])
            if not apart.clusters.enough:
                few.append(f"{name} ({kind})")
        for which, name in _means(suite)[0].items():
            mean = result.means[which]
            if {*mean.sets} & {*shared}:
                rows.append([kind, name, "", *cells(mean.found, mean.clustered)])
    trust = f" {names.too_few(few)} So may be those of the means over them." if few else ""
    return Section(
        "Test sets: pairs that share sentences",
        "Pairs with a sentence in common are not independent, and neither are pairs that a chain "
        "of such pairs connects. Beside each interval from resampled pairs stands the one from "
        f"these clusters, resampled as a whole (cluster bootstrap, {level}). Where it is wider, "
        "the other one is too narrow. In brackets: as how many clusters of equal size they "
        f"count.{trust} Those of the other models stand in {layout.evidence('comparison')}.",
        [
            "pairs",
            "set",
            "clusters",
            *(column for name in models.values() for column in (name, "clusters drawn")),
        ],
        rows,
        labels=2,
    )


def _genres(suite: Suite) -> Section:
    models = {key: name for key, name in _models_of(suite).items() if key not in SIGNED}
    return Section(
        "Genres of test sets",
        "Spearman within each genre. Published tables of MTEB take all pairs of a set together, as "
        "the table of test sets does; older ones average over genres, which gives other numbers.",
        ["set", "genre", "pairs", *models.values()],
        [
            [name, genre, str(found.pairs), *(_genre_cell(found, key) for key in models)]
            for name, by_genre in suite.genres.items()
            for genre, found in by_genre.items()
        ],
        labels=2,
    )


def _suite_cell(found: Correlations | None, key: str) -> str:
    if found is None:
        return "–"
    return _with_interval(found.spearman, "+" if key in SIGNED else "")


def _genre_cell(found: GenreResult, key: str) -> str:
    return f"{found.found[key]['spearman']:.4f}" if key in found.found else "–"


def silent(values: SplitComparison) -> str:
    """Which slices say nothing, and why."""
    found = [
        f"{part.by} {part.name} ({part.pairs})" for part in values.slices if part.spearman is None
    ]
    if not found:
        return ""
    return (
        f" Left out, with fewer than {MINIMUM_SLICE} pairs or scores that do not vary: "
        f"{', '.join(found)}."
    )


def _slice(gain: PartGain) -> list[str]:
    form = f".{names.decimals(gain.error)}f"
    models = [format(value, form) for value in (gain.base, gain.finetuned)]
    return [*models, format(gain.gain, f"+{form}"), " to ".join(names.ends(gain, "+"))]


def _part(part: Part) -> list[str]:
    if part.spearman is None:
        return [str(part.pairs), "–", "–", "–", "–"]
    change = part.spearman
    models = [f"{model.value:.4f}" for model in (change.base, change.finetuned)]
    return [str(part.pairs), *models, *_estimate(change.gain, "+")]


def _estimate(estimate: Estimate, sign: str = "") -> list[str]:
    interval = " to ".join(names.ends(estimate, sign)) + names.mark(estimate)
    return [f"{estimate.value:{sign}.4f}", interval]


def _with_interval(estimate: Estimate, sign: str = "") -> str:
    value, interval = _estimate(estimate, sign)
    return f"{value} ({interval})"
