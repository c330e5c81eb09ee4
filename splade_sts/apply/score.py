"""Scoring sentence pairs: what a model makes of them, and why."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from splade_sts.apply import model as models
from splade_sts.apply.rows import Row
from splade_sts.apply.work import Maker, Progress
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions
from splade_sts.files import check_outside
from splade_sts.text import paragraph, printed_json

if TYPE_CHECKING:
    from sentence_transformers import SparseEncoder

SHOWN_TERMS = 12
BATCH_SIZE = 32
# Pairs that are scored before they are printed.
PRINTED_TOGETHER = 1000
COLUMNS = ("sentence1", "sentence2")
ENDINGS = ("csv", "jsonl", "parquet")

Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Scored:
    """What the model in `folder` says of the pairs."""

    folder: str
    predictions: Predictions


def check_pair(pair: Pair) -> None:
    """Raise `UserError` where a sentence is empty or no Unicode."""
    for sentence in pair:
        if not sentence.strip():
            raise UserError("a sentence is empty; expected two sentences")
        try:
            sentence.encode("utf-8")
        except (
            UnicodeEncodeError
        ) as error:  # half a character pair, or an argument that is not UTF-8
            raise UserError(f"a sentence is no Unicode text: {error}") from None


def score(folders: list[str], pairs: Iterable[Pair]) -> Iterator[list[Scored]]:
    """Score pairs, which have no gold scores, with the model in each folder.

    Returns:
        for every `PRINTED_TOGETHER` pairs what each model says of them.

    Raises:
        UserError: a folder holds no SPLADE model.
    """
    for folder in folders:
        models.check_model(folder)
    # imported here, so that a mistake in the arguments is said at once
    from splade_sts.model.encoder import load_encoder

    loaded = {folder: load_encoder(folder) for folder in folders}
    rest = iter(pairs)
    while part := list(islice(rest, PRINTED_TOGETHER)):
        # a folder may be given twice
        yield [Scored(folder, _predictions(loaded[folder], part)) for folder in folders]


def _predictions(
    model: "SparseEncoder", pairs: list[Pair], progress: Progress = lambda count: None
) -> Predictions:
    from splade_sts.evaluation.encoded import encode
    from splade_sts.evaluation.evaluate import predict
    from splade_sts.model.head.swap import fused

    table = Pairs(
        [first for first, _ in pairs], [second for _, second in pairs], np.full(len(pairs), np.nan)
    )
    with fused(model):
        encoded = encode(model, table.sentences, BATCH_SIZE, progress=progress)
    return predict(model, table, encoded)


def as_json(parts: Iterable[list[Scored]]) -> Iterator[str]:
    """`[{sentence1, sentence2, models: {folder: {cosine, active_dims, shared_terms: [[term, share],
    ...]}}}]`, piece by piece.
    """
    before = "["
    for scored in parts:
        pairs = scored[0].predictions.pairs
        found = [
            {
                "sentence1": first,
                "sentence2": second,
                "models": {one.folder: _explain(one.predictions, row) for one in scored},
            }
            for row, (first, second) in enumerate(
                zip(pairs.sentence1, pairs.sentence2, strict=True)
            )
        ]
        yield before + printed_json(found)[1:-2]
        before = ","
    yield "\n]\n"


def as_text(parts: Iterable[list[Scored]]) -> Iterator[str]:
    """The same for people: for every pair and model the cosine, active dims and strongest shared
    terms.
    """
    for number, scored in enumerate(parts):
        yield ("\n" if number else "") + _text(scored) + "\n"


def _text(scored: list[Scored]) -> str:
    pairs = scored[0].predictions.pairs
    lines = []
    for row, (first, second) in enumerate(zip(pairs.sentence1, pairs.sentence2, strict=True)):
        lines += [paragraph(first), paragraph(second)]
        for one in scored:
            found = _explain(one.predictions, row)
            terms = found["shared_terms"]
            shown = (
                ", ".join(f"{term} {share:.3f}" for term, share in terms[:SHOWN_TERMS]) or "none"
            )
            more = f" and {len(terms) - SHOWN_TERMS} more" if len(terms) > SHOWN_TERMS else ""
            dims = " and ".join(map(str, found["active_dims"]))
            lines += [
                paragraph(
                    f"{one.folder}: cosine {found['cosine']:.4f}, active dims {dims}", indent="  "
                ),
                paragraph(f"shared terms: {shown}{more}", indent="    "),
            ]
        lines.append("")
    return "\n".join(lines).rstrip()


def _explain(predictions: Predictions, row: int) -> dict[str, Any]:
    return {
        "cosine": float(predictions.cosine[row]),
        "active_dims": [int(predictions.active_dims1[row]), int(predictions.active_dims2[row])],
        "shared_terms": [[term, share] for term, share in predictions.terms[row]],
    }


@dataclass(frozen=True)
class Scoring:
    """Pairs to scores, in files; see `splade_sts.apply.work.Job`.

    Attributes:
        models: folders of SPLADE models; each has a row for each pair.
        format: one of `ENDINGS`. CSV has no terms.
    """

    models: tuple[str, ...]
    format: str = "parquet"

    folder = "scores"

    @property
    def ending(self) -> str:
        """Of the shards' files."""
        return f".{self.format}"

    def check(self, output: Path) -> None:
        """Raise `UserError` where a folder holds no model, or the output would be a part of it."""
        for folder in self.models:
            models.check_model(folder)
            check_outside(output, folder)

    def identity(self) -> dict[str, Any]:
        """The models' files, and all that is said here."""
        return {
            "models": {folder: models.identity(folder) for folder in self.models},
            "options": {**asdict(self), "models": list(self.models)},
        }

    def files(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def start(self) -> Maker:
        """Load the models."""
        loaded = {folder: models.load(folder) for folder in self.models}

        def make(rows: list[Row], path: Path, progress: Progress) -> dict[str, int]:
            pairs = [(row.texts[0], row.texts[1]) for row in rows]
            tables = []
            for number, (folder, model) in enumerate(loaded.items()):
                found = _predictions(model, pairs, progress if number == 0 else lambda count: None)
                columns: dict[str, Any] = {
                    "id": [row.name for row in rows],
                    "sentence1": found.pairs.sentence1,
                    "sentence2": found.pairs.sentence2,
                    "model": folder,
                    "cosine": found.cosine,
                    "active_dims1": found.active_dims1,
                    "active_dims2": found.active_dims2,
                    "terms": [[term for term, _ in terms] for terms in found.terms],
                    "shares": [[share for _, share in terms] for terms in found.terms],
                }
                tables.append(pd.DataFrame(columns))
            _write(pd.concat(tables).sort_index(kind="stable"), path, self.format)
            return {}

        return make


def _write(table: pd.DataFrame, path: Path, ending: str) -> None:
    if ending == "csv":
        # quotes around every text: Python 3.11 puts none around one with a lone carriage return
        table.drop(columns=["terms", "shares"]).to_csv(
            path, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC
        )
    elif ending == "jsonl":
        table.to_json(path, orient="records", lines=True, force_ascii=False, double_precision=15)
    else:
        table.to_parquet(path, index=False, compression="zstd")
