"""Scoring sentence pairs by hand: what a model makes of them, and why."""

import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from splade_sts.data.pairs import Pairs
from splade_sts.data.tables import read_table, table_format
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions
from splade_sts.text import paragraph, printed_json

SHOWN_TERMS = 12
BATCH_SIZE = 32


@dataclass(frozen=True, eq=False)
class Scored:
    """What the model in `folder` says of the pairs."""

    folder: str
    predictions: Predictions


def read_pairs(file: str) -> list[tuple[str, str]]:
    """Pairs from a table with columns `sentence1` and `sentence2`.

    Raises:
        UserError: the file cannot be read, lacks a column, or a sentence is empty.
    """
    path = Path(file)
    if not _is_file(path):
        raise UserError(f"--file: {path} not found; expected a CSV, TSV, JSONL or Parquet file")
    if table_format(path) is None:
        raise UserError(f"--file: {path} is no CSV, TSV, JSONL or Parquet file")
    table = read_table(path)
    missing = [column for column in ("sentence1", "sentence2") if column not in table]
    if missing:
        raise UserError(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}"
        )
    pairs = list(zip(table["sentence1"], table["sentence2"], strict=True))
    numbers = table.index if table.index.name else range(1, len(pairs) + 1)
    for number, pair in zip(numbers, pairs, strict=True):
        if not all(isinstance(sentence, str) and sentence.strip() for sentence in pair):
            raise UserError(
                f"{path}, {table.index.name or 'row'} {number}: found {reprlib.repr(pair)}; "
                "expected two sentences that are not empty"
            )
    return pairs


def score(folders: list[str], pairs: list[tuple[str, str]]) -> list[Scored]:
    """Score pairs, which have no gold scores, with the model in each folder.

    Raises:
        UserError: a sentence is empty or no Unicode, or a folder holds no SPLADE model.
    """
    for sentence in (sentence for pair in pairs for sentence in pair):
        if not sentence.strip():
            raise UserError("a sentence is empty; expected two sentences")
        try:
            sentence.encode("utf-8")
        except (
            UnicodeEncodeError
        ) as error:  # half a character pair, or an argument that is not UTF-8
            raise UserError(f"a sentence is no Unicode text: {error}") from None
    for folder in folders:
        if not _is_file(Path(folder) / "modules.json"):
            raise UserError(
                f"--model: {folder} holds no model; dvc repro makes models/base and "
                "models/finetuned"
            )
    # imported here, so that a mistake in the arguments is said at once
    from splade_sts.evaluation.encoded import encode
    from splade_sts.evaluation.evaluate import predict
    from splade_sts.model.encoder import load_encoder

    table = Pairs(
        [first for first, _ in pairs], [second for _, second in pairs], np.full(len(pairs), np.nan)
    )
    found = []
    for folder in folders:
        model = load_encoder(folder)
        found.append(
            Scored(folder, predict(model, table, encode(model, table.sentences, BATCH_SIZE)))
        )
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def as_json(scored: list[Scored]) -> str:
    """`[{sentence1, sentence2, models: {folder: {cosine, active_dims, shared_terms: [[term, share],
    ...]}}}]`.
    """
    pairs = scored[0].predictions.pairs
    result = [
        {
            "sentence1": first,
            "sentence2": second,
            "models": {one.folder: _explain(one.predictions, row) for one in scored},
        }
        for row, (first, second) in enumerate(zip(pairs.sentence1, pairs.sentence2, strict=True))
    ]
    return printed_json(result)


def as_text(scored: list[Scored]) -> str:
    """The same for people: for every pair and model the cosine, active dims and strongest shared
    terms.
    """
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
