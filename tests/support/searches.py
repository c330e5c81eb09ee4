"""A small set that is searched in, as files and as a repository of the Hub."""

import json
from pathlib import Path

import pandas as pd

from splade_sts.data.pairs import Pairs

CORPUS = [
    {"_id": "d1", "title": "Cats", "text": "A cat is an animal."},
    {"_id": "d2", "title": "", "text": "Rivers run."},
    {"_id": "d3", "title": "", "text": " "},
    {"_id": "d4", "title": "Trains", "text": ""},
]
QUERIES = [{"_id": f"q{number}", "text": f"question {number}"} for number in (1, 2, 3)]
QRELS = [("q1", "d1", "2"), ("q1", "d2", "0"), ("q2", "d4", "1")]


def write_beir(folder: Path) -> None:
    """The files of a set, as BEIR lays them out."""
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", CORPUS), ("queries", QUERIES)):
        lines = "".join(json.dumps({**row, "metadata": {}}) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines)
    rows = [("query-id", "corpus-id", "score"), *QRELS]
    (folder / "qrels/test.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))


def write_search(folder: Path, pairs: Pairs) -> None:
    """Write the first sentences of 30 pairs as documents and the second ones as queries, each with
    the other sentence of its pair as what is relevant, in the layout of BEIR.
    """
    folder.mkdir(parents=True)
    tables = {
        "corpus": {"_id": [f"d{number}" for number in range(30)], "text": pairs.sentence1[:30]},
        "queries": {"_id": [f"q{number}" for number in range(30)], "text": pairs.sentence2[:30]},
        "qrels": {
            "query-id": [f"q{number}" for number in range(30)],
            "corpus-id": [f"d{number}" for number in range(30)],
        },
    }
    for name, columns in tables.items():
        pd.DataFrame(columns).to_json(folder / f"{name}.jsonl", orient="records", lines=True)


def write_nano_beir(folder: Path, sets: tuple[str, ...]) -> None:
    """Write the repository of NanoBEIR with these sets: a configuration a table, a split a set."""
    tables = {
        "corpus": pd.DataFrame(CORPUS)[["_id", "text"]],
        "queries": pd.DataFrame(QUERIES[:2]),
        "qrels": pd.DataFrame({"query-id": ["q1", "q2"], "corpus-id": ["d1", "d2"]}),
    }
    lines = ["---", "configs:"]
    for name, table in tables.items():
        (folder / name).mkdir(parents=True)
        lines += [f"- config_name: {name}", "  data_files:"]
        for place in sets:
            table.to_parquet(folder / name / f"{place}-00000-of-00001.parquet", index=False)
            lines += [f"  - split: {place}", f"    path: {name}/{place}-*"]
    (folder / "README.md").write_text("\n".join([*lines, "---", "# Nano"]))
