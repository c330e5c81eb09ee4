"""The report for pull requests: nothing of the data is markup in it."""

import re
from dataclasses import replace

import pytest

from splade_sts.comparison.changed import changed_pairs
from splade_sts.evaluation.results import Predictions
from splade_sts.report.markdown import markdown_report
from splade_sts.report.sections import sections
from tests.support.results import BASE, FINETUNED, comparison_of, repeated

SECTIONS = sections(comparison_of(repeated(BASE), repeated(FINETUNED)))


def report(base: Predictions, finetuned: Predictions) -> str:
    return markdown_report("Better.", SECTIONS, {"test": changed_pairs(base, finetuned, 3)})


def test_text_is_escaped():
    """Sentences cannot break the table or bring markup into it."""
    text = report(BASE, FINETUNED)
    assert "a \\| b" in text
    assert "g h" in text
    assert "<script>" not in text.replace("\\<script\\>", "")


@pytest.mark.parametrize(
    "text", ["a | b", "<b>x</b>", "back\\|slash", "two\nlines", "*x* _y_ `z` [l](u) # h"]
)
def test_a_sentence_stays_one_cell(text):
    """Whatever it holds, each row has as many cells as the header, and no bare markup."""
    pairs = replace(BASE.pairs, sentence1=[text] * 4, sentence2=[text] * 4)
    terms = [[(text, 0.5)]] * 4
    found = report(*(replace(model, pairs=pairs, terms=terms) for model in (BASE, FINETUNED)))
    part = found.split("## test: pairs that gained most")[1].split("##")[0]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 2
    unescaped = [re.sub(r"\\.", "", row) for row in rows]
    assert len({row.count("|") for row in unescaped}) == 1
    assert not any(character in row for row in unescaped[2:] for character in "<>*`[]#")


def test_nothing_changed():
    """Says so instead of an empty table."""
    text = report(BASE, BASE)
    assert text.count("None.") == 2
    assert "Better." in text
    for section in SECTIONS:
        assert f"## {section.title}\n" in text
