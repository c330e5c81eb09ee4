"""The HTML report: one file that opens from disk and fetches nothing."""

import base64
from pathlib import Path

import jinja2

from splade_sts.comparison.changed import ChangedPairs
from splade_sts.comparison.evidence import Comparison
from splade_sts.report.markdown import terms
from splade_sts.report.pictures import Picture
from splade_sts.report.sections import sections
from splade_sts.report.setting import Setting
from splade_sts.report.verdict import verdict
from splade_sts.text import words

TEMPLATE = Path(__file__).with_name("template.html")
# Of the sections that the template writes itself, after the tables.
OTHER_TITLES = ("Pictures", "Pairs that changed most", "Data", "Parameters")


def html_report(
    comparison: Comparison,
    changed: dict[str, ChangedPairs],
    pictures: list[Picture],
    setting: Setting,
) -> str:
    """Render the report.

    Args:
        comparison: what was found.
        changed: for each split the pairs that gained and lost most.
        pictures: the pictures.
        setting: what was compared.

    Returns:
        HTML in which every text from the data is escaped.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["data_uri"] = lambda content: (
        f"data:image/png;base64,{base64.b64encode(content).decode()}"
    )
    environment.filters["terms"] = terms
    environment.filters["anchor"] = lambda title: "-".join(words(title))
    tables = sections(comparison)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        verdict=verdict(comparison),
        sections=tables,
        titles=[*(table.title for table in tables), *OTHER_TITLES],
        pictures=pictures,
        changed=changed,
        setting=setting,
    )
