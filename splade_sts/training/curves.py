"""The points of a training's two curves, and their files."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from splade_sts.files import replacing


@dataclass(frozen=True)
class TrainingPoint:
    """Means over the steps since the point before, and the state at `step`; `epoch` counts in
    epochs.

    `loss` is the sum of `base_loss` and `document_regularizer_loss`, which is weighted.
    `gradient_norm` is None where the trainer did not clip.
    """

    step: int
    epoch: float
    loss: float
    base_loss: float
    document_regularizer_loss: float
    document_regularizer_weight: float
    learning_rate: float
    gradient_norm: float | None


@dataclass(frozen=True)
class ValidationPoint:
    """The metrics of a validation at `step`, see `splade_sts.evaluation.results.Metrics`.

    They are computed in the precision of the training.
    """

    step: int
    epoch: float
    pearson: float
    spearman: float
    active_dims: float
    sparsity_ratio: float


Point = TrainingPoint | ValidationPoint
OnPoint = Callable[[Point], None]


def write_curve(
    path: Path, points: Sequence[Point], kind: type[TrainingPoint] | type[ValidationPoint]
) -> bytes:
    """Write the points of a `kind` as CSV, unrounded; a value that is None is left empty.

    Returns:
        What the file holds.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(kind)])
    writer.writeheader()
    writer.writerows(asdict(point) for point in points)
    content = text.getvalue().encode()
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return content


def read_curve(content: str, kind: type[Any]) -> list[Any]:
    """The points of a `kind` in the text of a file that `write_curve` wrote."""

    def value(name: str, text: str) -> float | int | None:
        return int(text) if name == "step" else float(text) if text else None

    rows = csv.DictReader(content.splitlines())
    return [kind(**{name: value(name, text) for name, text in row.items()}) for row in rows]
