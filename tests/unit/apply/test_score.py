"""Scoring sentence pairs by hand."""

import json

import pytest

from splade_sts.errors import UserError
from splade_sts.score import as_json, as_text, read_pairs, score


def test_two_models_as_text(tiny_splade):
    """Text for people: cosine, active dims and terms of both models."""
    found = as_text(score([str(tiny_splade)] * 2, [("the dog runs", "a dog walks")]))
    assert found.startswith("the dog runs\na dog walks\n")
    assert found.count("cosine ") == found.count("shared terms: ") == 2


def test_file_as_json(tiny_splade, tmp_path):
    """A table of pairs; the shares of the terms sum to the cosine; a sentence is like itself."""
    file = tmp_path / "pairs.csv"
    file.write_text("sentence1,sentence2\nthe dog runs,the dog runs\nred car,blue car\n")
    result = json.loads(as_json(score([str(tiny_splade)], read_pairs(str(file)))))
    assert [pair["sentence2"] for pair in result] == ["the dog runs", "blue car"]
    same, other = (pair["models"][str(tiny_splade)] for pair in result)
    for found in (same, other):
        shares = sum(share for _, share in found["shared_terms"])
        assert shares == pytest.approx(found["cosine"], abs=1e-5)
    assert same["cosine"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_for_every_encoding(tiny_splade, encoding):
    """Printed as `run_command` lets stdout print it, it stays JSON."""
    pair = ("the café", "the 日本 \U0001f600 dog")
    printed = as_json(score([str(tiny_splade)], [pair])).encode(encoding, "backslashreplace")
    (found,) = json.loads(printed.decode(encoding))
    assert (found["sentence1"], found["sentence2"]) == pair


@pytest.mark.parametrize(
    ("pair", "folder", "message"),
    [
        (("a", " "), "models/base", "a sentence is empty"),
        (("a", "\ud83d"), "models/base", "no Unicode"),
        (("a", "b"), "no/such/folder", "holds no model; dvc repro makes"),
        (("a", "b"), "x" * 5000, "holds no model"),
    ],
    ids=["empty", "half a character", "no folder", "long name"],
)
def test_bad_pairs_and_models(pair, folder, message):
    """Said before anything large is imported."""
    with pytest.raises(UserError, match=message):
        score([folder], [pair])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "none.csv not found; expected a CSV"),
        ("pairs.txt", "a,b\n", "is no CSV, TSV, JSONL or Parquet file"),
        ("pairs.csv", "sentence1,other\na,b\n", "no column sentence2; it has sentence1, other"),
        ("pairs.csv", "sentence1,sentence2\na,b\nc, \n", "line 3: found .*expected two sentences"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    """File, row and what was found."""
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_pairs(str(tmp_path / name))
