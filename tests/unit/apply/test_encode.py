"""Texts to vectors in files: those of SparseEncoder, and the same bytes after a kill."""

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from splade_sts import cli
from splade_sts.apply import work
from splade_sts.apply.encode import Encoding
from splade_sts.apply.formats import FIELD, Vectors, Written, write_bulk
from splade_sts.apply.output import beside
from splade_sts.apply.rows import Row, Source
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


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


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
    assert manifest["active"] == np.count_nonzero(expected)
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


# Work that needs no model: the bytes of a text's length, so that runs are fast.
class Lengths:
    folder, ending = "lengths", ".txt"

    def __init__(self, name: str = "a", fail: Callable[[int], object] = lambda call: None) -> None:
        self.name, self.fail, self.calls = name, fail, 0

    def check(self) -> None:
        pass

    def identity(self) -> dict:
        return {"name": self.name}

    def files(self) -> dict:
        return {"about.json": {"a": 1}}

    def start(self) -> work.Maker:
        def make(rows: list[Row], path: Path, progress: work.Progress) -> dict[str, int]:
            path.write_text("half")
            self.fail(self.calls)
            self.calls += 1
            path.write_text("".join(f"{row.name} {len(row.texts[0])}\n" for row in rows))
            progress(len(rows))
            return {"letters": sum(len(row.texts[0]) for row in rows)}

        return make


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "t.csv"
    path.write_text("text,other\n" + "".join(f"{'x' * n},\n" for n in range(1, 11)))
    return Source((path,), ("text",))


def stop(at: int) -> Callable[[int], object]:
    def fail(call: int) -> None:
        if call == at:
            raise KeyboardInterrupt

    return fail


def test_goes_on_after_every_interruption(source, tmp_path):
    """Nothing has the final name before all is there; what is whole is not made again; the bytes
    are those of a run that nothing disturbed.
    """
    calm, wild = (Settings(tmp_path / name, 3, 1) for name in ("calm", "wild"))
    run(Lengths(), source, calm)
    for done in range(4):
        job = Lengths(fail=stop(1))
        with pytest.raises(KeyboardInterrupt) if done < 3 else pytest.MonkeyPatch.context():
            run(job, source, wild)
        assert (tmp_path / "wild").exists() == (done == 3)
        assert job.calls == 1
    assert contents(tmp_path / "calm") == contents(tmp_path / "wild")
    assert not beside(wild.output).exists()
    job = Lengths()
    assert run(job, source, wild)["letters"] == 55
    assert job.calls == 0, "it was whole"


def die_at(moment: int, when: str) -> Callable[[Path, Path], Path]:
    """`Path.replace` that kills this process before or after its call number `moment`."""
    real, calls = Path.replace, iter(range(100))

    def replace_or_die(self: Path, target: Path) -> Path:
        call = next(calls)
        if call == moment and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = real(self, target)
        if call == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    return replace_or_die


@pytest.mark.parametrize("when", ["before", "after"])
def test_every_moment_of_a_kill(source, tmp_path, when):
    """Killed at any of its changes to the disk: the next run makes the same bytes."""
    run(Lengths(), source, Settings(tmp_path / "calm", 3, 1))
    expected = contents(tmp_path / "calm")
    for moment in range(100):
        settings = Settings(tmp_path / f"wild-{moment}", 3, 1)
        pid = os.fork()
        if pid == 0:
            Path.replace = die_at(moment, when)  # type: ignore[method-assign, assignment]
            try:
                run(Lengths(), source, settings)
            finally:
                os._exit(0)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            break
        run(Lengths(), source, settings)
        assert contents(settings.output) == expected
        assert not beside(settings.output).exists()
    # the identity, four shards, a file, the manifest, the folder
    assert moment == 8


def test_half_a_line_of_the_journal(source, tmp_path):
    settings = Settings(tmp_path / "out", 3, 1)
    with pytest.raises(KeyboardInterrupt):
        run(Lengths(fail=stop(2)), source, settings)
    journal = beside(settings.output) / ".run/shards.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"part-00001.txt is not what this run wrote"):
        run(Lengths(), source, settings)
    (beside(settings.output) / "lengths/part-00001.txt").unlink()
    assert run(Lengths(), source, settings)["letters"] == 55


