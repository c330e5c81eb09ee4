"""The page of `explain` in headless Chromium."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from splade_sts.explain.explanation import Models
from splade_sts.explain.server import LARGEST, ExplainServer

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

FIRST, SECOND = "the old dog runs fast", "<b>a young dog</b> walks"


@pytest.fixture
def server(tiny_splade: Path) -> Iterator[ExplainServer]:
    """A server of a tiny model, on a port of its own."""
    with ExplainServer(0) as made:
        made.models = Models.load({"base": tiny_splade, "fine-tuned": tiny_splade})
        Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(
    browser: webdriver.Chrome, server: ExplainServer, request: pytest.FixtureRequest
) -> Iterator[webdriver.Chrome]:
    """The page, opened on a desktop and on a phone."""
    browser.get("about:blank")
    browser.get_log("browser")
    width, height = request.param
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(f"http://127.0.0.1:{server.server_port}/")
    assert browser.execute_script("return window.innerWidth") == width
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def text(browser: webdriver.Chrome, name: str) -> str:
    """What people read of the element `name`."""
    return browser.find_element(By.ID, name).text


def press(browser: webdriver.Chrome, *keys: str) -> None:
    """Keys, wherever the focus is."""
    webdriver.ActionChains(browser).send_keys(*keys).perform()


def type_over(browser: webdriver.Chrome, sentence: str) -> None:
    """Another sentence in place of the one in the field that has the focus."""
    select = webdriver.ActionChains(browser).key_down(Keys.CONTROL).send_keys("a")
    select.key_up(Keys.CONTROL).perform()
    press(browser, sentence or Keys.DELETE)


def check_width(browser: webdriver.Chrome) -> None:
    """Nothing needs scrolling sideways, in all that can be opened."""
    browser.execute_script("document.querySelector('details').open = true")
    narrow = "return document.documentElement.scrollWidth <= window.innerWidth"
    assert browser.execute_script(narrow)


def test_two_sentences_by_keyboard(page: webdriver.Chrome) -> None:
    """An example is there; two sentences are typed, and the page says which terms they share: in
    bars, in tables that a screen reader reads, and in a line that it is told of.
    """
    wait = WebDriverWait(page, 20)
    wait.until(lambda b: "cosine" in text(b, "summary"))
    assert "gold score (3.8 of 5)" in text(page, "cosines")
    check_width(page)
    press(page, Keys.TAB)
    assert page.switch_to.active_element.accessible_name == "Sentence 1"
    type_over(page, FIRST)
    assert "press Enter" in text(page, "summary")
    press(page, Keys.TAB)
    assert page.switch_to.active_element.accessible_name == "Sentence 2"
    type_over(page, SECOND)
    press(page, Keys.ENTER)
    wait.until(lambda b: "equally similar" in text(b, "summary"))
    assert "gold score (" not in text(page, "cosines")
    shared = page.find_element(By.ID, "shared")
    columns = [one.text for one in shared.find_elements(By.CSS_SELECTOR, "thead th")]
    assert columns == ["term", "base", "fine-tuned"]
    rows = shared.find_elements(By.CSS_SELECTOR, "tbody tr")
    assert [row.find_element(By.TAG_NAME, "th").aria_role for row in rows] == ["rowheader"] * len(
        rows
    )
    for row in rows[:-1]:
        numbers = [one.text for one in row.find_elements(By.CSS_SELECTOR, ".number")]
        assert numbers[0] == numbers[1] > "0"
    bars = rows[0].find_elements(By.CSS_SELECTOR, "[aria-hidden=true] .bar")
    room = rows[0].find_element(By.CSS_SELECTOR, "[aria-hidden=true]").size["width"]
    assert all(0.8 * room < bar.size["width"] <= room for bar in bars)
    assert page.find_elements(By.CSS_SELECTOR, "main b") == []
    assert page.find_element(By.ID, "summary").aria_role == "status"
    check_width(page)
    assert page.get_log("browser") == []


def test_what_the_page_says_is_wrong(page: webdriver.Chrome, server: ExplainServer) -> None:
    """A sentence that is empty, cut, too long or of a server that is gone: each in words, beside
    its field; the earlier result is not left standing.
    """
    wait = WebDriverWait(page, 20)
    wait.until(lambda b: "cosine" in text(b, "summary"))
    first, second = (page.find_element(By.ID, name) for name in ("sentence1", "sentence2"))
    result = page.find_element(By.ID, "result")
    second.click()
    type_over(page, "")
    first.click()
    press(page, Keys.ENTER)
    wait.until(lambda b: text(b, "problem") == "Sentence 2 is empty. Type a few words")
    assert page.switch_to.active_element == second
    assert second.get_attribute("aria-describedby") == "problem"
    assert not result.is_displayed()
    press(page, "dog " * 40, Keys.ENTER)
    cut = "Sentence 2 was cut: it has 42 tokens, and fine-tuned reads the first 32."
    wait.until(lambda b: cut in text(b, "cut"))
    assert text(page, "problem") == ""
    check_width(page)
    page.execute_script(f"arguments[0].value = 'x'.repeat({LARGEST})", first)
    press(page, Keys.ENTER)
    wait.until(lambda b: "at most 64 KiB" in text(b, "problem"))
    assert not result.is_displayed()
    server.shutdown()
    server.server_close()
    page.execute_script("arguments[0].value = 'dog'", first)
    press(page, Keys.ENTER)
    wait.until(lambda b: "Start it again (python -m splade_sts explain)" in text(b, "problem"))
    check_width(page)
