"""What people see of runs over seeds: tables, sentences and JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

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
    headers = ["fine-tuned", "base", "dense\nencoder", "mean", "sd"]
    headers += [f"{percent}\nover seeds", f"{percent}\nover seeds and pairs"]
    rows = [_summary(name, one) for name, one in found.metrics.items()]
    return "\n\n".join(
        [
            terminal_table(headers, rows),
            paragraph(
                f"The result is the mean over {len(found.seeds)} seeds, whichever of them did "
                "best. Its interval over seeds is for other seeds on the same pairs (Student's t); "
                "that over seeds and pairs is for other seeds on other pairs."
            ),
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
    ]


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
    headers = ["", first, second, "difference", f"{percent} interval", "over"]
    rows = [_difference(name, one) for name, one in found.metrics.items()]
    said = [
        f"{_named(name)}: {_said(one, found.margin, first, second)}."
        for name, one in found.metrics.items()
        if one.verdict is not None and found.margin is not None
    ]
    return "\n\n".join(
        [*map(paragraph, compared), terminal_table(headers, rows), *map(paragraph, said)]
    )


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
    ]


def _said(found: Difference, margin: float, first: str, second: str) -> str:
    """One sentence about the margin, without its full stop."""
    assert found.verdict is not None
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
    }[found.verdict]
