"""Command line: python -m splade_sts pareto | score | seeds | sweep | sync | ui | verify."""

import argparse
import os
import sys

from splade_sts import params
from splade_sts.errors import UserError, run_command


def sync(arguments: argparse.Namespace) -> None:
    """Write to MLflow what it lacks of the runs that DVC and Git hold."""
    experiment = params.load().tracking.experiment
    from mlflow.exceptions import MlflowException

    from splade_sts.tracking.sync import sync as sync_runs

    try:
        done = sync_runs(arguments.experiment, arguments.branch, experiment)
    except MlflowException as error:
        raise UserError(f"MLflow: {error}. Check MLFLOW_TRACKING_URI, or unset it for the database of this project") from error
    for name, run_id, written in done:
        print(f"{name}: run {run_id} {'written' if written else 'was complete already'}")
    print(f"{sum(written for *_, written in done)} written, {sum(not written for *_, written in done)} complete already")


def ui(arguments: argparse.Namespace) -> None:
    """Start the MLflow UI on 127.0.0.1 with the store of this project."""
    from splade_sts.tracking import store
    from splade_sts.runs.record import project_root

    root = project_root()
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # its workers would outlive the server
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(arguments.port),
        "--backend-store-uri", f"sqlite:///{root / 'mlflow.db'}",
        "--default-artifact-root", (root / "mlartifacts").as_uri(),
    ]
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    _, experiment_id = store.connect(root, params.load().tracking.experiment)
    print(f"MLflow UI: http://127.0.0.1:{arguments.port}{store.runs_page(experiment_id)} (Ctrl-C ends it)", flush=True)
    os.execv(sys.executable, command)


def score(arguments: argparse.Namespace) -> None:
    """Score sentence pairs with a model: cosine, active dims and the terms that the two sentences share."""
    from splade_sts.evaluation.score import as_json, as_text, read_pairs, score_with

    if (len(arguments.sentence) == 2) == bool(arguments.file):
        raise UserError('give two sentences, or --file with a table of pairs: python -m splade_sts score "A" "B"')
    pairs = read_pairs(arguments.file) if arguments.file else [tuple(arguments.sentence)]
    scored = score_with(arguments.model or ["models/finetuned"], pairs)
    print(as_json(scored) if arguments.json else as_text(scored))


def seeds(arguments: argparse.Namespace) -> None:
    """Sum up runs that differ in train.seed alone: every seed, their mean, standard deviation and interval."""
    from splade_sts.runs.seeds import as_json, as_text, seed_summary

    summary = seed_summary(arguments.run, params.load().compare.confidence)
    print(as_json(summary) if arguments.json else as_text(summary))


def sweep(arguments: argparse.Namespace) -> None:
    """Run one DVC experiment for each value of a parameter (each combination, for several), then compare them as `pareto`."""
    from splade_sts.runs.sweep import plan, run_sweep
    from splade_sts.runs.record import project_root

    planned = plan(arguments.assignment)
    failed = run_sweep(project_root(), planned, arguments.jobs if arguments.queue else None)
    done = [experiment.name for experiment in planned if experiment.name not in failed]
    if done:
        compare_runs(done, arguments.output)
    if failed:
        raise UserError(f"{len(failed)} of {len(planned)} experiments failed: {', '.join(failed)}; their output is above")


def pareto(arguments: argparse.Namespace) -> None:
    """Compare runs by quality and sparsity: table, JSON and picture, with those marked that no other beats in both."""
    compare_runs(arguments.run, arguments.output)


def compare_runs(names: list[str], folder: str) -> None:
    """Print the table of `splade_sts.runs.pareto` for DVC experiments or Git revisions, and write its files."""
    from splade_sts.runs.pareto import as_table, points, write
    from splade_sts.runs.seeds import read_run
    from splade_sts.runs.record import project_root

    root = project_root()
    found = points({name: read_run(root, name) for name in names})
    write(found, folder)
    print(f"{as_table(found)}\n\nwritten to {folder}: pareto.md, pareto.json, pareto.png")


def verify(arguments: argparse.Namespace) -> None:
    """Re-run the pipeline in a clean clone of HEAD and say, output by output, whether the committed dvc.lock came out."""
    from tabulate import tabulate

    from splade_sts.runs.record import project_root
    from splade_sts.runs.verify import verify as verify_root

    found = verify_root(project_root())
    print(tabulate(found, headers=("stage", "output", "result"), tablefmt="github"))
    different = sum(result != "reproduced" for *_, result in found)
    if different:
        raise UserError(
            f"{different} of {len(found)} outputs were not reproduced; docs/reproducibility.md says what they depend on"
        )
    print(f"all {len(found)} outputs of the committed dvc.lock were reproduced")


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError
    return count


_count.__name__ = "number"  # for argparse's message


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 2**16:
        raise ValueError
    return port


_port.__name__ = "port"  # for argparse's message


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m splade_sts", description=__doc__)
    commands = parser.add_subparsers(required=True)
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--output", default="pareto", help="folder for pareto.md, pareto.json and pareto.png (pareto)")
    command = commands.add_parser("pareto", help=pareto.__doc__, description=pareto.__doc__, parents=[output])
    command.add_argument("run", nargs="+", help="DVC experiments, or Git revisions with committed results")
    command.set_defaults(function=pareto)
    command = commands.add_parser("score", help=score.__doc__, description=score.__doc__)
    command.add_argument("sentence", nargs="*", help="the two sentences")
    command.add_argument("--file", help="CSV, TSV, JSONL or Parquet file with columns sentence1 and sentence2")
    command.add_argument(
        "--model", action="append", help="model folder (models/finetuned); give it twice to see before and after"
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(function=score)
    command = commands.add_parser("seeds", help=seeds.__doc__, description=seeds.__doc__)
    command.add_argument("run", nargs="+", help="DVC experiments, or Git revisions with committed results")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(function=seeds)
    command = commands.add_parser("sweep", help=sweep.__doc__, description=sweep.__doc__, parents=[output])
    command.add_argument("assignment", nargs="+", help="values of a parameter: train.regularizer_weight=1e-3,3e-3,1e-2")
    command.add_argument("--queue", action="store_true", help="through DVC's queue instead of one after another")
    command.add_argument("--jobs", type=_count, default=1, help="with --queue, experiments at a time (1)")
    command.set_defaults(function=sweep)
    command = commands.add_parser("sync", help=sync.__doc__, description=sync.__doc__)
    command.add_argument(
        "experiment", nargs="*", help="DVC experiments; without any: all of them, the workspace and every commit of the branch"
    )
    command.add_argument("--branch", help="a branch whose every commit is synchronized (the current one)")
    command.set_defaults(function=sync)
    command = commands.add_parser("ui", help=ui.__doc__, description=ui.__doc__)
    command.add_argument("--port", type=_port, default=5000, help="port (5000)")
    command.set_defaults(function=ui)
    command = commands.add_parser("verify", help=verify.__doc__, description=verify.__doc__)
    command.set_defaults(function=verify)
    arguments = parser.parse_args()
    run_command(lambda: arguments.function(arguments))


if __name__ == "__main__":
    main()
