"""Commands that hand a model on: release, publish."""

import argparse
import os
from pathlib import Path

from splade_sts import layout
from splade_sts.cli.arguments import Commands
from splade_sts.errors import shown

RELEASE = Path("release")


def add_to(commands: Commands) -> None:
    """Add the commands of this module.

    Args:
        commands: what they are added to.
    """
    command = commands.add(release)
    command.add_argument("--output", type=Path, default=RELEASE, help="the folder (release)")
    command = commands.add(publish)
    command.add_argument("name", help="USER/NAME, or ORGANIZATION/NAME, on the Hub")
    command.add_argument("--folder", type=Path, default=RELEASE, help="the release (release)")
    command.add_argument("--private", action="store_true", help="nobody else is to see it")
    command.add_argument(
        "--dry-run", action="store_true", help="say what would be sent, and ask the Hub nothing"
    )


def release(arguments: argparse.Namespace) -> None:
    """Make one folder of the finished run in the workspace: the fine-tuned model, its card for the
    Hub, the report, parameters and hashes. Refused where the workspace is not what dvc.lock says.
    """
    from splade_sts.release.folder import CARD, make_release

    made = make_release(layout.project_root(), arguments.output)
    print(
        f"{arguments.output}: {made.name} of commit {made.commit[:7]}, licence "
        f"{made.base['license']}; read {arguments.output / CARD} before you hand it on"
    )
    if made.changed:
        print(
            f"that commit does not hold what changed since in {', '.join(map(shown, made.changed))}"
        )


def publish(arguments: argparse.Namespace) -> None:
    """Send a release to the Hugging Face Hub. An interrupted upload goes on when the same command
    is given again.
    """
    # the Hub takes longer to make a commit than to begin a download; huggingface_hub reads it once
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "60")
    from splade_sts.release import publish as publishing

    plan = publishing.Plan.of(arguments.folder, arguments.name, arguments.private)
    for path, size in plan.sizes.items():
        print(f"{size:>13,}  {path}")
    for path in plan.left_out:
        print(f"{'left out':>13}  {path}")
    seen = "private" if plan.private else "for everybody to see"
    print(
        f"{sum(plan.sizes.values()):>13,}  bytes to {plan.name}, {seen}, "
        f"licence {plan.license or 'none'}",
        flush=True,
    )
    if not plan.private:
        print(f"report/ quotes sentences of {plan.data}: be sure that everybody may read them")
    if arguments.dry_run:
        print("nothing was sent (--dry-run)")
        return
    commit = publishing.publish(plan)
    print(f'published: SparseEncoder("{plan.name}", revision="{commit}")')
