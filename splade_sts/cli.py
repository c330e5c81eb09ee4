"""Command line: python -m splade_sts experiment | pareto | register | regression | runs | score |
seeds | sweep | sync | ui | verify.
"""

import argparse
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from splade_sts import layout, params
from splade_sts.errors import UserError
from splade_sts.process import run_command, until_the_reader_leaves

if TYPE_CHECKING:
    from splade_sts.runs.seeds import SeedSummary
    from splade_sts.runs.settings import Settings
    from splade_sts.runs.sweep import Planned

RUNS = "DVC experiments, or Git revisions with committed results"

# Commands import what they need themselves: a mistake in the arguments is said at once, and `score`
# waits for no MLflow.


def experiment(arguments: argparse.Namespace) -> None:
    """Run one DVC experiment in a fresh clone of a commit and push it, with its data: the work of a
    machine that SLURM, Kubernetes or a shell loop has. Needs no project around it if --git-remote
    is a URL and --commit has 40 digits.
    """
    from splade_sts.git import below_top, resolve
    from splade_sts.runs.experiment import Place, Task, remote_url, run_experiment, workdir

    commit, folder = arguments.commit, arguments.folder
    try:
        here = layout.project_root()
        commit = resolve(here, commit) or commit
        folder = below_top(here) if folder is None else folder
    except UserError:  # it needs none
        here = Path()
    task = Task(
        commit=commit,
        name=arguments.name,
        overrides=tuple(arguments.set_param),
        git_remote=remote_url(here, arguments.git_remote),
        folder=folder or "",
        dvc_remote=arguments.dvc_remote,
        cache=arguments.cache,
    )
    run_experiment(task, Place(workdir(arguments.workdir), arguments.patience, sys.stdout))


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


def register(arguments: argparse.Namespace) -> None:
    """Register the fine-tuned model of a run in MLflow."""
    from splade_sts.tracking.register import register as register_run

    experiment = params.load(layout.project_root() / layout.PARAMS).track.experiment
    found = register_run(arguments.run, experiment)
    done = "is now" if found.new else "was already"
    print(
        f"the model of {found.run} (run {found.run_id}) {done} version {found.version} of "
        f"{experiment}"
    )


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


def score(arguments: argparse.Namespace) -> None:
    """Score sentence pairs with a model: cosine, active dims and the terms that the two sentences
    share.
    """
    from splade_sts import score as scoring

    if (len(arguments.sentence) == 2) == bool(arguments.file):
        raise UserError(
            'give two sentences, or --file with a table of pairs: python -m splade_sts score "A" '
            '"B"'
        )
    first_second = tuple(arguments.sentence)
    pairs = scoring.read_pairs(arguments.file) if arguments.file else [first_second]
    scored = scoring.score(arguments.model or [str(layout.model("finetuned"))], pairs)
    print(scoring.as_json(scored) if arguments.json else scoring.as_text(scored))


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
    from splade_sts.runs.experiments import open_runs, read_records
    from splade_sts.runs.record import COMPARISON
    from splade_sts.runs.scores import NotInCacheError, SplitScores, read_scores
    from splade_sts.runs.seeds import check_only_seeds_differ, summarize

    root = layout.project_root()
    bootstrap = Bootstrap.of(params.load(root / layout.PARAMS).compare)
    opened = open_runs(root, arguments.run)
    records = read_records(opened, cached=(COMPARISON,))
    check_only_seeds_differ(records)
    scores: dict[str, SplitScores | None] = {}
    for split in reported(arguments.on):
        try:
            scores[split] = read_scores(opened, split)
        except NotInCacheError as error:
            print(f"{error}; {split} has no interval over pairs", file=sys.stderr)
            scores[split] = None
    return summarize(records, scores, bootstrap)


def compare_seeds(arguments: argparse.Namespace) -> "Settings":
    """The runs of `seeds` against another setting, or a model that they have in common."""
    from splade_sts.comparison.statistics import Bootstrap
    from splade_sts.runs.experiments import open_runs, read_records
    from splade_sts.runs.record import COMPARISON
    from splade_sts.runs.scores import read_scores
    from splade_sts.runs.seeds import check_only_seeds_differ
    from splade_sts.runs.settings import MODELS, compare_settings, compare_with_model, paired

    root = layout.project_root()
    compare = params.load(root / layout.PARAMS).compare
    bootstrap = Bootstrap.of(compare)
    margin = compare.margin if arguments.margin is None else arguments.margin
    opened, splits = open_runs(root, arguments.run), reported(arguments.on)
    records = read_records(opened, cached=(COMPARISON,))
    model = next((one for one in MODELS if arguments.against == [one]), None)
    if model is not None:
        check_only_seeds_differ(records)
        found = {split: read_scores(opened, split) for split in splits}
        return compare_with_model(records, model, found, bootstrap, margin)
    others = open_runs(root, arguments.against)
    second = paired(records, read_records(others, cached=(COMPARISON,)))
    others = {name: others[name] for name in second}
    both = {split: (read_scores(opened, split), read_scores(others, split)) for split in splits}
    return compare_settings(records, second, both, bootstrap, margin)


