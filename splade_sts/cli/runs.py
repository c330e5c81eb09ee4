"""Commands about runs: pareto, regression, runs, seeds, verify."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from splade_sts import layout, params
from splade_sts.cli.arguments import RUNS, Commands, json_argument, run_arguments, share
from splade_sts.errors import UserError

if TYPE_CHECKING:
    from splade_sts.runs.record import Record
    from splade_sts.runs.scores import SplitScores, Without
    from splade_sts.runs.seeds import SeedSummary
    from splade_sts.runs.settings import Settings
    from splade_sts.runs.source import RunFiles


def add_to(commands: Commands) -> None:
    """Add the commands of this module.

    Args:
        commands: what they are added to.
    """
    json, named, files = json_argument(), run_arguments(), pareto_arguments()
    commands.add(pareto, named, files, json)
    command = commands.add(regression, json)
    command.add_argument("run", help="a DVC experiment, or a Git revision with committed results")
    command.add_argument(
        "--against", required=True, metavar="RUN", help="the run that it may not fall below"
    )
    command = commands.add(runs)
    command.add_argument("run", nargs="*", help=f"{RUNS}; without any: all")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    command = commands.add(seeds, named, json)
    command.add_argument(
        "--against",
        nargs="+",
        metavar="RUN",
        help="runs of another setting with the same seeds; or base, or dense (the dense encoder)",
    )
    command.add_argument(
        "--margin",
        type=share,
        help="with --against, the largest loss in Spearman that does not matter (compare.margin)",
    )
    command.add_argument(
        "--on",
        action="append",
        metavar="SET",
        help="a set to show beside validation (test); give it several times for several sets",
    )
    command.add_argument(
        "--without",
        choices=("pairs", "sentences"),
        help="leave out the pairs that stand in train, or of which a sentence occurs in train",
    )
    commands.add(verify)


def pareto_arguments() -> argparse.ArgumentParser:
    """Where a comparison by quality and cost goes."""
    files = argparse.ArgumentParser(add_help=False)
    files.add_argument(
        "--output",
        default="pareto",
        help="folder for pareto.md, pareto.json and pareto.png (pareto)",
    )
    return files


def pareto(arguments: argparse.Namespace) -> None:
    """Compare runs by quality and cost (active dims, FLOPs, index bytes): tables, JSON and picture,
    with those marked that no other beats in both, and what each of them gains over the next cheaper
    one.
    """
    compare_runs(arguments.run, arguments.output, arguments.json)


def compare_runs(names: list[str], folder: str, json: bool) -> None:
    """Print what `splade_sts.runs.pareto` finds of DVC experiments or Git revisions, and write
    its files.

    Args:
        names: the runs.
        folder: where the files go.
        json: print JSON instead.
    """
    from splade_sts.comparison.statistics import Bootstrap
    from splade_sts.runs.experiments import open_runs, read_records
    from splade_sts.runs.pareto import JUDGED, points
    from splade_sts.runs.pareto_view import as_json, as_text, write
    from splade_sts.runs.record import COMPARISON, not_in_cache
    from splade_sts.runs.scores import read_controls, read_predictions

    root = layout.project_root()
    bootstrap = Bootstrap.of(params.load(root / layout.PARAMS).compare)
    opened = open_runs(root, names)
    runs = read_records(opened, cached=(COMPARISON,))
    if bare := [name for name, record in runs.items() if record.comparison is None]:
        missing = not_in_cache([f"{COMPARISON} of {', '.join(bare)}"])
        print(f"{missing}; their points have no intervals", file=sys.stderr)
    found = points(
        runs,
        lambda run, model: read_predictions(opened[run], model, JUDGED),
        lambda run: read_controls(opened[run], JUDGED),
        bootstrap,
    )
    write(found, Path(folder))
    if json:
        print(as_json(found))
    else:
        print(f"{as_text(found)}\n\nwritten to {folder}: pareto.md, pareto.json, pareto.png")


def regression(arguments: argparse.Namespace) -> None:
    """Compare the fine-tuned models of two runs by test Spearman, with the paired bootstrap over
    the same pairs; fails where the whole interval of the difference lies below 0.
    """
    from splade_sts.comparison.statistics import Bootstrap
    from splade_sts.runs.regression import as_json, as_text
    from splade_sts.runs.regression import regression as compare

    root = layout.project_root()
    bootstrap = Bootstrap.of(params.load(root / layout.PARAMS).compare)
    found = compare(root, arguments.run, arguments.against, bootstrap)
    print(as_json(found) if arguments.json else as_text(found))
    if found.fell:
        raise UserError(
            f"{arguments.run} is worse than {arguments.against}: the interval of the difference in "
            "test Spearman lies below 0"
        )


def runs(arguments: argparse.Namespace) -> None:
    """List runs, experiments and commits: what differs, validation and test Spearman, active dims,
    FLOPs, and whether the gain is more than chance.
    """
    from splade_sts.runs.record import COMPARISON, not_in_cache
    from splade_sts.runs.table import as_csv, as_json, as_text, table

    found = table(layout.project_root(), arguments.run)
    for name, why in found.left_out.items():
        print(f"{name} is left out: {why}", file=sys.stderr)
    if bare := found.without_evidence:
        print(not_in_cache([f"{COMPARISON} of {', '.join(bare)}"]), file=sys.stderr)
    if arguments.json:
        print(as_json(found))
    else:
        print(as_csv(found) if arguments.csv else as_text(found), end="" if arguments.csv else "\n")


def seeds(arguments: argparse.Namespace) -> None:
    """Sum up runs that differ in train.seed alone: every seed, their mean, standard deviation, and
    intervals over seeds, and over seeds and pairs. With --against, compare them with another
    setting of the same seeds, with their base model or with the dense encoder.
    """
    from splade_sts.runs.seeds_view import as_json, settings_text, summary_text

    if arguments.margin is not None and not arguments.against:
        raise UserError("--margin is for a comparison: name what to compare with, --against RUN…")
    if arguments.against:
        compared = compare_seeds(arguments)
        print(as_json(compared) if arguments.json else settings_text(compared))
    else:
        summary = sum_up_seeds(arguments)
        print(as_json(summary) if arguments.json else summary_text(summary))


def sum_up_seeds(arguments: argparse.Namespace) -> "SeedSummary":
    """The runs of `seeds`, summed up; without intervals over pairs where DVC's cache lacks the
    predictions, which is said.
    """
    from splade_sts.comparison.statistics import Bootstrap
    from splade_sts.runs.experiments import open_runs
    from splade_sts.runs.scores import NotInCacheError, SplitScores, read_scores
    from splade_sts.runs.seeds import check_only_seeds_differ, summarize

    root = layout.project_root()
    bootstrap = Bootstrap.of(params.load(root / layout.PARAMS).compare)
    opened = open_runs(root, arguments.run)
    records = records_of_seeds(opened)
    check_only_seeds_differ(records)
    scores: dict[str, SplitScores | None] = {}
    for split in reported(arguments.on):
        try:
            scores[split] = read_scores(opened, split)
        except NotInCacheError as error:
            if arguments.without:
                raise
            print(f"{error}; {split} has no interval over pairs", file=sys.stderr)
            scores[split] = None
    if arguments.without:
        there = {split: [one] for split, one in scores.items() if one is not None}
        left = left_without(there, [opened], arguments.without)
        scores = {split: one for split, (one,) in left.items()}
    return summarize(records, scores, bootstrap, arguments.without)


def compare_seeds(arguments: argparse.Namespace) -> "Settings":
    """The runs of `seeds` against another setting, or a model that they have in common."""
    from splade_sts.comparison.statistics import Bootstrap
    from splade_sts.runs.experiments import open_runs
    from splade_sts.runs.scores import read_scores
    from splade_sts.runs.seeds import check_only_seeds_differ
    from splade_sts.runs.settings import MODELS, compare_settings, compare_with_model, paired

    root = layout.project_root()
    compare = params.load(root / layout.PARAMS).compare
    bootstrap = Bootstrap.of(compare)
    margin = compare.margin if arguments.margin is None else arguments.margin
    model = next((one for one in MODELS if one in arguments.against), None)
    if model is not None and len(arguments.against) > 1:
        raise UserError(
            f"--against {' '.join(arguments.against)}: {model} is a model that the runs before it "
            f"have in common; name it alone (--against {model}), or leave it out and name the runs "
            "of one other setting"
        )
    opened, splits = open_runs(root, arguments.run), reported(arguments.on)
    records = records_of_seeds(opened)
    if model is not None:
        check_only_seeds_differ(records)
        alone = {split: [read_scores(opened, split)] for split in splits}
        left = left_without(alone, [opened], arguments.without)
        found = {split: one for split, (one,) in left.items()}
        return compare_with_model(records, model, found, bootstrap, margin, arguments.without)
    others = open_runs(root, arguments.against)
    second = paired(records, records_of_seeds(others))
    others = {name: others[name] for name in second}
    both = {split: [read_scores(opened, split), read_scores(others, split)] for split in splits}
    left = left_without(both, [opened, others], arguments.without)
    pairs = {split: (one, other) for split, (one, other) in left.items()}
    return compare_settings(records, second, pairs, bootstrap, margin, arguments.without)


def left_without(
    found: "Mapping[str, Sequence[SplitScores]]",
    settings: "Sequence[Mapping[str, RunFiles]]",
    without: "Without | None",
) -> "dict[str, list[SplitScores]]":
    """The scores of each split without the pairs that train of one of `settings` holds; a split of
    which too little is left is not there, which is said.

    Raises:
        UserError: none is left, or it is not known what train holds.
    """
    from splade_sts.runs.scores import TooFewError, left_of, read_train

    if without is None:
        return {split: [*scores] for split, scores in found.items()}
    trains = [read_train(opened) for opened in settings]
    left, few = {}, []
    for split, scores in found.items():
        try:
            left[split] = [one.select(left_of(split, one.pairs, trains, without)) for one in scores]
        except TooFewError as error:
            few.append(str(error))
    if not left:
        raise UserError("\n".join(few))
    for one in few:
        print(f"{one}; it is not shown", file=sys.stderr)
    return left


def records_of_seeds(opened: Mapping[str, "RunFiles"]) -> dict[str, "Record"]:
    """The records of runs; says of which ones the precision of the training is not known."""
    from splade_sts.runs.experiments import read_records
    from splade_sts.runs.record import COMPARISON, TRAINING, not_in_cache
    from splade_sts.runs.seeds import unknown_precision

    records = read_records(opened, cached=(COMPARISON, TRAINING))
    if unknown := unknown_precision(records):
        missing = not_in_cache([f"{TRAINING} of {', '.join(unknown)}"])
        print(
            f"{missing}; whether all trained in one precision is not known (train.precision: auto)",
            file=sys.stderr,
        )
    return records


def reported(named: Sequence[str] | None) -> tuple[str, ...]:
    """Validation, where runs are chosen, and the sets that are named; test without any."""
    return tuple(dict.fromkeys(("validation", *(named or ("test",)))))


def verify(arguments: argparse.Namespace) -> None:
    """Re-run the pipeline in a clean clone of HEAD and say, output by output, whether the committed
    dvc.lock came out.
    """
    from splade_sts.runs.verify import reproduced
    from splade_sts.text import markdown_table

    found = reproduced(layout.project_root())
    print(
        markdown_table(
            ["stage", "output", "result"],
            [[one.stage, one.path, one.result] for one in found],
            labels=3,
        )
    )
    different = sum(one.result != "reproduced" for one in found)
    if different:
        raise UserError(
            f"{different} of {len(found)} outputs were not reproduced; docs/reproducibility.md "
            "says what they depend on"
        )
    print(f"all {len(found)} outputs of the committed dvc.lock were reproduced")
