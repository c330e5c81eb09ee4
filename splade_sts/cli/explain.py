"""The command that shows a page: explain."""

import argparse
from pathlib import Path

from splade_sts import layout
from splade_sts.cli.arguments import Commands, number_between
from splade_sts.errors import UserError


def add_to(commands: Commands) -> None:
    """Add the command of this module.

    Args:
        commands: what it is added to.
    """
    command = commands.add(explain)
    command.add_argument(
        "--port", type=number_between(1, 2**16 - 1), default=5050, help="port (5050)"
    )
    command.add_argument(
        "--model",
        action="append",
        help="model folder; give it twice to compare two (models/base and models/finetuned)",
    )


def explain(arguments: argparse.Namespace) -> None:
    """Serve a page on 127.0.0.1 on which you type two sentences and see the terms that they share,
    base against fine-tuned, as bars.
    """
    folders = model_folders(arguments.model or [])
    from splade_sts.explain.explanation import Models
    from splade_sts.explain.server import ADDRESS, ExplainServer

    with ExplainServer(arguments.port) as server:
        server.models = Models.load(folders)
        print(f"open http://{ADDRESS}:{server.server_port}/ (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:  # how it is meant to end
            print()


def model_folders(named: list[str]) -> dict[str, Path]:
    """The folders of the models by the names that the page gives them: the last part of the path,
    or more of it where two have the same.

    Args:
        named: folders; without any those of the pipeline.

    Raises:
        UserError: there are more than two, or one twice.
    """
    from splade_sts.report.names import MODELS

    if not named:
        root = layout.project_root()
        return {MODELS[name]: root / layout.model(name) for name in layout.MODELS}
    folders = [Path(name).resolve() for name in named]
    if len(folders) > 2 or len(set(folders)) < len(folders):
        raise UserError(
            f"--model: found {', '.join(named)}; expected one folder, or two to compare"
        )
    parts = 1  # of a path: as few as tell the models apart
    while len({folder.parts[-parts:] for folder in folders}) < len(folders):
        parts += 1
    names = ["/".join(folder.parts[-parts:]) for folder in folders]
    return {MODELS.get(name, name): folder for name, folder in zip(names, folders, strict=True)}
