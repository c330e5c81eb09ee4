"""Commands that run experiments: experiment, sweep."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from splade_sts import layout, params
from splade_sts.cli.arguments import Commands, json_argument, number_between
from splade_sts.cli.runs import compare_runs, pareto_arguments
from splade_sts.errors import UserError

if TYPE_CHECKING:
    from splade_sts.runs.sweep import Planned


def add_to(commands: Commands) -> None:
    """Add the commands of this module.

    Args:
        commands: what they are added to.
    """
    json, files = json_argument(), pareto_arguments()
    command = commands.add(experiment, remote_arguments())
    command.add_argument(
        "--commit",
        required=True,
        help="what it starts from: 40 digits, or what this repository makes a commit of now",
    )
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
    command = commands.add(sweep, files, json, remote_arguments())
    command.set_defaults(git_remote=None, patience=None)  # what was given is told from what was not
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
        help="with --ray, cores and threads of each experiment (1)",
    )
    command.add_argument(
        "--gpus",
        type=number_between(0, 1024),
        help="with --ray, GPUs of each experiment (0)",
    )


GIT_REMOTE, PATIENCE = "origin", 300
# Options of `sweep` that say nothing without --ray.
OF_RAY = ("cpus", "gpus", "git_remote", "dvc_remote", "workdir", "patience")


def remote_arguments() -> argparse.ArgumentParser:
    """Where the commit, the data and the clones of an experiment are."""
    remotes = argparse.ArgumentParser(add_help=False)
    remotes.add_argument(
        "--git-remote",
        default=GIT_REMOTE,
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
        default=PATIENCE,
        help="seconds to try again where a remote does not answer (300)",
    )
    return remotes


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
    given = [name for name in OF_RAY if getattr(arguments, name) is not None]
    if given and not arguments.ray:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"{options}: for a cluster alone; name one with --ray HOST:PORT")
    wanted = missing(root, planned)
    for one in planned:
        if one not in wanted:
            print(f"{one.name} is there already", file=progress, flush=True)
    if arguments.queue or not (arguments.ray or arguments.jobs):
        jobs = (arguments.jobs or 1) if arguments.queue else None
        return run_sweep(root, wanted, jobs, progress)
    from splade_sts.runs.spread import Cluster, Remotes, run_at_once, run_on_ray

    if arguments.ray:
        cluster = Cluster(arguments.ray, arguments.cpus or 1, arguments.gpus or 0)
        remotes = Remotes(
            arguments.git_remote or GIT_REMOTE,
            arguments.dvc_remote,
            arguments.workdir,
            PATIENCE if arguments.patience is None else arguments.patience,
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
