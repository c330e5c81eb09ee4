"""What is searched for among what: queries, documents, and which of them are relevant to which.

Sets are read from tables in the layout of BEIR (Thakur et al. 2021, "BEIR: A Heterogeneous
Benchmark for Zero-shot Evaluation of Information Retrieval Models"): `corpus` and `queries` with
`_id` and `text`, and `qrels` with `query-id`, `corpus-id` and, unless every row is relevant,
`score`.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter

from splade_sts import layout
from splade_sts.data.linked import groups_of
from splade_sts.data.tables import FORMATS, read_table, table_format
from splade_sts.errors import UserError, shown
from splade_sts.files import read_json, write_json

Table = Literal["corpus", "queries", "qrels"]
TABLES: tuple[Table, ...] = ("corpus", "queries", "qrels")
COLUMNS: dict[Table, tuple[str, ...]] = {
    "corpus": ("_id", "text"),
    "queries": ("_id", "text"),
    "qrels": ("query-id", "corpus-id"),
}
SHOWN_IDS = 5


@dataclass(frozen=True, eq=False)
class Search:
    """Queries, and the documents among which they search.

    Attributes:
        queries: text of each query, by id; each has a relevant document.
        documents: text of each document, by id.
        relevant: the relevant documents of each query, by id; the keys are those of `queries`.
        own: whether the queries are documents too, under the same id; a query then never finds
            itself.
    """

    queries: dict[str, str]
    documents: dict[str, str]
    relevant: dict[str, set[str]]
    own: bool = False

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """The group of each query, int64 (queries,), counted from 0.

        Two queries are of one group where they share a relevant document, or where one is relevant
        to the other, or where others link them so: a group is a connected component of the graph
        whose nodes are queries and documents and whose edges join a query to what is relevant to
        it. What queries of one group find depends on the same texts; different groups share none.
        """
        places = {document: number for number, document in enumerate(self.documents)}
        nodes = [
            places[query] if self.own else len(places) + number
            for number, query in enumerate(self.queries)
        ]
        links = [
            (node, places[document])
            for node, found in zip(nodes, self.relevant.values(), strict=True)
            for document in found
        ]
        first, second = zip(*links, strict=True)
        return groups_of(nodes, (first, second), len(places) + len(self.queries))

    def write(self, folder: Path) -> None:
        """Write three Parquet tables into `folder`, in the layout of BEIR."""
        folder.mkdir(parents=True)
        texts: dict[Table, dict[str, str]] = {"corpus": self.documents, "queries": self.queries}
        for table, found in texts.items():
            columns = {"_id": list(found), "text": list(found.values())}
            pd.DataFrame(columns, dtype=object).to_parquet(folder / f"{table}.parquet", index=False)
        rows = [
            (query, document) for query in self.queries for document in sorted(self.relevant[query])
        ]
        pd.DataFrame(rows, columns=list(COLUMNS["qrels"]), dtype=object).to_parquet(
            folder / "qrels.parquet", index=False
        )

    @classmethod
    def read(cls, name: str) -> "Search":
        """Read what `write` wrote for the set `name`."""
        folder = layout.search(name)
        tables = {table: pd.read_parquet(folder / f"{table}.parquet") for table in TABLES}
        return search_of(tables, name)


@dataclass(frozen=True)
class SearchOrigin:
    """Where a set came from.

    Attributes:
        source: the id on the Hub, or `data.path`'s folder of that name.
        revision: the Hub's commit hash; None for files.
        queries, documents: how many there are.
        left_out: queries that are judged for no document, and queries and documents without text.
    """

    source: str
    revision: str | None
    queries: int
    documents: int
    left_out: dict[str, int]


def write_origins(origins: Mapping[str, SearchOrigin], path: Path) -> None:
    """Write where each set came from; also where there is none, so that the file is there."""
    write_json(path, {name: asdict(origin) for name, origin in origins.items()})


def read_origins() -> dict[str, SearchOrigin]:
    """Read what `write_origins` wrote."""
    found = read_json(layout.SEARCH_ORIGINS)
    return TypeAdapter(dict[str, SearchOrigin]).validate_python(found)


def find_tables(folder: Path, name: str) -> dict[Table, pd.DataFrame]:
    """The three tables of the set `name` in a folder: `corpus`, `queries` and `qrels` with one of
    the endings of `FORMATS`, compressed or not; qrels may be BEIR's `qrels/test.tsv` too.

    Raises:
        UserError: a table is missing, is there twice, or cannot be read.
    """
    return {table: read_table(_find_table(folder, table, name)) for table in TABLES}


def _find_table(folder: Path, table: Table, name: str) -> Path:
    places = [folder.glob(f"{table}.*")]
    if table == "qrels":
        places.append((folder / "qrels").glob("test.*"))
    found = sorted(
        path for place in places for path in place if path.is_file() and table_format(path)
    )
    if len(found) == 1:
        return found[0]
    expected = f"{table} with one of {', '.join(FORMATS)}"
    if table == "qrels":
        expected += ", or qrels/test.tsv"
    listed = ", ".join(shown(path.relative_to(folder)) for path in found) or "none"
    raise UserError(
        f"evaluate.retrieval_set: {name}: {shown(folder)} has {listed} for the {table} of a "
        f"search; expected one file: {expected}"
    )


def search_of(tables: Mapping[Table, pd.DataFrame], name: str) -> Search:
    """The search that three tables of BEIR's layout describe.

    A document is its title, where there is one, and its text, with a space between them, as BEIR
    encodes it. Left out are documents and queries without text, and queries that no row of qrels
    names: BEIR's files hold the queries of other splits too. Relevant is what has a score above 0.

    Args:
        tables: corpus, queries and qrels.
        name: the set's name, for messages.

    Raises:
        UserError: a column is missing, an id occurs twice, qrels name what is not there, or a query
            that they judge has no relevant document.
    """
    where = f"evaluate.retrieval_set: {name}"
    for table, wanted in COLUMNS.items():
        missing = [column for column in wanted if column not in tables[table]]
        if missing:
            raise UserError(
                f"{where}: {table} has no column {', '.join(missing)}; it has "
                f"{', '.join(map(shown, tables[table].columns))}; "
                f"expected {', '.join(wanted)}"
            )
    titles = ("title", "text") if "title" in tables["corpus"] else ("text",)
    documents = _texts(tables["corpus"], f"{where}: corpus", titles)
    queries = _texts(tables["queries"], f"{where}: queries")
    relevant: dict[str, set[str]] = {}
    for query, document, score in _judgements(tables["qrels"], f"{where}: qrels"):
        found = relevant.setdefault(query, set())
        if score > 0:
            found.add(document)
    named = {document for found in relevant.values() for document in found}
    without = {query for query, found in relevant.items() if not found}
    problems = {
        "qrels name queries that queries has no text for": relevant.keys() - queries.keys(),
        "qrels name documents that corpus has no text for": named - documents.keys(),
        "queries without a relevant document (a row of qrels with a score above 0)": without,
    }
    for problem, ids in problems.items():
        if ids:
            raise UserError(f"{where}: {problem}: {_listed(ids)}; correct the files")
    if not relevant:
        raise UserError(f"{where}: qrels has no rows; expected at least one relevant document")
    kept = {query: text for query, text in queries.items() if query in relevant}
    return Search(kept, documents, {query: relevant[query] for query in kept})


def _texts(table: pd.DataFrame, where: str, columns: tuple[str, ...] = ("text",)) -> dict[str, str]:
    """The texts of each row in `columns`, joined, by id; without the rows that have none."""
    ids = [_id(value, where) for value in table["_id"]]
    if len(set(ids)) != len(ids):
        twice = {name for name, times in Counter(ids).items() if times > 1}
        raise UserError(f"{where}: ids that occur twice: {_listed(twice)}; correct the file")
    texts = {}
    for name, *found in zip(ids, *(table[column] for column in columns), strict=True):
        words = ["" if _missing(value) else value for value in found]
        for value in words:
            if not isinstance(value, str):
                raise UserError(f"{where}: {shown(name)}: found {value!r:.80}; expected text")
        if text := " ".join(words).strip():
            texts[name] = text
    return texts


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _judgements(table: pd.DataFrame, where: str) -> Iterator[tuple[str, str, float]]:
    """Query, document and score of each row; a row may name several documents."""
    rows = table.explode("corpus-id")
    scores = rows["score"] if "score" in rows else np.ones(len(rows))
    for query, document, score in zip(rows["query-id"], rows["corpus-id"], scores, strict=True):
        try:
            value = float(score)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise UserError(
                f"{where}: the score of {shown(str(query))} and {shown(str(document))} is "
                f"{score!r:.80}; expected a number, above 0 where the document is relevant"
            )
        yield _id(query, where), _id(document, where), value


def _id(value: object, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | np.integer) or value == "":
        raise UserError(f"{where}: an id is {value!r:.80}; expected text or a whole number")
    return str(value)


def _listed(ids: Collection[str]) -> str:
    """The first ids, and how many there are."""
    first = ", ".join(shown(name) for name in sorted(ids)[:SHOWN_IDS])
    return first if len(ids) <= SHOWN_IDS else f"{first} and {len(ids) - SHOWN_IDS} more"