def reported(named: Sequence[str] | None) -> tuple[str, ...]:
    """Validation, where runs are chosen, and the sets that are named; test without any."""
    return tuple(dict.fromkeys(("validation", *(named or ("test",)))))


def sweep(arguments: argparse.Namespace) -> None:
    """Run one DVC experiment for each value of a parameter (each combination, for several), then
    compare them as `pareto`.
    """
    from splade_sts.runs.sweep import plan

    root = layout.project_root()
    planned = plan(root, arguments.assignment)
    progress = sys.stderr if arguments.json else sys.stdout
    failed = run_planned(root, planned, arguments, progress)
    done = [experiment.name for experiment in planned if experiment.name not in failed]
    if done:
        compare_runs(done, arguments.output, arguments.json)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(planned)} experiments failed: {', '.join(failed)}; their "
            "output is above"
        )


def run_planned(
    root: Path, planned: "list[Planned]", arguments: argparse.Namespace, progress: TextIO
) -> list[str]:
    """Run the experiments of `sweep` where the arguments say; the names of those that failed."""
    from splade_sts.runs.sweep import missing, run_sweep

    if arguments.ray and arguments.jobs:
        raise UserError(
            "--jobs is for this machine; on a cluster its cores and --cpus say how many run at once"
        )
    wanted = missing(root, planned)
    for one in planned:
        if one not in wanted:
            print(f"{one.name} is there already", file=progress, flush=True)
    if arguments.queue or not (arguments.ray or arguments.jobs):
        jobs = (arguments.jobs or 1) if arguments.queue else None
        return run_sweep(root, wanted, jobs, progress)
    from splade_sts.runs.spread import Cluster, Remotes, run_at_once, run_on_ray

    if arguments.ray:
        cluster = Cluster(arguments.ray, arguments.cpus, arguments.gpus)
        remotes = Remotes(
            arguments.git_remote, arguments.dvc_remote, arguments.workdir, arguments.patience
        )
        failed = run_on_ray(root, wanted, cluster, remotes, progress)
    else:
        failed = run_at_once(root, wanted, arguments.jobs, progress)
    # their clones had no MLflow of ours
    if done := sorted({one.name for one in wanted} - set(failed)):
        from splade_sts.tracking.sync import sync as sync_runs

        experiment = params.load(root / layout.PARAMS).track
        if experiment.enabled:
            sync_runs(done, None, experiment.experiment)
    return failed


def sync(arguments: argparse.Namespace) -> None:
    """Write to MLflow what it lacks of the runs that DVC and Git hold, and of those in a database
    that it had before.
    """
    from splade_sts.runs.record import not_in_cache
    from splade_sts.tracking.sync import sync as sync_runs

    experiment = params.load(layout.project_root() / layout.PARAMS).track.experiment
    done = sync_runs(arguments.experiment, arguments.branch, experiment, arguments.database)
    for found in done:
        if found.run_id is None:
            print(f"{found.name}: left out: {found.problem}")
            continue
        missing = f"; {not_in_cache(found.missing)}" if found.missing else ""
        print(
            f"{found.name}: run {found.run_id} "
            f"{'written' if found.written else 'was complete already'}{missing}"
        )
    written, readable = (
        sum(found.written for found in done),
        sum(found.run_id is not None for found in done),
    )
    print(f"{written} written, {readable - written} complete already")


def ui(arguments: argparse.Namespace) -> None:
    """Start the MLflow UI on 127.0.0.1 with the store of this project."""
    root = layout.project_root()
    experiment = params.load(root / layout.PARAMS).track.experiment
    check_port(arguments.port)
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = (
        "false"  # its workers would outlive the server
    )
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE"):
        os.environ.pop(name, None)
    from splade_sts.tracking.start import start_mlflow

    start_mlflow()
    from splade_sts.tracking.store import Store, tracking_uri
    from splade_sts.tracking.view import SWEEPS, runs_page

    store = Store.open(root, experiment)
    address = f"http://127.0.0.1:{arguments.port}"
    print(f"MLflow UI: {address}{runs_page(store.experiment_id)} (Ctrl-C ends it)")
    print(f"by sweep:  {address}{runs_page(store.experiment_id, SWEEPS)}", flush=True)
    server = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(arguments.port),
    ]
    hosts = [f"{name}:{arguments.port}" for name in ("127.0.0.1", "localhost")]
    options = {
        "--allowed-hosts": ",".join(hosts),
        "--cors-allowed-origins": ",".join(f"http://{host}" for host in hosts),
        "--backend-store-uri": tracking_uri(root),
        "--default-artifact-root": (root / layout.MLFLOW_ARTIFACTS).as_uri(),
    }
    os.execv(sys.executable, [*server, *(word for option in options.items() for word in option)])


def check_port(port: int) -> None:
    """Check that a server can listen on a port of 127.0.0.1: MLflow's would start, fail and look as
    if it ran.

    Raises:
        UserError: it cannot.
    """
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: a port just left counts as free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(
                f"port {port} of 127.0.0.1 cannot be used: {error.strerror}; "
                "give another one: python -m splade_sts ui --port 5001"
            ) from None


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


