"""The HTML report, without a browser; tests/services/test_report.py looks at it with one."""

from dataclasses import replace
from html.parser import HTMLParser

from splade_sts.comparison.changed import changed_pairs
from splade_sts.report.html import html_report
from splade_sts.report.named import name_run
from splade_sts.report.pictures import Picture
from tests.support.results import BASE, FINETUNED, comparison_of, repeated, setting

PICTURE = Picture("p", "Title <x>", 'What "it" shows', b"light", b"dark")


class Page(HTMLParser):
    """The elements of a page, and the addresses in it."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "srcset", "href")]


def test_one_file_without_anything_from_outside():
    """Pictures are in it, in both themes; text of the data is no element."""
    page = html_report(
        comparison_of(repeated(BASE), repeated(FINETUNED)),
        {"test": changed_pairs(BASE, FINETUNED, 4)},
        [PICTURE],
        setting(**{"evaluate.precision": "<script>alert(2)</script>"}),
    )
    found = Page(page)
    assert [address for address in found.addresses if not address.startswith("#")] == [
        "data:image/png;base64,ZGFyaw==",
        "data:image/png;base64,bGlnaHQ=",
    ]
    assert "script" not in found.elements
    assert page.count("&lt;script&gt;") == 2
    assert "What &#34;it&#34; shows" in page
    assert '<a href="#numbers">' in page
    assert '<h2 id="numbers">' in page
    assert "1 epoch of batches of 16" in page
    assert "unused" not in page
    assert (
        "Of test, in train: 2 pairs, 3 pairs with a sentence, and 1 more with nearly one." in page
    )
    assert "<dt>trained before on</dt><dd>not known</dd>" in page


def test_rows_that_were_left_out():
    """Said where bad rows are dropped, and only there."""
    made = setting(**{"data.on_bad_row": "drop"})
    found = made.data["splits"]["test"]
    splits = {name: found | {"bad_rows": rows} for name, rows in (("train", 3), ("test", 0))}
    comparison = comparison_of(repeated(BASE), repeated(FINETUNED))
    page = html_report(comparison, {}, [], replace(made, data={**made.data, "splits": splits}))
    assert "<p>Bad rows that were left out: train 3, test 0.</p>" in page
    assert "Bad rows" not in html_report(comparison, {}, [], setting())


def test_what_the_gold_scores_allow():
    """With intervals where there are some; nothing where no pair has several scores."""
    made = setting()
    comparison = comparison_of(repeated(BASE), repeated(FINETUNED))
    page = html_report(comparison, {}, [], made)
    assert "20 pairs stand in several rows of all splits together. 7 of them have different" in page
    assert "is 0.040 of the range [0.030, 0.050], and a perfect model would have a" in page
    assert "Pearson of 0.970 on test if every gold score" in page
    for noise in (
        {"repeated": None, "disagreeing": None},
        {"repeated": {"groups": 1, "ceilings": {}}, "disagreeing": None},
    ):
        other = replace(made, data={**made.data, "label_noise": noise})
        assert "gold scores allow" not in html_report(comparison, {}, [], other)
    agree = {**made.data["label_noise"], "disagreeing": None}
    page = html_report(comparison, {}, [], replace(made, data={**made.data, "label_noise": agree}))
    assert "0 of them have different gold scores" in page
    assert "By those that differ" not in page


def test_a_copy_names_its_run():
    """Of the report that DVC keeps, which belongs to all runs with the same results."""
    comparison = comparison_of(repeated(BASE), repeated(FINETUNED))
    page = html_report(comparison, {}, [], setting())
    assert "python -m splade_sts runs" in page
    named = name_run(page.encode(), {"run": "two-epochs", "commit": "<b>"}).decode()
    assert "<dt>run</dt><dd>two-epochs</dd><dt>commit</dt><dd>&lt;b&gt;</dd>" in named
    assert "python -m splade_sts runs" not in named
    assert name_run(named.encode(), {"run": "again"}).decode().count("<dt>run</dt>") == 1
    assert name_run(b"<p>older</p>", {"run": "x"}) == b"<p>older</p>"
