"""The score command."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def score(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "splade_sts", "score", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=100
    )


def test_two_sentences_and_two_models(tiny_splade):
    """Text for people: cosine, active dims and terms of both models."""
    done = score("the dog runs", "a dog walks", "--model", str(tiny_splade), "--model", str(tiny_splade))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the dog runs\na dog walks\n") and "cosine " in done.stdout and "shared terms: " in done.stdout


def test_file_as_json(tiny_splade, tmp_path):
    """A table of pairs; the shares of the terms sum to the cosine, and a sentence is like itself."""
    (tmp_path / "pairs.csv").write_text("sentence1,sentence2\nthe dog runs,the dog runs\nred car,blue car\n")
    done = score("--file", str(tmp_path / "pairs.csv"), "--json", "--model", str(tiny_splade))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result) == 2
    for pair in result:
        (found,) = pair["models"].values()
        assert sum(share for _, share in found["shared_terms"]) == pytest.approx(found["cosine"], abs=1e-5)
    assert next(iter(result[0]["models"].values()))["cosine"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["only one"], "give two sentences"),
        (["a", " "], "a sentence is empty"),
        (["a", "b", "--model", "no/such/folder"], "holds no model"),
        (["--file", "no-such.csv"], "is no CSV"),
    ],
)
def test_bad_calls(arguments, message):
    """One message, no traceback."""
    done = score(*arguments)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
