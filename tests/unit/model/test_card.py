"""Model cards hold no markup of others."""

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from splade_sts import params
from splade_sts.errors import UserError
from splade_sts.model.card import hub_card, read_license
from splade_sts.text import markdown_table, one_line
from tests.support.tiny import tiny_params


@pytest.mark.parametrize(
    ("front", "license"),
    [
        ("license: <script>alert(1)</script>", "unknown"),
        ("license: [a, b]", "unknown"),
        ("license: 'a|b'", "unknown"),
        ("license: 'x\n  y'", "unknown"),
        ("license: {a: 1}", "unknown"),
        (": :\n- ]", "unknown"),
        ("language: en", "unknown"),
        ("license: cc-by-nc-sa-4.0", "cc-by-nc-sa-4.0"),
    ],
)
def test_a_licence_is_a_name_or_unknown(tmp_path, front, license):
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n")
    assert read_license(tmp_path) == license


def test_no_card_no_licence(tmp_path):
    assert read_license(tmp_path) == "unknown"


@pytest.mark.parametrize("section", ["data", "base_model"])
@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "a`b", "a|b", "a\nb"])
def test_names_that_would_be_markup(section, name):
    """A source that ends up in cards and reports is refused where it is read."""
    content = tiny_params().model_dump()
    with pytest.raises(UserError, match=f"{section}.source"):
        params.parse({**content, section: {**content[section], "source": name}})


def test_a_model_card_is_one_document():
    """The card renders without any element that the project did not write."""
    table = markdown_table(("what", "value"), [["source", one_line("<script>a|b</script>")]], 2)
    card = hub_card(title="T", license="mit", base_model="a/b", dataset=None, body=table)
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(card)
    assert "<script" not in html
    assert html.count("<td") == 2


def test_front_matter():
    """What the Hub reads: a licence that is known, and sources that are ids there."""
    data = ModelCard(
        hub_card(title="T", license="mit", base_model="a/b", dataset="c/d", body="text")
    ).data
    assert (data.license, data.base_model, data.datasets) == ("mit", "a/b", ["c/d"])
    for source in ("pip:a/b", "./a", "/a/b", "folder", "~/a"):
        card = hub_card(title="T", license="unknown", base_model=source, dataset=source, body="x")
        data = ModelCard(card).data
        assert (data.license, data.base_model, data.datasets) == (None, None, None)
