"""The table of runs: what each is, what differs, and what came out."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from splade_sts import layout
from splade_sts.comparison.statistics import Estimate
from splade_sts.controls.scores import DENSE
from splade_sts.errors import UserError
from splade_sts.git import git
from splade_sts.report import names
from splade_sts.runs.experiments import experiments
from splade_sts.runs.naming import assignments, label, usual_values
from splade_sts.runs.record import COMPARISON, FREE_PARAMS, Record, collect
from splade_sts.runs.source import RunFiles
from splade_sts.text import paragraph, printed_json, terminal_table

MOST_COMMITS = 20
HOW_TO_READ = (
    "Spearman of the fine-tuned model; the gain is over the base model; dims (active dims) and "
    "FLOPs (of a pair) are on test."
)
# What the interval of the gain says.
VERDICTS = {
    "raised": "Fine-tuning raised test Spearman",
    "lowered": "Fine-tuning lowered test Spearman",
    "no significant difference": "No significant difference in test Spearman",
}


@dataclass(frozen=True)
class Row:
    """A run.

    Attributes:
        run: name of the DVC experiment, or the commit.
        differs: its values of the parameters in which the shown runs differ.
        validation_spearman: of the fine-tuned model.
        test_spearman: the same on test, the number to report; `low` and `high` bound it (`error`
            and `method` as of `Estimate`), None where its evidence is not in DVC's cache.
        dense: test Spearman of the dense encoder that stands beside the models, None where there is
            none.
        test_active_dims, test_flops: of the fine-tuned model on test.
        gain: fine-tuned minus base in test Spearman, with its interval `gain_low` to `gain_high`;
            `gain_error` and `gain_method` likewise, None where the evidence is not in the cache.
        verdict: `raised`, `lowered`, or `no significant difference`: whether that interval holds
            zero.
    """

    run: str
    differs: dict[str, Any]
    validation_spearman: float
    test_spearman: float
    low: float | None
    high: float | None
    error: float | None
    method: str | None
    dense: float | None
    test_active_dims: float
    test_flops: float
    gain: float
    gain_low: float
    gain_high: float
    gain_error: float | None
    gain_method: str | None
    verdict: str


@dataclass(frozen=True)
class Table:
    """The runs, newest commit first and then experiments; `left_out` says which have no results of
    this version.
    """

    rows: tuple[Row, ...]
    left_out: dict[str, str]
    without_evidence: tuple[str, ...]


def known_runs(root: Path) -> dict[str, str]:
    """The commits of the current branch that changed dvc.lock, at most `MOST_COMMITS`, and all DVC
    experiments.

    Returns:
        Name to Git revision.
    """
    commits = git(
        root, "rev-list", f"--max-count={MOST_COMMITS}", "HEAD", "--", str(layout.LOCK)
    ).split()
    found = {commit[:7]: commit for commit in commits}
    return found | {name: experiment.revision for name, experiment in experiments(root).items()}


def table(root: Path, names_of_runs: Sequence[str] = ()) -> Table:
    """The table of some runs, or of all `known_runs`.

    Args:
        root: the project's root.
        names_of_runs: DVC experiments and Git revisions; none for all that are known.

    Raises:
        UserError: a run that is named is not there or has no results, or nothing has results.
    """
    known = known_runs(root)
    wanted = {name: known.get(name, name) for name in names_of_runs} or known
    records: dict[str, Record] = {}
    left_out: dict[str, str] = {}
    for name, revision in wanted.items():
        try:
            records[name] = collect(RunFiles.revision(root, revision), cached=(COMPARISON,))
        except FileNotFoundError as error:
            left_out[name] = (
                f"the pipeline has not run to its end there ({error.filename} is missing)"
            )
        except UserError as error:
            left_out[name] = str(error).splitlines()[0]
    if names_of_runs and left_out:
        raise UserError("; ".join(f"{name}: {why}" for name, why in left_out.items()))
    if not records:
        raise UserError(
            "no run has results yet: run dvc repro and commit dvc.lock, params.yaml and metrics, "
            "or run an experiment "
            "with dvc exp run"
        )
    varied = varied_params(list(records.values()))
    rows = tuple(_row(name, record, varied) for name, record in records.items())
    return Table(
        rows, left_out, tuple(name for name, record in records.items() if record.comparison is None)
    )


def varied_params(records: Sequence[Record]) -> list[str]:
    """The parameters in which runs differ, without those that no result depends on."""
    every = sorted(
        {name for record in records for name in record.params if not name.startswith(FREE_PARAMS)}
    )
    return [
        name for name in every if len({repr(record.params.get(name)) for record in records}) > 1
    ]


def _row(name: str, record: Record, varied: list[str]) -> Row:
    metrics = record.metrics
    interval: Estimate | None = None
    of_gain: Estimate | None = None
    if record.comparison is not None:
        test = record.comparison.splits["test"].spearman
        interval, of_gain = test.finetuned, test.gain
    low, high = (metrics[f"comparison.gain_{bound}"] for bound in ("low", "high"))
    return Row(
        run=name,
        differs={key: record.params.get(key) for key in varied},
        validation_spearman=metrics["finetuned.validation.spearman"],
        test_spearman=metrics["finetuned.test.spearman"],
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        error=interval.error if interval else None,
        method=interval.method if interval else None,
        dense=metrics.get(f"controls.test.{DENSE}"),
        test_active_dims=metrics["finetuned.test.active_dims"],
        test_flops=metrics["finetuned.test.flops"],
        gain=metrics["finetuned.test.spearman"] - metrics["base.test.spearman"],
        gain_low=low,
        gain_high=high,
        gain_error=of_gain.error if of_gain else None,
        gain_method=of_gain.method if of_gain else None,
        verdict="raised" if low > 0 else "lowered" if high < 0 else "no significant difference",
    )


def as_text(found: Table) -> str:
    """The table for a terminal, and below it what is the same for all rows."""
    usual = usual_values([row.differs for row in found.rows])
    dense = {row.dense for row in found.rows}
    headers = ["run", "validation", "test Spearman", "gain on test", "dims", "FLOPs"]
    rows = []
    for row in found.rows:
        interval = ""
        if row.low is not None and row.high is not None:
            interval = f" {_interval(row.low, row.high, row.error, row.method)}"
        of_gain = _interval(row.gain_low, row.gain_high, row.gain_error, row.gain_method, "+")
        rows.append(
            [
                label(row.run, row.differs, usual),
                f"{row.validation_spearman:.4f}",
                f"{row.test_spearman:.4f}{interval}",
                f"{row.gain:+.4f} {of_gain}",
                names.number("active_dims", row.test_active_dims),
                f"{row.test_flops:.2f}",
            ]
        )
    if len(dense) > 1:
        headers.append("dense")
        for cells, row in zip(rows, found.rows, strict=True):
            cells.append("–" if row.dense is None else f"{row.dense:.4f}")
    return "\n\n".join(
        [terminal_table(headers, rows), *map(paragraph, _notes(found, usual, dense))]
    )


def _interval(
    low: float, high: float, error: float | None, method: str | None, sign: str = ""
) -> str:
    """With the digits that its resamples carry; where the evidence is missing that would tell,
    three decimals.
    """
    form = f"{sign}.{3 if error is None else names.decimals(error)}f"
    mark = f" {names.PERCENTILE_MARK}" if method == "percentile" else ""
    return f"[{low:{form}}, {high:{form}}]{mark}"


def _notes(found: Table, usual: dict[str, Any], dense: set[float | None]) -> list[str]:
    notes = [HOW_TO_READ]
    if usual:
        notes.append(f"Where the first column names no other value: {assignments(usual)}.")
    if len(dense) == 1:
        notes += [f"The dense encoder has {one:.4f} on test." for one in dense if one is not None]
    for verdict, said in VERDICTS.items():
        if named := [row.run for row in found.rows if row.verdict == verdict]:
            everywhere = len(named) == len(found.rows) > 1
            notes.append(f"{said}: {'all runs' if everywhere else ', '.join(named)}.")
    if any("percentile" in (row.method, row.gain_method) for row in found.rows):
        notes.append(names.PERCENTILE_NOTE)
    return notes


def as_json(found: Table) -> str:
    """`[{run, differs: {parameter: value}, test_spearman, ...}]`."""
    return printed_json([asdict(row) for row in found.rows])


def as_csv(found: Table) -> str:
    """The same with a column for each parameter that differs."""
    rows = []
    for row in found.rows:
        values = asdict(row)
        rows.append({"run": values.pop("run"), **values.pop("differs"), **values})
    content = io.StringIO()
    writer = csv.DictWriter(content, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return content.getvalue()
