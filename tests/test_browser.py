"""The report and the MLflow UI in headless Chromium."""

import json
import shutil

import pytest
from markdown_it import MarkdownIt
from selenium import webdriver
from selenium.webdriver.common.by import By

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="no Chromium with its driver"),
]
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1400,1000"
)


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path / 'chromium'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def requested(browser) -> list[str]:
    """Every address that the page asked for."""
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def test_report(browser, project):
    """All pictures are drawn, each with a text that stands for it, and nothing is fetched from outside."""
    path = project / "reports" / "comparison.html"
    browser.get(path.as_uri())
    images = browser.find_elements(By.TAG_NAME, "img")
    assert len(images) == 4
    for image in images:
        assert browser.execute_script("return arguments[0].complete && arguments[0].naturalWidth > 0", image)
        assert len(image.get_attribute("alt")) > 40
    assert "test Spearman" in browser.find_element(By.CLASS_NAME, "verdict").text
    outside = [url for url in requested(browser) if not url.startswith(("file:", "data:", "chrome:"))]
    assert outside == []
    browser.set_window_size(500, 900)  # a phone: the page itself never scrolls sideways
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def test_report_escapes_what_the_data_say(browser, tmp_path):
    """A sentence with a script stays text."""
    from splade_sts.comparison.compare import add_evidence, changed_pairs, compare
    from splade_sts.report.html import html_report

    from tests.test_comparison import BASE, FINETUNED, many

    base, finetuned = {"test": many(BASE)}, {"test": many(FINETUNED)}
    comparison = compare(base, finetuned)
    add_evidence(comparison, base, finetuned, 100, 0.95, 0)
    page = html_report(
        comparison, {"test": changed_pairs(BASE, FINETUNED, 4)}, [], {"shared_pairs": {}},
        {"data.source": "<script>document.title='broken'</script>"}, {"source": "x", "revision": None}, 0.95,
    )
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    browser.get(path.as_uri())
    assert browser.title == "Base against fine-tuned"
    assert "<script>alert(1)</script>" in browser.find_element(By.TAG_NAME, "body").text


ATTACKS = (
    "<script>document.title='broken'</script>", "<img src=x onerror=\"document.title='broken'\">",
    "</p></main><svg onload=\"document.title='broken'\">",
    "[a](javascript:document.title='broken')", "{{ 7 * 7 }}", "&lt;b&gt;", "`</code><b id=broken>`", "|<b id=broken>|",
)


def test_attacks_in_sentences_and_cards(browser, tmp_path):
    """Markup in sentences, terms and names is shown as text by the HTML report and by a rendered Markdown report and card."""
    from splade_sts.model import card as model_card
    from splade_sts.comparison.compare import add_evidence, changed_pairs, compare, markdown_report
    from splade_sts.report.html import html_report, verdict

    from tests.test_comparison import BASE, FINETUNED, many

    def attacked(table):
        texts = [ATTACKS[row % len(ATTACKS)] for row in range(len(table))]
        terms = [[text] * len(shared) for text, shared in zip(texts, table["shared_terms"], strict=True)]
        return table.assign(sentence1=texts, sentence2=texts, shared_terms=terms)

    base, finetuned = {"test": many(BASE)}, {"test": many(FINETUNED)}
    comparison = compare(base, finetuned)
    add_evidence(comparison, base, finetuned, 100, 0.95, 0)
    changed = {"test": changed_pairs(attacked(BASE), attacked(FINETUNED), 4)}
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    model_card.write(
        tmp_path, title="T", license="mit", base_model="a/b", data=None, body=model_card.table({"k": ATTACKS[0]}, ("what", "value"))
    )
    pages = {
        "html": html_report(
            comparison, changed, [], {"shared_pairs": {}}, {"data.path": ATTACKS[1]},
            {"source": ATTACKS[2], "revision": None}, 0.95,
        ),
        "markdown": markdown.render(markdown_report(verdict(comparison, 0.95), comparison, changed)),
        "card": markdown.render((tmp_path / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2]),
    }
    for name, page in pages.items():
        path = tmp_path / f"{name}.html"
        path.write_text(page if name == "html" else f"<meta charset=utf-8><title>fine</title>{page}", encoding="utf-8")
        browser.get(path.as_uri())
        assert browser.title in ("Base against fine-tuned", "fine"), name
        assert browser.find_elements(By.CSS_SELECTOR, "script, svg, #broken, [onerror], [onload], a[href^=javascript]") == [], name
        shown = browser.find_element(By.TAG_NAME, "body").text
        assert ATTACKS[0] in shown, name