@pytest.mark.parametrize("change", ["model", "file", "options"])
@pytest.mark.parametrize("is_whole", [True, False])
def test_shards_of_another_run(source, tmp_path, change, is_whole):
    """Named, with what differs; nothing of it is touched."""
    settings = Settings(tmp_path / "out", 3, 1)
    if is_whole:
        run(Lengths(), source, settings)
    else:
        with pytest.raises(KeyboardInterrupt):
            run(Lengths(fail=stop(2)), source, settings)
    before = contents(tmp_path)
    job, message = Lengths(), "shard_rows was 3, now 4"
    if change == "model":
        job, message = Lengths("b"), 'name was "a", now "b"'
    elif change == "file":
        other = tmp_path / "u.csv"
        other.write_text("text\na\n")
        before["u.csv"] = b"text\na\n"
        source, message = replace(source, files=(other,)), 'files 1 name was "t.csv", now "u.csv"'
    else:
        settings = replace(settings, shard_rows=4)
    with pytest.raises(UserError, match=message) as refused:
        run(job, source, settings)
    assert is_whole or "part-00000.txt, part-00001.txt of another run" in str(refused.value)
    assert contents(tmp_path) == before


def test_a_shard_that_was_changed(source, tmp_path):
    settings = Settings(tmp_path / "out", 3, 1)
    with pytest.raises(KeyboardInterrupt):
        run(Lengths(fail=stop(2)), source, settings)
    (beside(settings.output) / "lengths/part-00000.txt").write_text("other")
    with pytest.raises(UserError, match=r"part-00000.txt is not what this run wrote"):
        run(Lengths(), source, settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda out: out.write_text(""), "out is a file"),
        (lambda out: (out / "x").mkdir(parents=True), r"holds something else \(x\)"),
        (
            lambda out: (out.mkdir(), (out / "manifest.json").write_text('{"a": 1}')),
            r"holds something else \(manifest.json\)",
        ),
        (lambda out: (beside(out) / "x").mkdir(parents=True), r"unfinished holds something else"),
        (lambda out: beside(out).write_text(""), "a file stands in its way"),
    ],
    ids=["file", "folder", "manifest", "unfinished", "file beside"],
)
def test_an_output_that_holds_something_else(source, tmp_path, make, message):
    make(tmp_path / "out")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=message):
        run(Lengths(), source, Settings(tmp_path / "out", 3, 1))
    assert {name for name in contents(tmp_path) if ".run" not in name} == set(before)


def test_an_empty_folder_and_rows_left_out(source, tmp_path):
    """An empty folder is taken; bad rows are listed in it."""
    (tmp_path / "out").mkdir()
    source.files[0].write_text("text\na\n ,x\n\nb\n")
    settings = Settings(tmp_path / "out", 3, 1, skip_bad=True)
    manifest = run(Lengths(), source, settings)
    assert (manifest["rows"], manifest["left_out"]) == (2, 1)
    assert (tmp_path / "out/lengths/part-00000.txt").read_text() == "0 1\n2 1\n"
    (told,) = map(json.loads, (tmp_path / "out/left_out.jsonl").read_text().splitlines())
    assert (told["file"], told["place"]) == (str(source.files[0]), "line 3")
    assert told["why"] == "column text: found ' '; expected a text that is not empty"


def test_a_bad_row_leaves_nothing(source, tmp_path):
    source.files[0].write_text("text\na\n \n")
    with pytest.raises(UserError, match="line 3"):
        run(Lengths(), source, Settings(tmp_path / "out", 1, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_model_without_a_head_leaves_nothing(source, tmp_path, tiny_bert):
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
        run(Encoding(str(folder)), source, Settings(tmp_path / "out", 3, 1))
    assert not beside(tmp_path / "out").exists()
    assert not (tmp_path / "out").exists()


def test_one_process_at_a_time(source, tmp_path):
    """The second one is refused while the first works."""
    settings = Settings(tmp_path / "out", 3, 1)

    def again(call: int) -> None:
        with pytest.raises(UserError, match="another process works on it"):
            run(Lengths(), source, settings)

    assert run(Lengths(fail=again), source, settings)["letters"] == 55


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
    assert said.startswith(f"{len(TEXTS)} rows in {tmp_path / 'out' / 'vectors'}: 1 shards")
    assert "active dims a vector; " in said
