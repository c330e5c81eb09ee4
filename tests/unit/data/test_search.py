"""Sets that are searched in: how they are read, and what is refused."""

import gzip

import numpy as np
import pandas as pd
import pytest

from splade_sts import layout
from splade_sts.data.search import (
    Search,
    SearchOrigin,
    find_tables,
    read_origins,
    search_of,
    write_origins,
)
from splade_sts.errors import UserError
from tests.support.searches import CORPUS, QRELS, QUERIES, write_beir


def tables(**changes: object) -> dict:
    """The tables of a set, with changes of some."""
    found = {
        "corpus": pd.DataFrame(CORPUS),
        "queries": pd.DataFrame(QUERIES),
        "qrels": pd.DataFrame(QRELS, columns=["query-id", "corpus-id", "score"]),
    }
    return {**found, **{name: pd.DataFrame(rows) for name, rows in changes.items()}}


EXPECTED = Search(
    queries={"q1": "question 1", "q2": "question 2"},
    documents={"d1": "Cats A cat is an animal.", "d2": "Rivers run.", "d4": "Trains"},
    relevant={"q1": {"d1"}, "q2": {"d4"}},
)


def same(found: Search, expected: Search) -> bool:
    return vars(found) == vars(expected)


def test_the_layout_of_beir(tmp_path):
    """Titles stand before texts; without text, without judgement and not relevant is left out."""
    write_beir(tmp_path)
    assert same(search_of(find_tables(tmp_path, "mine"), "mine"), EXPECTED)


@pytest.mark.parametrize("kind", ["plain qrels", "compressed", "parquet"])
def test_other_files(tmp_path, kind):
    """`qrels` beside the others, and every format of tables."""
    write_beir(tmp_path)
    qrels = tmp_path / "qrels/test.tsv"
    if kind == "plain qrels":
        qrels.rename(tmp_path / "qrels.tsv")
    elif kind == "compressed":
        (tmp_path / "qrels/test.tsv.gz").write_bytes(gzip.compress(qrels.read_bytes()))
        qrels.unlink()
    else:
        (tmp_path / "corpus.jsonl").unlink()
        pd.DataFrame(CORPUS).to_parquet(tmp_path / "corpus.parquet")
    assert same(search_of(find_tables(tmp_path, "mine"), "mine"), EXPECTED)


def test_what_is_read_is_what_was_written(tmp_path, monkeypatch):
    """Texts, ids and order."""
    monkeypatch.chdir(tmp_path)
    EXPECTED.write(layout.search("mine"))
    assert same(Search.read("mine"), EXPECTED)
    origins = {"mine": SearchOrigin("mine", None, 2, 3, {"queries": 1, "documents": 1})}
    write_origins(origins, layout.SEARCH_ORIGINS)
    assert read_origins() == origins


def test_the_layout_of_nanobeir():
    """No title, no score, whole numbers as ids, and several documents in a row of qrels."""
    found = search_of(
        {
            "corpus": pd.DataFrame({"_id": [1, 2], "text": ["a", "b"]}),
            "queries": pd.DataFrame({"_id": [7], "text": ["c"]}),
            "qrels": pd.DataFrame({"query-id": [7], "corpus-id": [np.array([1, 2])]}),
        },
        "Nano",
    )
    assert same(found, Search({"7": "c"}, {"1": "a", "2": "b"}, {"7": {"1", "2"}}))


def test_a_document_without_a_title():
    """Where others have one: its text alone."""
    corpus = [{"_id": "d1", "title": None, "text": "a"}, {"_id": "d4", "title": "T", "text": None}]
    qrels = [{"query-id": "q1", "corpus-id": "d1"}]
    found = search_of(tables(corpus=corpus, qrels=qrels), "mine")
    assert found.documents == {"d1": "a", "d4": "T"}


def test_groups():
    """Queries that share a relevant document, over others too; ids of queries and documents are
    apart, unless the queries are documents.
    """
    relevant = {"a": {"1"}, "b": {"1", "2"}, "c": {"2"}, "d": {"3"}, "3": {"4"}}
    queries = {query: query for query in relevant}
    documents = {str(number): "text" for number in range(1, 5)}
    assert Search(queries, documents, relevant).groups.tolist() == [0, 0, 0, 1, 2]
    own = Search(queries, {**queries, **documents}, relevant, own=True)
    assert own.groups.tolist() == [0, 0, 0, 1, 1]


QREL = {"query-id": "q1", "corpus-id": "d1"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"corpus": [{"id": "d1", "text": "a"}]}, "corpus has no column _id; it has id, text"),
        ({"queries": [{"_id": "q1"}]}, "queries has no column text"),
        ({"qrels": [{"query-id": "q1", "score": 1}]}, "qrels has no column corpus-id"),
        ({"corpus": [*CORPUS, CORPUS[0]]}, "corpus: ids that occur twice: d1"),
        ({"queries": [{"_id": "q1", "text": 5}]}, "queries: q1: found 5; expected text"),
        ({"corpus": [{"_id": "d1", "text": np.zeros(2)}]}, "corpus: d1: found array"),
        ({"corpus": [{"_id": "d1", "title": 5, "text": "a"}]}, "corpus: d1: found 5"),
        ({"queries": [{"_id": None, "text": "a"}]}, "queries: an id is None"),
        ({"qrels": [{**QREL, "query-id": "q9"}]}, "qrels name queries .* has no text for: q9"),
        ({"qrels": [{**QREL, "corpus-id": "d9"}]}, "qrels name documents .* has no text for: d9"),
        ({"qrels": [{**QREL, "corpus-id": "d3"}]}, "qrels name documents .* has no text for: d3"),
        ({"qrels": [{**QREL, "score": 0}]}, r"without a relevant document .*\): q1;"),
        ({"qrels": [{**QREL, "score": "high"}]}, "score of q1 and d1 is 'high'; expected a number"),
        ({"qrels": [{**QREL, "score": "nan"}]}, "score of q1 and d1 is 'nan'; expected a number"),
    ],
)
def test_bad_tables(changes, said):
    """One message, with set, table and what is wrong."""
    with pytest.raises(UserError, match=f"^evaluate.retrieval_set: mine: .*{said}"):
        search_of(tables(**changes), "mine")


def test_many_ids_are_counted():
    """The first ones are listed."""
    qrels = [{**QREL, "corpus-id": f"x{number}"} for number in range(7)]
    with pytest.raises(UserError, match="x0, x1, x2, x3, x4 and 2 more; correct the files"):
        search_of(tables(qrels=qrels), "mine")


def test_no_judgement_at_all():
    """An empty table of qrels."""
    empty = {"qrels": {"query-id": [], "corpus-id": []}}
    with pytest.raises(UserError, match="mine: qrels has no rows"):
        search_of(tables(**empty), "mine")


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("corpus.jsonl", "has none for the corpus of a search; expected one file: corpus with one"),
        ("qrels/test.tsv", "has none for the qrels of a search; .*, or qrels/test.tsv"),
    ],
)
def test_a_missing_file(tmp_path, missing, said):
    """It is named, with what is expected."""
    write_beir(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(UserError, match=said):
        find_tables(tmp_path, "mine")


def test_two_files_for_one(tmp_path):
    """Neither is guessed."""
    write_beir(tmp_path)
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\n")
    with pytest.raises(
        UserError, match=r"has qrels/test\.tsv, qrels\.tsv for the qrels of a search"
    ):
        find_tables(tmp_path, "mine")
