"""Texts to vectors in files: those of SparseEncoder, and the same bytes after a kill."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from splade_sts import cli
from splade_sts.apply.encode import Encoding
from splade_sts.apply.formats import FIELD, Vectors, Written, write_bulk
from splade_sts.apply.output import beside
from splade_sts.apply.rows import Row, Source
from splade_sts.apply.score import Scoring
from splade_sts.apply.work import Settings, run
from splade_sts.errors import UserError
from splade_sts.model.encoder import load_encoder
from tests.support import tiny

TEXTS = [*tiny.make_pairs(10).sentences, "!", "the dog . runs"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    pd.DataFrame({"text": TEXTS, "key": [f"k{n}" for n in range(len(TEXTS))]}).to_csv(
        path, index=False
    )
    return path


@pytest.fixture(scope="session")
def expected(tiny_splade):
    """The vectors of SparseEncoder itself: float32 (texts, vocabulary)."""
    model = load_encoder(tiny_splade)
    return model.encode(TEXTS, convert_to_sparse_tensor=False, convert_to_tensor=True).numpy()


def dense(indices: list, values: list, width: int) -> np.ndarray:
    found = np.zeros((len(indices), width), dtype=np.float32)
    for row, (entries, weights) in enumerate(zip(indices, values, strict=True)):
        found[row, entries] = weights
    return found


def encoded(folder: Path, ending: str) -> list[Path]:
    return sorted((folder / "vectors").glob(f"part-*{ending}"))


def test_parquet_holds_the_vectors_of_sparse_encoder(tiny_splade, table, tmp_path, expected):
    source = Source((table,), ("text",), "key")
    job = Encoding(str(tiny_splade), terms=True)
    manifest = run(job, source, Settings(tmp_path / "out", shard_rows=7, processes=1))
    found = pd.read_parquet(tmp_path / "out/vectors")
    assert found["id"].tolist() == [f"k{n}" for n in range(len(TEXTS))]
    vectors = dense(found["indices"], found["values"], expected.shape[1])
    assert np.allclose(vectors, expected, atol=1e-6)
    schema = pq.read_schema(encoded(tmp_path / "out", ".parquet")[0])
    assert [str(field.type) for field in schema] == [
        "string",
        "list<element: int32>",
        "list<element: float>",
        "list<element: string>",
    ]
    tokens = load_encoder(tiny_splade).tokenizer.convert_ids_to_tokens
    assert [list(terms) for terms in found["terms"]] == [tokens(list(i)) for i in found["indices"]]
    assert manifest["rows"] == sum(shard["rows"] for shard in manifest["shards"]) == len(TEXTS)
    assert manifest["postings"] == np.count_nonzero(expected)
    assert json.loads((tmp_path / "out/manifest.json").read_text()) == manifest
    assert not beside(tmp_path / "out").exists()


@pytest.mark.parametrize("active", [1, 3])
def test_max_active_dims_and_8_bits(tiny_splade, table, tmp_path, active):
    """The library's own cut, then multiples of 1/64."""
    model = load_encoder(tiny_splade)
    wanted = model.encode(
        TEXTS, convert_to_sparse_tensor=False, convert_to_tensor=True, max_active_dims=active
    )
    job = Encoding(str(tiny_splade), max_active_dims=active, weights="uint8")
    run(job, Source((table,), ("text",)), Settings(tmp_path / "out", 100, 1))
    found = pd.read_parquet(tmp_path / "out/vectors")
    assert found["values"][0].dtype == np.uint8
    vectors = dense(found["indices"], found["values"], wanted.shape[1])
    assert np.allclose(vectors, np.minimum(np.rint(wanted.numpy() * 64), 255), atol=1)
    assert max(map(len, found["indices"])) == active


def test_8_bits():
    """What rounds to nothing goes, what is larger than 255/64 is cut and counted."""
    values = np.array([0.001, 1.0, 5.0, 0.5, 0.002], dtype=np.float32)
    vectors = Vectors(np.array([0, 3, 3, 5]), np.arange(5, dtype=np.int32), values)
    rounded, cut = vectors.in_8_bits()
    assert rounded.values.tolist() == [64, 255, 32]
    assert (rounded.starts.tolist(), rounded.indices.tolist(), cut) == ([0, 2, 2, 3], [1, 2, 3], 1)
    assert rounded.weights().tolist() == [1.0, 255 / 64, 0.5]


