"""A command about files for other engines: export."""

import argparse
from pathlib import Path

from splade_sts import layout, params
from splade_sts.cli.arguments import Commands, share
from splade_sts.errors import UserError

FORMATS = ("onnx", "openvino")


def add_to(commands: Commands) -> None:
    """Add the commands of this module.

    Args:
        commands: what they are added to.
    """
    command = commands.add(export)
    command.add_argument("--format", required=True, choices=FORMATS, help="of the file")
    command.add_argument(
        "--int8", action="store_true", help="weights and products in 8 bits, the loss measured"
    )
    command.add_argument("--model", help="model folder (models/finetuned)")
    command.add_argument("--output", help="folder to write (exports/FORMAT, or FORMAT-int8)")
    command.add_argument(
        "--data",
        help="folder with validation.parquet, and train.parquet for --int8 (data/normalized)",
    )
    command.add_argument(
        "--max-loss",
        type=share,
        help="with --int8, the largest loss in Spearman that does not matter (compare.margin)",
    )


def export(arguments: argparse.Namespace) -> None:
    """Write a model as one file that takes token ids and gives the SPLADE vector, for ONNX Runtime
    or OpenVINO, checked against the model on the validation split.
    """
    if arguments.max_loss is not None and not arguments.int8:
        raise UserError("--max-loss is for --int8: in float32 a file gives the model's vectors")
    compare = params.load(layout.PARAMS).compare
    loss = compare.margin if arguments.max_loss is None else arguments.max_loss
    if arguments.int8 and loss is None:
        raise UserError(
            "compare.margin is null: say which loss in Spearman does not matter, --max-loss 0.01"
        )
    name = f"{arguments.format}-int8" if arguments.int8 else arguments.format
    output = Path(arguments.output or f"exports/{name}")
    # Imported here, so that a mistake in the arguments is said at once.
    from splade_sts.comparison.statistics import Bootstrap
    from splade_sts.export.folder import Export
    from splade_sts.export.folder import export as write

    wanted = Export(
        model=Path(arguments.model or layout.model("finetuned")),
        format=arguments.format,
        int8=arguments.int8,
        data=Path(arguments.data or layout.NORMALIZED),
        loss=loss or 0.0,
    )
    found = write(wanted, output, Bootstrap.of(compare))
    gain = found.gain
    print(
        f"{output}: Spearman on validation {found.spearman:.4f} (the model's: "
        f"{found.model_spearman:.4f}; difference {gain.value:+.5f}, interval {gain.low:+.5f} to "
        f"{gain.high:+.5f}), active dims {found.active_dims:.2f} (the model's: "
        f"{found.model_active_dims:.2f}), a weight differs by "
        f"{found.largest_weight:.2g} at most"
    )
