"""The HTML report: one file that opens from disk and fetches nothing."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from splade_sts.comparison.changed import ChangedPairs
from splade_sts.comparison.evidence import Comparison
from splade_sts.report.markdown import terms
from splade_sts.report.pictures import Picture
from splade_sts.report.sections import sections
from splade_sts.report.verdict import verdict

TEMPLATE = Path(__file__).with_name("template.html")


@dataclass(frozen=True)
class Setting:
    """What was compared.

    Attributes:
        data: content of evidence/data.json.
        provenance: content of data/raw/provenance.json.
        params: parameters under their dotted names.
    """

    data: dict[str, Any]
    provenance: dict[str, Any]
    params: dict[str, Any]


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
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        verdict=verdict(comparison),
        sections=sections(comparison),
        test=comparison.splits["test"].spearman_test,
        pictures=pictures,
        changed=changed,
        setting=setting,
    )