@pytest.mark.parametrize("engine", ["elasticsearch", "opensearch"])
def test_bulk_bodies(tiny_splade, table, tmp_path, expected, engine):
    """An action and a document for each text; the mapping names the field's type."""
    run(
        Encoding(str(tiny_splade), engine),
        Source((table,), ("text",), "key"),
        Settings(tmp_path / "out", 100, 1),
    )
    (file,) = encoded(tmp_path / "out", ".ndjson")
    lines = file.read_text().split("\n")
    assert lines.pop() == ""
    actions, documents = map(json.loads, lines[::2]), [json.loads(line) for line in lines[1::2]]
    assert [action["index"]["_id"] for action in actions] == [f"k{n}" for n in range(len(TEXTS))]
    numbers = load_encoder(tiny_splade).tokenizer.convert_tokens_to_ids
    vectors = [document[FIELD] for document in documents]
    found = dense([numbers(list(v)) for v in vectors], [list(v.values()) for v in vectors], 85)
    assert np.allclose(found[:, : expected.shape[1]], expected, atol=1e-6)
    mapping = json.loads((tmp_path / "out/mapping.json").read_text())
    kind = {"elasticsearch": "sparse_vector", "opensearch": "rank_features"}[engine]
    assert mapping == {"mappings": {"properties": {FIELD: {"type": kind}}}}


def test_ids_that_engines_do_not_take(tmp_path):
    nothing = Vectors(np.array([0, 0]), np.array([], np.int32), np.array([], np.float32))
    written = Written([Row(3, "ä" * 257, ("a",))], nothing, [])
    with pytest.raises(UserError, match=r"of row 3 .* more than 512 bytes"):
        write_bulk(written, tmp_path / "x")


def test_points(tiny_splade, table, tmp_path, expected):
    """The bodies of Qdrant's requests."""
    job = Encoding(str(tiny_splade), "qdrant")
    run(job, Source((table,), ("text",), "key"), Settings(tmp_path / "out", 8, 1))
    points = [
        point
        for file in encoded(tmp_path / "out", ".json")
        for point in json.loads(file.read_text())["points"]
    ]
    assert [point["id"] for point in points] == list(range(len(TEXTS)))
    assert [point["payload"]["id"] for point in points] == [f"k{n}" for n in range(len(TEXTS))]
    vectors = [point["vector"][FIELD] for point in points]
    found = dense(
        [v["indices"] for v in vectors], [v["values"] for v in vectors], expected.shape[1]
    )
    assert np.allclose(found, expected, atol=1e-6)
    collection = json.loads((tmp_path / "out/collection.json").read_text())
    assert collection == {"vectors": {}, "sparse_vectors": {FIELD: {}}}


def test_impacts(tiny_splade, table, tmp_path, expected):
    """Whole numbers for Anserini: hundredths; none is 0."""
    job = Encoding(str(tiny_splade), "anserini")
    run(job, Source((table,), ("text",)), Settings(tmp_path / "out", 100, 1))
    (file,) = encoded(tmp_path / "out", ".jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["id"], row["contents"]) for row in rows] == [
        (str(number), text) for number, text in enumerate(TEXTS)
    ]
    numbers = load_encoder(tiny_splade).tokenizer.convert_tokens_to_ids
    for row, vector in zip(rows, expected, strict=True):
        wanted = {n: int(w) for n, w in enumerate(np.rint(vector * 100)) if w}
        assert {numbers(term): weight for term, weight in row["vector"].items()} == wanted


@pytest.mark.parametrize("job", [Encoding, lambda model: Scoring((model,))])
def test_an_output_in_the_model(tiny_splade, table, tmp_path, job):
    """It would be a part of the model, which then is another one than it was made with."""
    with pytest.raises(UserError, match=r"--output: .*out lies in .*, of which it is made"):
        run(
            job(str(tiny_splade)),
            Source((table,), ("text",)),
            Settings(tiny_splade / "out", 100, 1),
        )
    assert not list(tiny_splade.glob("out*"))


def test_a_model_without_a_head_leaves_nothing(table, tmp_path, tiny_bert):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in tiny_bert.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {
                    "idx": 0,
                    "name": "0",
                    "path": "",
                    "type": "sentence_transformers.models.Transformer",
                }
            ]
        )
    )
    with pytest.raises(UserError, match=r"expected a SparseEncoder"):
        run(Encoding(str(folder)), Source((table,), ("text",)), Settings(tmp_path / "out", 3, 1))
    assert not beside(tmp_path / "out").exists()
    assert not (tmp_path / "out").exists()


def test_the_command(tiny_splade, table, tmp_path, monkeypatch, capsys):
    def call(*arguments: str) -> None:
        start = ["splade_sts", "encode", str(table), "--output", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", [*start, "--model", str(tiny_splade), *arguments])
        cli.main()

    with pytest.raises(SystemExit, match="no column txt; it has text, key; name the column of the"):
        call("--text", "txt")
    with pytest.raises(SystemExit, match="--terms is for Parquet"):
        call("--terms", "--format", "qdrant")
    call("--processes", "1")
    said = capsys.readouterr().out
    assert said.startswith(f"{len(TEXTS)} rows in {tmp_path / 'out' / 'vectors'} (shards: 1), ")
    assert "active dims a vector; " in said
