"""What people see of runs over seeds: tables, sentences and JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from splade_sts.comparison.margin import Verdict
from splade_sts.report import names
from splade_sts.runs.naming import shown
from splade_sts.runs.seeds import MetricSummary, SeedSummary
from splade_sts.runs.settings import Difference, Settings
from splade_sts.text import paragraph, printed_json, terminal_table

MODELS = {"base": "base model", "dense": "dense encoder"}
NOTHING = "no parameter, nor in data, base model or precision"


def as_json(found: SeedSummary | Settings) -> str:
    """All of it: the fields of `SeedSummary` or `Settings`."""
    return printed_json(asdict(found))


def summary_text(found: SeedSummary) -> str:
    """What comes out over seeds, how to read it, and every run by itself."""
    percent = names.percent(found.confidence)
    headers = ["", "base", "dense\nencoder", "fine-tuned\nmean", "sd"]
    headers += [f"{percent}\nover seeds", f"{percent} over\nseeds and pairs"]
    headers.append(f"{percent} over\nseeds and clusters")
    rows = [_summary(name, one) for name, one in found.metrics.items()]
    headers, rows = without_empty_last(headers, rows)
    return "\n\n".join(
        [
            terminal_table(headers, rows),
            paragraph(
                f"The result is the mean over {len(found.seeds)} seeds, whichever of them did "
                "best. Its interval over seeds is for other seeds on the same pairs (Student's t); "
                "that over seeds and pairs is for other seeds on other pairs."
            ),
            *_counted(found),
            *_every_run(found),
        ]
    )


def _summary(name: str, found: MetricSummary) -> list[str]:
    _, metric = _parts(name)

    def number(value: float | None) -> str:
        return "–" if value is None else names.number(metric, value)

    return [
        _named(name),
        *map(number, (found.base, found.dense, found.mean, found.sd)),
        f"{number(found.low)} to {number(found.high)}",
        "–" if found.both is None else " to ".join(names.ends(found.both)),
        "" if found.clustered is None else " to ".join(names.ends(found.clustered)),
    ]


def without_empty_last(
    headers: list[str], rows: list[list[str]]
) -> tuple[list[str], list[list[str]]]:
    """Without the last column, where it is empty."""
    if any(row[-1] for row in rows):
        return headers, rows
    return headers[:-1], [row[:-1] for row in rows]


def _counted(found: SeedSummary | Settings) -> Iterator[str]:
    """Which pairs count, and how they hang together."""
    if found.without is not None:
        sizes = [
            f"{split} {one.pairs} of {one.pairs + (one.left_out or 0)}"
            for split, one in found.pairs.items()
        ]
        what = {
            "pairs": "that stand in train, in either order",
            "sentences": "of which a sentence occurs in train",
        }[found.without]
        yield paragraph(f"Without the pairs {what}. Left are: {', '.join(sizes)}.")
    shared = {split: one for split, one in found.pairs.items() if one.clusters.largest > 1}
    if shared:
        sizes = [names.clusters(split, one.pairs, one.clusters) for split, one in shared.items()]
        yield paragraph(
            "Over seeds and clusters: pairs that share sentences, or hang together by a chain of "
            f"such pairs, are drawn together. {' '.join(sizes)}"
        )


def _every_run(found: SeedSummary) -> Iterator[str]:
    """A table for each split, with a row for each run."""
    splits: dict[str, dict[str, MetricSummary]] = {}
    for name, one in found.metrics.items():
        split, metric = _parts(name)
        splits.setdefault(split, {})[metric] = one
    for split, metrics in splits.items():
        headers = [f"{split}, every run", *(names.METRICS[metric] for metric in metrics)]
        rows = [
            [run, *(names.number(metric, one.values[name]) for metric, one in metrics.items())]
            for name, run in zip(found.seeds, _runs(found.seeds), strict=True)
        ]
        yield terminal_table(headers, rows)


def _parts(name: str) -> tuple[str, str]:
    """`test.spearman` as split and metric."""
    split, metric = name.rsplit(".", 1)
    return split, metric


def _named(name: str) -> str:
    split, metric = _parts(name)
    return f"{split} {names.METRICS[metric]}"


def _runs(seeds: Mapping[str, int]) -> list[str]:
    return [f"{name} (seed {seed})" for name, seed in seeds.items()]


def settings_text(found: Settings) -> str:
    """What was compared, a table of the differences, and what they say of the margin."""
    percent = names.percent(found.confidence)
    first, second = "first setting", "second setting"
    if isinstance(found.second, str):
        first, second = "fine-tuned model", MODELS[found.second]
        compared = [f"{first}: {', '.join(_runs(found.first))}"]
    else:
        differs = [f"{name} ({shown(a)} and {shown(b)})" for name, (a, b) in found.differs.items()]
        compared = [
            f"{first}: {', '.join(_runs(found.first))}",
            f"{second}: {', '.join(_runs(found.second))}",
            f"they differ in: {', '.join(differs) or NOTHING}",
        ]
    headers = ["", *(name.replace(" ", "\n") for name in (first, second)), "difference"]
    headers += [f"{percent} interval", "over"]
    headers.append(f"{percent} over\nseeds and clusters")
    rows = [_difference(name, one) for name, one in found.metrics.items()]
    said = []
    for name, one in found.metrics.items():
        if found.margin is None or one.verdict is None:
            continue
        sentence = f"{_named(name)}: {_said(one.verdict, found.margin, first, second)}."
        if one.clustered_verdict not in (None, one.verdict):
            other = _said(one.clustered_verdict, found.margin, first, second)
            sentence += f" With clusters drawn, {other}."
        said.append(sentence)
    table = terminal_table(*without_empty_last(headers, rows))
    return "\n\n".join([*map(paragraph, compared), table, *_counted(found), *map(paragraph, said)])


def _difference(name: str, found: Difference) -> list[str]:
    _, metric = _parts(name)
    if found.both is None:
        low, high = (names.number(metric, end, "+") for end in (found.low, found.high))
    else:
        low, high = names.ends(found.both, "+")
    return [
        _named(name),
        *(names.number(metric, value) for value in (found.first, found.second)),
        names.number(metric, found.value, "+"),
        f"{low} to {high}",
        "seeds" if found.both is None else "seeds and pairs",
        "" if found.clustered is None else " to ".join(names.ends(found.clustered, "+")),
    ]


def _said(found: Verdict, margin: float, first: str, second: str) -> str:
    """One sentence about the margin, without its full stop."""
    first, second = f"the {first}", f"the {second}"
    return {
        "superior": f"{first} is better than {second} by more than {margin:g}: the interval holds "
        "no smaller gain",
        "equivalent": f"{first} and {second} are equivalent within {margin:g}: the interval holds "
        "no difference as large as that",
        "not inferior": f"{first} is not inferior to {second} within {margin:g}: the interval "
        "holds no loss as large as that",
        "inferior": f"{first} is worse than {second} by more than {margin:g}: the interval holds "
        "no smaller loss",
        "not shown": f"it is not shown that {first} is not inferior to {second} within {margin:g}: "
        "the interval holds larger losses",
    }[found]
