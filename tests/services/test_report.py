"""The report and what else shows texts of others, in headless Chromium."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from selenium import webdriver
from selenium.webdriver.common.by import By

from splade_sts import layout
from splade_sts.comparison.changed import changed_pairs
from splade_sts.comparison.compare import compare
from splade_sts.evaluation.results import Predictions
from splade_sts.report.card import model_card
from splade_sts.report.html import html_report
from splade_sts.report.markdown import markdown_report
from splade_sts.report.sections import sections
from splade_sts.report.verdict import verdict
from tests.support.results import (
    BASE,
    BOOTSTRAP,
    FINETUNED,
    NOTHING,
    making,
    repeated,
    setting,
    split_results,
)

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def requested(browser: webdriver.Chrome) -> list[str]:
    """Every address that pages asked for since this was asked last."""
    entries = browser.get_log("performance")
    messages = [json.loads(entry["message"])["message"] for entry in entries]
    sent = [found for found in messages if found["method"] == "Network.requestWillBeSent"]
    return [found["params"]["request"]["url"] for found in sent]


def test_report(browser: webdriver.Chrome, project: Path) -> None:
    """All pictures are drawn, each with a text that stands for it; nothing is fetched from outside,
    and a phone shows it without scrolling sideways.
    """
    requested(browser)
    browser.get((project / layout.REPORTS / "comparison.html").as_uri())
    images = browser.find_elements(By.TAG_NAME, "img")
    assert len(images) == 5
    for image in images:
        drawn = "return arguments[0].complete && arguments[0].naturalWidth > 0"
        assert browser.execute_script(drawn, image)
        assert len(image.get_attribute("alt") or "") > 40
    assert "test Spearman" in browser.find_element(By.CLASS_NAME, "verdict").text
    own = ("file:", "data:", "chrome:")
    assert [url for url in requested(browser) if not url.startswith(own)] == []
    browser.set_window_size(500, 900)
    narrow = "return document.documentElement.scrollWidth <= window.innerWidth"
    assert browser.execute_script(narrow)
    browser.set_window_size(1400, 1000)


ATTACKS = (
    "<script>document.title='broken'</script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "</p></main><svg onload=\"document.title='broken'\">",
    "[a](javascript:document.title='broken')",
    "{{ 7 * 7 }}",
    "&lt;b&gt;",
    "`</code><b id=broken>`",
    "|<b id=broken>|",
)


def attacked(found: Predictions) -> Predictions:
    """With an attack in every sentence and term."""
    texts = [ATTACKS[row % len(ATTACKS)] for row in range(len(found.cosine))]
    pairs = replace(found.pairs, sentence1=texts, sentence2=texts[::-1])
    terms = [
        [(text, share) for _, share in row] for text, row in zip(texts, found.terms, strict=True)
    ]
    return replace(found, pairs=pairs, terms=terms)


def attacked_pages() -> dict[str, str]:
    """The HTML report, and the Markdown report and the model card as a browser renders them."""
    base, finetuned = attacked(repeated(BASE)), attacked(repeated(FINETUNED))
    results = split_results(base, finetuned)
    genre = [ATTACKS[row % 2] for row in range(20)]
    results = replace(results, pairs=replace(results.pairs, genre=genre))
    comparison = compare({"validation": results, "test": results}, NOTHING, BOOTSTRAP)
    changed = {"test": changed_pairs(base, finetuned, 20)}
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    card = model_card(comparison, making(revision=ATTACKS[0], license=ATTACKS[1]))
    report = markdown_report(verdict(comparison), sections(comparison), changed)
    page = "<!doctype html><meta charset=utf-8><title>fine</title>"
    return {
        "html": html_report(comparison, changed, [], setting(**{"evaluate.precision": ATTACKS[1]})),
        "markdown": page + markdown.render(report),
        "card": page + markdown.render(card.split("---\n", 2)[2]),
    }


def test_texts_of_others_are_texts(browser: webdriver.Chrome, tmp_path: Path) -> None:
    """Markup in sentences, terms, genres, parameters and names is shown as it stands."""
    for name, page in attacked_pages().items():
        path = tmp_path / f"{name}.html"
        path.write_text(page, encoding="utf-8")
        browser.get(path.as_uri())
        assert browser.title in ("Base against fine-tuned", "fine"), name
        bad = "script, svg, #broken, [onerror], [onload], a[href^=javascript]"
        assert browser.find_elements(By.CSS_SELECTOR, bad) == [], name
        assert ATTACKS[0] in browser.find_element(By.TAG_NAME, "body").text, name
