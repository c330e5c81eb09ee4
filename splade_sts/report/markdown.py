"""The report for pull requests."""

from splade_sts.comparison.changed import ChangedPair, ChangedPairs
from splade_sts.report.sections import Section
from splade_sts.text import markdown_table, one_line

SHOWN_TERMS = 8
EXPLANATION = (
    "`gain` is how much closer to the gold score the prediction came; terms are shown with their "
    "share of the cosine."
)


def markdown_report(verdict: str, sections: list[Section], changed: dict[str, ChangedPairs]) -> str:
    """Verdict, tables, then the pairs that changed most on each split; nothing from the data is
    read as markup.
    """
    parts = ["# Base against fine-tuned", verdict]
    for section in sections:
        rows = [[one_line(cell) for cell in row] for row in section.rows]
        parts += [
            f"## {section.title}",
            one_line(section.reading),
            markdown_table(section.columns, rows, section.labels),
        ]
    for split, found in changed.items():
        for kind, pairs in (("gained", found.gained), ("lost", found.lost)):
            parts += [f"## {split}: pairs that {kind} most", _pairs(pairs) if pairs else "None."]
    return "\n\n".join([*parts, EXPLANATION]) + "\n"


def _pairs(pairs: list[ChangedPair]) -> str:
    headers = [
        "sentence 1",
        "sentence 2",
        "gold",
        "base",
        "fine-tuned",
        "gain",
        "base terms",
        "fine-tuned terms",
    ]
    rows = [
        [
            one_line(pair.sentence1),
            one_line(pair.sentence2),
            f"{pair.gold:.2f}",
            f"{pair.base:.2f}",
            f"{pair.finetuned:.2f}",
            f"{pair.gain:+.2f}",
            one_line(terms(pair.base_terms)),
            one_line(terms(pair.finetuned_terms)),
        ]
        for pair in pairs
    ]
    return markdown_table(headers, rows, labels=2)


def terms(found: list[tuple[str, float]]) -> str:
    """The first terms with their shares of the cosine, as `dance 0.06, hat 0.06`."""
    return ", ".join(f"{term} {share:.2f}" for term, share in found[:SHOWN_TERMS])
