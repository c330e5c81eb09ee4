"""Scoring sentence pairs by hand: what a model makes of them, and why."""

import json
import reprlib
from pathlib import Path

import pandas as pd

from splade_sts.errors import UserError
from splade_sts.data.tables import read_table, table_format

SHOWN_TERMS = 12

Scored = dict[str, pd.DataFrame]


def read_pairs(file: str) -> list[tuple[str, str]]:
    """Pairs from a table with columns `sentence1` and `sentence2`.

    Raises:
        UserError: the file cannot be read, lacks a column, or a sentence is empty.
    """
    path = Path(file)
    if not _is_file(path) or table_format(path) is None:
        raise UserError(f"--file: {path} is no CSV, TSV, JSONL or Parquet file")
    table = read_table(path)
    missing = [column for column in ("sentence1", "sentence2") if column not in table]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    pairs = list(zip(table["sentence1"], table["sentence2"], strict=True))
    for number, pair in enumerate(pairs, start=1):
        if not all(isinstance(sentence, str) and sentence.strip() for sentence in pair):
            raise UserError(f"{path}, row {number}: found {reprlib.repr(pair)}; expected two sentences that are not empty")
    return pairs


def score_with(folders: list[str], pairs: list[tuple[str, str]]) -> Scored:
    """Score pairs with the model in each folder: `{folder: table}`, see `splade_sts.evaluation.correlation.score_pairs`.

    Raises:
        UserError: a sentence is empty, or a folder holds no SPLADE model.
    """
    if any(not sentence.strip() for pair in pairs for sentence in pair):
        raise UserError("a sentence is empty; expected two sentences")
    for sentence in (sentence for pair in pairs for sentence in pair):
        try:
            sentence.encode("utf-8")
        except UnicodeEncodeError as error:  # half a character pair, or an argument that is not UTF-8
            raise UserError(f"a sentence is no Unicode text: {error}") from None
    for folder in folders:
        if not _is_file(Path(folder) / "modules.json"):
            raise UserError(f"--model: {folder} holds no model; dvc repro makes models/base and models/finetuned")
    from splade_sts.model.encoder import load_encoder
    from splade_sts.evaluation.correlation import score_pairs

    table = pd.DataFrame(pairs, columns=["sentence1", "sentence2"])
    return {folder: score_pairs(load_encoder(folder), table) for folder in folders}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def as_json(scored: Scored) -> str:
    """`[{sentence1, sentence2, models: {folder: {cosine, active_dims, shared_terms: [[term, share], ...]}}}]`."""
    first = next(iter(scored.values()))
    result = []
    for index, pair in enumerate(first[["sentence1", "sentence2"]].to_dict("records")):
        models = {folder: _explain(table.iloc[index]) for folder, table in scored.items()}
        result.append({**pair, "models": models})
    return json.dumps(result, indent=2, ensure_ascii=False)


def as_text(scored: Scored) -> str:
    """The same for people: for every pair and model the cosine, active dims and strongest shared terms."""
    first = next(iter(scored.values()))
    lines = []
    for index, pair in enumerate(first[["sentence1", "sentence2"]].itertuples(index=False)):
        lines += [pair.sentence1, pair.sentence2]
        for folder, table in scored.items():
            found = _explain(table.iloc[index])
            terms = found["shared_terms"]
            shown = ", ".join(f"{term} {share:.3f}" for term, share in terms[:SHOWN_TERMS]) or "none"
            more = f" and {len(terms) - SHOWN_TERMS} more" if len(terms) > SHOWN_TERMS else ""
            dims = " and ".join(map(str, found["active_dims"]))
            lines += [f"  {folder}: cosine {found['cosine']:.4f}, active dims {dims}", f"    shared terms: {shown}{more}"]
        lines.append("")
    return "\n".join(lines).rstrip()


def _explain(row: pd.Series) -> dict:
    return {
        "cosine": float(row["predicted"]),
        "active_dims": [int(row["active_dims1"]), int(row["active_dims2"])],
        "shared_terms": [[term, float(share)] for term, share in zip(row["shared_terms"], row["shared_weights"], strict=True)],
    }
