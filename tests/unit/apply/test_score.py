"""Scoring sentence pairs: by hand, and those of a table."""

import csv
import json
import sys

import pandas as pd
import pytest

from splade_sts import cli
from splade_sts.apply.rows import Source, survey
from splade_sts.apply.score import COLUMNS, Scoring, as_json, as_text, check_pair, score
from splade_sts.apply.work import Settings, run
from splade_sts.errors import UserError


def test_two_models_as_text(tiny_splade):
    """Text for people: cosine, active dims and terms of both models."""
    found = "".join(as_text(score([str(tiny_splade)] * 2, [("the dog runs", "a dog walks")])))
    assert found.startswith("the dog runs\na dog walks\n")
    assert found.count("cosine ") == found.count("shared terms: ") == 2


@pytest.mark.parametrize("together", [1, 2, 1000])
def test_pieces_make_one_json(tiny_splade, together, monkeypatch):
    """However many pairs are scored before they are printed: the shares of the terms sum to the
    cosine; a sentence is like itself.
    """
    monkeypatch.setattr("splade_sts.apply.score.PRINTED_TOGETHER", together)
    pairs = [("the dog runs", "the dog runs"), ("red car", "blue car"), ("a man", "a woman")]
    found = "".join(as_json(score([str(tiny_splade)], pairs)))
    result = json.loads(found)
    assert found == json.dumps(result, indent=2) + "\n"
    assert [(pair["sentence1"], pair["sentence2"]) for pair in result] == pairs
    models = [pair["models"][str(tiny_splade)] for pair in result]
    for model in models:
        shares = sum(share for _, share in model["shared_terms"])
        assert shares == pytest.approx(model["cosine"], abs=1e-5)
    assert models[0]["cosine"] == pytest.approx(1.0, abs=1e-5)


def test_pieces_make_one_text(tiny_splade, monkeypatch):
    """An empty line between two pairs, and none at the end."""
    pairs = [("the dog runs", "the dog runs"), ("red car", "blue car"), ("a man", "a woman")]
    whole = "".join(as_text(score([str(tiny_splade)], pairs)))
    monkeypatch.setattr("splade_sts.apply.score.PRINTED_TOGETHER", 1)
    assert "".join(as_text(score([str(tiny_splade)], pairs))) == whole
    assert whole.count("\n\n") == 2
    assert whole.endswith("\n")
    assert not whole.endswith("\n\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_for_every_encoding(tiny_splade, encoding):
    """Printed as `run_command` lets stdout print it, it stays JSON."""
    pair = ("the café", "the 日本 \U0001f600 dog")
    printed = "".join(as_json(score([str(tiny_splade)], [pair])))
    (found,) = json.loads(printed.encode(encoding, "backslashreplace").decode(encoding))
    assert (found["sentence1"], found["sentence2"]) == pair


@pytest.mark.parametrize(
    ("pair", "message"), [(("a", " "), "a sentence is empty"), (("a", "\ud83d"), "no Unicode")]
)
def test_bad_pairs(pair, message):
    with pytest.raises(UserError, match=message):
        check_pair(pair)


@pytest.mark.parametrize("folder", ["no/such/folder", "x" * 5000], ids=["none", "long name"])
def test_no_model(folder):
    """Said before anything large is imported."""
    with pytest.raises(UserError, match="holds no model; dvc repro makes"):
        next(score([folder], [("a", "b")]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "none.csv not found; expected a file ending in .csv"),
        ("pairs.txt", "a,b\n", "expected a name that ends in .csv, .tsv"),
        ("pairs.csv", "sentence1,other\na,b\n", "no column sentence2; it has sentence1, other"),
        (
            "pairs.csv",
            "sentence1,sentence2\na,b\nc, \n",
            "line 3: column sentence2: found ' '; expected a text that is not empty",
        ),
        ("pairs.csv", "sentence1,sentence2\na\n", "line 2: column sentence2: found nothing"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    """File, row and what was found."""
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        survey(Source((tmp_path / name,), COLUMNS), skip_bad=False)


PAIRS = pd.DataFrame(
    {"sentence1": ["the dog runs", "red car", "a man"], "sentence2": ["a dog", "car", "a woman"]}
)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_scores_in_files(tiny_splade, tmp_path, ending):
    """The same cosines as by hand, in every format, a row for each pair."""
    PAIRS.to_csv(tmp_path / "pairs.csv", index=False)
    source = Source((tmp_path / "pairs.csv",), COLUMNS)
    job = Scoring((str(tiny_splade),), ending)
    manifest = run(job, source, Settings(tmp_path / "out", shard_rows=2, processes=1))
    assert (manifest["rows"], manifest["left_out"]) == (3, 0)
    read = {
        "csv": pd.read_csv,
        "jsonl": lambda path: pd.read_json(path, lines=True),
        "parquet": pd.read_parquet,
    }[ending]
    files = sorted((tmp_path / "out/scores").iterdir())
    assert [path.name for path in files] == [f"part-000000.{ending}", f"part-000001.{ending}"]
    found = pd.concat([read(path) for path in files])
    ((one,),) = score([str(tiny_splade)], PAIRS.itertuples(index=False, name=None))
    assert found["cosine"].tolist() == pytest.approx(one.predictions.cosine.tolist(), abs=1e-6)
    assert found["id"].astype(str).tolist() == ["0", "1", "2"]
    assert found["sentence2"].tolist() == PAIRS["sentence2"].tolist()


def test_line_ends_in_csv(tiny_splade, tmp_path):
    """A text with any of them, or quotes, stays one field."""
    texts = ["a\rdog", "a\ncat", 'a "car", red']
    table = pd.DataFrame({"sentence1": texts, "sentence2": texts})
    table.to_json(tmp_path / "pairs.jsonl", orient="records", lines=True)
    source = Source((tmp_path / "pairs.jsonl",), COLUMNS)
    run(Scoring((str(tiny_splade),), "csv"), source, Settings(tmp_path / "out", 10, 1))
    with (tmp_path / "out/scores/part-000000.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["sentence1"] for row in found] == [row["sentence2"] for row in found] == texts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a"], "give two sentences"),
        (["a", "--file", "x.csv"], "give two sentences"),
        (["a", "b", "--output", "x"], "--output: it is for the pairs of --file"),
        (["a", "b", "--skip-bad"], "--skip-bad: it is for the pairs of --file"),
        (["--file", "x.csv", "--format", "csv"], "--format: it is for --output"),
        (["--file", "x.csv", "--id", "key"], "--id: it is for --output"),
        (["--file", "x.csv", "--output", "x", "--json"], "--json: it is for stdout"),
    ],
)
def test_arguments_that_do_not_fit(arguments, message, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["splade_sts", "score", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert message in str(ended.value)


def test_the_command(tiny_splade, tmp_path, monkeypatch, capsys):
    """On stdout what is asked for; what is left out is said beside it."""
    file = tmp_path / "pairs.csv"
    file.write_text("sentence1,sentence2\nthe dog,a dog\n,a cat\nred car,blue car\n")
    arguments = ["score", "--file", str(file), "--model", str(tiny_splade), "--json"]
    monkeypatch.setattr(sys, "argv", ["splade_sts", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert "line 3: column sentence1: found ''" in str(ended.value)
    assert "--skip-bad" in str(ended.value)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys, "argv", ["splade_sts", *arguments, "--skip-bad"])
    cli.main()
    said = capsys.readouterr()
    assert [pair["sentence2"] for pair in json.loads(said.out)] == ["a dog", "blue car"]
    assert f"left out: {file}, line 3: column sentence1" in said.err
    assert said.err.endswith("rows left out: 1\n")
