"""The card of the fine-tuned model."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from splade_sts.comparison.compare import compare
from splade_sts.report import names
from splade_sts.report.card import model_card
from splade_sts.report.verdict import verdict
from tests.support.results import (
    BASE,
    BOOTSTRAP,
    FINETUNED,
    NOTHING,
    making,
    repeated,
    split_results,
)


@pytest.fixture(scope="module")
def comparison():
    results = split_results(repeated(BASE), repeated(FINETUNED))
    return compare({"validation": results, "test": results}, NOTHING, BOOTSTRAP)


def test_what_it_says(comparison):
    """Licence and sources for the Hub, the verdict, test with its interval, how it was made."""
    text = model_card(comparison, making())
    card = ModelCard(text).data
    assert (card.license, card.base_model, card.datasets) == ("mit", "a/b", ["c/d"])
    assert verdict(comparison) in text
    found = comparison.splits["test"].spearman.finetuned
    row = f"{found.value:.4f} | {' to '.join(names.ends(found))}"
    assert row in " ".join(text.split())
    assert "checkpoint of step 2 of 4" in text
    assert "converted without training to 80 active dimensions" in " ".join(text.split())
    assert "(revision " + "e" * 40 + ")" in text


def test_precision_is_the_one_that_was_used(comparison):
    """Not `auto`."""
    table = MarkdownIt("commonmark").enable("table").render(model_card(comparison, making()))
    assert "auto" not in table
    assert "fp32" in table
    assert "null" in table


def test_several_processes():
    """Are named among what the training was; runs from before there could be any say nothing."""
    setting = making()
    assert "process" not in setting.summary()["training"]
    for count, said in ((1, "fp32; step"), (2, "fp32, 2 processes; step")):
        found = replace(setting, training={**setting.training, "processes": count})
        assert said in found.summary()["training"]


def test_no_markup_of_others(comparison):
    """A revision from somebody's provenance is text."""
    text = model_card(comparison, making(revision="<script>alert(1)</script>|`x`"))
    page = (
        MarkdownIt("commonmark", {"html": True}).enable("table").render(text.split("---\n", 2)[2])
    )
    assert "<script" not in page


def test_another_pooling():
    """Is said of the base model; the usual one, and runs that do not know, say nothing."""
    setting = making()
    usual = {"pooling_strategy": "max", "activation_function": "relu"}
    for found in (setting, replace(setting, base=setting.base | usual)):
        assert "over the tokens" not in found.summary()["base model"]
    other = replace(setting, base=setting.base | {**usual, "pooling_strategy": "sum"})
    assert ", sum of relu over the tokens; licence" in other.summary()["base model"]
