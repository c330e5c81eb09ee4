"""Which terms two sentences share, and which they do not."""

from pathlib import Path

import pytest

from splade_sts import cli
from splade_sts.apply.score import score
from splade_sts.cli.explain import model_folders
from splade_sts.data.sample import sample_file
from splade_sts.data.tables import read_table
from splade_sts.errors import UserError
from splade_sts.explain.examples import EXAMPLES
from splade_sts.explain.explanation import (
    SHOWN_ALONE,
    SHOWN_SHARED,
    Models,
    SentenceError,
)
from splade_sts.model.encoder import load_encoder
from tests.support.commands import ROOT


@pytest.fixture(scope="module")
def models(tiny_splade: Path) -> Models:
    """The same model twice; the second reads four tokens."""
    whole, short = (load_encoder(tiny_splade) for _ in range(2))
    short.max_seq_length = 4
    return Models({"whole": whole, "short": short}, [tiny_splade] * 2)


def test_what_the_models_say(models: Models, tiny_splade: Path) -> None:
    """Cosine, active dims and shares are those of `score`; a share is the product of two weights,
    and all shares sum to the cosine; no term is shared and alone at once.
    """
    pair = ("the old dog runs fast", "a young dog walks in the park")
    found, ((scored,),) = models.explain(*pair), score([str(tiny_splade)], [pair])
    whole, expected = found.models[0], scored.predictions
    assert whole.cosine == expected.cosine[0]
    assert whole.active_dims == (expected.active_dims1[0], expected.active_dims2[0])
    shares = dict(expected.terms[0])
    for term in found.shared:
        assert term.shares[0] == shares.get(term.term, 0.0)
        assert term.shares[0] == pytest.approx(term.weights[0][0] * term.weights[0][1], abs=1e-6)
    for number, model in enumerate(found.models):
        total = sum(term.shares[number] for term in found.shared) + found.rest[number]
        assert total == pytest.approx(model.cosine, abs=1e-5)
    assert len(found.shared) <= SHOWN_SHARED
    for side, terms in enumerate(found.alone):
        assert 0 < len(terms) <= SHOWN_ALONE
        for term in terms:
            assert any(pair[side] > 0 == pair[1 - side] for pair in term.weights)


def test_what_is_left_out(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """Terms that are not shown are counted, and what they add is there."""
    pair = ("the old dog runs fast", "a young dog walks in the park")
    every = models.explain(*pair)
    monkeypatch.setattr("splade_sts.explain.explanation.SHOWN_SHARED", 1)
    found = models.explain(*pair)
    assert (found.shared, found.left_out) == (every.shared[:1], len(every.shared) - 1)
    assert found.left_out > 0
    rest = sum(term.shares[0] for term in every.shared[1:])
    assert found.rest[0] == pytest.approx(rest)


def test_a_sentence_that_is_cut(models: Models) -> None:
    """The tokens that there are, and how many the model reads."""
    found = models.explain("the old dog runs fast", "dog")
    assert [(one.tokens, one.longest) for one in found.models] == [((7, 3), 32), ((7, 3), 4)]
    assert found.models[0].cosine != found.models[1].cosine


def test_words_and_what_is_added(models: Models) -> None:
    """A term says in which sentence its word stands."""
    first, second = "the old dog runs fast", "a young dog walks in the park"
    found = models.explain(first, second)
    terms = {term.term: term.written for side in (found.shared, *found.alone) for term in side}
    assert terms == {word: (word in first.split(), word in second.split()) for word in terms}
    assert {any(written) for written in terms.values()} == {True, False}


def test_summaries(models: Models, tiny_splade: Path) -> None:
    """Which model finds the sentences more similar, and by which terms."""
    one = Models.load({"alone": tiny_splade}).explain("the dog runs", "the dog runs")
    assert one.summary.startswith("The cosine of the two sentences is 1.00. The strongest shared ")
    same = models.explain("dog", "dog").summary
    assert same.startswith("Both models find the two sentences equally similar: cosine 1.00.")
    other = models.explain("the old dog runs fast", "the old cat sleeps").summary
    assert "similar than the whole model does: cosine " in other


@pytest.mark.parametrize(
    ("sentence", "problem"), [(" \t", "is empty"), ("dog \ud83d", "holds half a character")]
)
def test_sentences_that_are_refused(models: Models, sentence: str, problem: str) -> None:
    """With the number of the sentence."""
    with pytest.raises(SentenceError, match=f"Sentence 2 {problem}") as refused:
        models.explain("dog", sentence)
    assert refused.value.sentence == 2


def test_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand in the validation split of the sample, with their gold scores."""
    monkeypatch.chdir(ROOT)
    rows = read_table(sample_file("validation"))
    there = set(zip(rows["sentence1"], rows["sentence2"], rows["score"].astype(float), strict=True))
    for one in EXAMPLES:
        either = {
            (one.sentence1, one.sentence2, one.gold),
            (one.sentence2, one.sentence1, one.gold),
        }
        assert either & there, one


def test_names_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last part of a path where that tells them apart; the pipeline's without any."""
    assert list(model_folders(["a/base", "a/finetuned"])) == ["base", "fine-tuned"]
    assert list(model_folders(["a/x/base", "b/base"])) == ["x/base", "b/base"]
    assert list(model_folders(["other"])) == ["other"]
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert model_folders([]) == {
        "base": tmp_path / "models/base",
        "fine-tuned": tmp_path / "models/finetuned",
    }
    for wrong in (["a", "b", "c"], ["a", "./a"]):
        with pytest.raises(UserError, match="expected one folder, or two to compare"):
            model_folders(wrong)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ([], r"models/base holds no model .*`dvc repro` makes .*`dvc exp apply demo`.*--model"),
        (["x" * 5000], r"x holds no model \(no modules.json\)"),
        (["dense"], "the modules are those of a .SentenceTransformer.*; expected a SparseEncoder"),
    ],
    ids=["no finished run", "long name", "no head"],
)
def test_models_that_are_refused(
    tiny_bert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: list[str],
    message: str,
) -> None:
    """In one message."""
    from sentence_transformers import SentenceTransformer

    (tmp_path / ".dvc").mkdir()
    if named == ["dense"]:
        SentenceTransformer(str(tiny_bert)).save(str(tmp_path / "dense"), create_model_card=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    arguments = cli.parser().parse_args(
        ["explain", *(word for name in named for word in ("--model", name))]
    )
    arguments.port = 0
    with pytest.raises(UserError, match=message):
        arguments.function(arguments)
