"""A copy of the HTML report that says of which run it is.

DVC gives the same report to every commit and experiment with the same results, so the report itself
names none of them.
"""

from html import escape

# Around what the report says of its run, in template.html.
BEGIN, END = b"<!-- run -->", b"<!-- end of run -->"


def name_run(report: bytes, facts: dict[str, str]) -> bytes:
    """The report with `facts` where it says of which run it is; a report of another version of this
    project as it is.

    Args:
        report: what `splade_sts.report.html.html_report` gave, in UTF-8.
        facts: what to say, by its name; plain text.
    """
    before, begin, rest = report.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        return report
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items()
    )
    return before + begin + rows.encode() + end + after