def number_between(low: int, high: int) -> Callable[[str], int]:
    """A type of argparse: whole numbers from `low` to `high`."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"found {text!r}; expected a whole number from {low} to {high}"
            )
        return value

    return number


def share(text: str) -> float:
    """A type of argparse: numbers above 0 and below 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected a number above 0 and below 1, such as 0.01"
        )
    return value


def parser() -> argparse.ArgumentParser:
    """The arguments of every command; `function` is what runs it."""
    whole = argparse.ArgumentParser(prog="python -m splade_sts", description=__doc__)
    commands = whole.add_subparsers(required=True)

    def add(
        function: Callable[[argparse.Namespace], None], *shared: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        text = function.__doc__
        command = commands.add_parser(
            function.__name__, help=text, description=text, parents=shared
        )
        command.set_defaults(function=function)
        return command

    json, named, files, remotes = (argparse.ArgumentParser(add_help=False) for _ in range(4))
    json.add_argument("--json", action="store_true", help="print JSON")
    named.add_argument("run", nargs="+", help=RUNS)
    files.add_argument(
        "--output",
        default="pareto",
        help="folder for pareto.md, pareto.json and pareto.png (pareto)",
    )

    remotes.add_argument(
        "--git-remote",
        default="origin",
        help="URL, or name of a Git remote, of the repository that has the commit (origin)",
    )
    remotes.add_argument("--dvc-remote", help="a DVC remote (the project's default remote)")
    remotes.add_argument(
        "--workdir",
        help="folder of a machine for clones, a cache and checkpoints (in the user's cache)",
    )
    remotes.add_argument(
        "--patience",
        type=number_between(0, 86400),
        default=300,
        help="seconds to try again where a remote does not answer (300)",
    )

    command = add(experiment, remotes)
    command.add_argument("--commit", required=True, help="what it starts from; not a branch")
    command.add_argument("--name", required=True, help="its name")
    command.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter, as for dvc exp run -S; may be given several times",
    )
    command.add_argument(
        "--folder", help="of the project in the repository, where that is not its top folder"
    )
    command.add_argument(
        "--cache", help="a DVC cache that all machines see, instead of a DVC remote"
    )
    add(pareto, named, files, json)
    command = add(register)
    command.add_argument(
        "run",
        nargs="?",
        help="a DVC experiment, or a Git revision with committed results; without: the workspace",
    )
    command = add(regression, json)
    command.add_argument("run", help="a DVC experiment, or a Git revision with committed results")
    command.add_argument(
        "--against", required=True, metavar="RUN", help="the run that it may not fall below"
    )
    command = add(runs)
    command.add_argument("run", nargs="*", help=f"{RUNS}; without any: all")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    command = add(score, json)
    command.add_argument("sentence", nargs="*", help="the two sentences")
    command.add_argument(
        "--file", help="CSV, TSV, JSONL or Parquet file with columns sentence1 and sentence2"
    )
    command.add_argument(
        "--model",
        action="append",
        help="model folder (models/finetuned); give it twice to see before and after",
    )
    command = add(seeds, named, json)
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
    command = add(sweep, files, json, remotes)
    command.add_argument(
        "assignment",
        nargs="+",
        help="values of a parameter: train.regularizer_weight=1e-3,3e-3,1e-2",
    )
    how = command.add_mutually_exclusive_group()
    how.add_argument(
        "--queue", action="store_true", help="through DVC's queue instead of one after another"
    )
    how.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="on a Ray cluster: HOST:PORT, ray://HOST:PORT from outside, or auto",
    )
    command.add_argument(
        "--jobs",
        type=number_between(1, 1024),
        help="experiments at a time on this machine, which share its cores",
    )
    command.add_argument(
        "--cpus",
        type=number_between(1, 1024),
        default=1,
        help="with --ray, cores and threads of each experiment (1)",
    )
    command.add_argument(
        "--gpus",
        type=number_between(0, 1024),
        default=0,
        help="with --ray, GPUs of each experiment (0)",
    )
    command = add(sync)
    command.add_argument(
        "experiment",
        nargs="*",
        help="DVC experiments; without any: all, the workspace and every commit of the branch",
    )
    command.add_argument(
        "--branch", help="a branch whose every commit is synchronized (the current one)"
    )
    command.add_argument(
        "--database",
        type=Path,
        help="an SQLite database of MLflow (mlflow.db), whose runs are copied where MLflow lacks "
        "them: also what DVC and Git do not hold, such as trainings that failed",
    )
    command = add(ui)
    command.add_argument(
        "--port", type=number_between(1, 2**16 - 1), default=5000, help="port (5000)"
    )
    add(verify)
    return whole


def main() -> None:
    """Run the command that the arguments name."""

    def command() -> None:
        with until_the_reader_leaves():
            arguments = parser().parse_args()
            arguments.function(arguments)

    run_command(command)
