"""Commands about MLflow: register, promote, sync, ui."""

import argparse
import os
import socket
import sys
from pathlib import Path

from splade_sts import layout, params
from splade_sts.cli.arguments import Commands, number_between
from splade_sts.errors import UserError, port_problem


def add_to(commands: Commands) -> None:
    """Add the commands of this module.

    Args:
        commands: what they are added to.
    """
    for function in (register, promote):
        command = commands.add(function)
        command.add_argument(
            "run",
            nargs="?",
            help="a DVC experiment, or a Git revision with committed results; without: the "
            "workspace",
        )
    command = commands.add(sync)
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
    command = commands.add(ui)
    command.add_argument(
        "--port", type=number_between(1, 2**16 - 1), default=5000, help="port (5000)"
    )


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


def promote(arguments: argparse.Namespace) -> None:
    """Let MLflow's alias `champion` name the registered model of a run, where the paired interval
    of its validation Spearman against the present champion's excludes a loss.
    """
    from splade_sts.comparison.statistics import Bootstrap
    from splade_sts.runs.regression import as_text
    from splade_sts.tracking.promote import promote as promote_run

    settings = params.load(layout.project_root() / layout.PARAMS)
    name = settings.track.experiment
    found = promote_run(arguments.run, name, Bootstrap.of(settings.compare))
    for compared in found.compared:
        print(as_text(compared))
    if not found.promoted:
        raise UserError(
            f"version {found.champion} of {name} stays the champion: the interval of the change on "
            "validation does not exclude a loss"
        )
    before = {None: "", found.version: " already"}.get(
        found.champion, f"; before it was version {found.champion}"
    )
    print(f"the champion of {name} is version {found.version} ({found.run}){before}")


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
            raise port_problem(port, error, "python -m splade_sts ui --port 5001") from None
