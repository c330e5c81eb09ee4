"""Numbers of docs/results.md and docs/performance.md stand in files that their sections name.

Which numbers are read, and the convention in words: CONTRIBUTING.md, "Numbers in documents". The
table of the fuzzer's figures in docs/reliability.md is that of its file, and so is that of
environment variables in docs/reproducibility.md.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import ROOT

FILES = "Files: "
LINK = re.compile(r"\]\(([^)]*)\)")
# What holds digits and is no measured number: code, addresses, dates, versions.
NOT_MEASURED = re.compile(r"`[^`]*`|\]\([^)]*\)|\b\d{4}-\d{2}-\d{2}\b|\b\d+\.\d+\.\d+\b")
NUMBER = re.compile(
    r"(?<![\w.,@/-])(?P<sign>[+−-]?)(?P<digits>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.(?P<decimals>\d+))?)"
    r"(?:e(?P<exponent>[+−-]?\d+))?(?P<percent> ?%)?(?!\w|[.,]\d)"
)
# Significant digits from which a number is read: with a decimal point or in a row of a table, and
# without either. Whole numbers of running text that have fewer are mostly settings (batches of 16).
FEWEST_DIGITS, FEWEST_DIGITS_IN_TEXT = 2, 3


@dataclass(frozen=True)
class Unit:
    """A paragraph, or a row of a table: its numbers stand beside each other. `text` has the lines
    of the document, without what is not measured.
    """

    line: int
    text: str


@dataclass(frozen=True)
class Number:
    """A number as a document shows it."""

    line: int
    shown: str
    value: float
    signed: bool
    step: float  # of its last digit
    in_table: bool

    @property
    def is_checked(self) -> bool:
        """Whether it has the digits of a measurement."""
        digits = re.sub(r"\D", "", re.split("e|%", self.shown)[0]).lstrip("0")
        is_measurement = self.in_table or "." in self.shown
        return len(digits) >= (FEWEST_DIGITS if is_measurement else FEWEST_DIGITS_IN_TEXT)

    def is_rounded(self, exact: float, signed: bool) -> bool:
        """Whether it is `exact`, rounded to its digits; without `signed`, up to the sign."""
        value, exact = (self.value, exact) if signed else (abs(self.value), abs(exact))
        return abs(value - exact) <= self.step * (0.5 + 1e-6)


def units(text: str) -> Iterator[Unit]:
    """The units of a document, its headings and lines `Files:` among them, without code blocks."""
    in_code, start, lines = False, 0, list[str]()
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        is_fence = line.lstrip().startswith("```")
        alone = line.startswith(("|", "#", FILES))
        if lines and (is_fence or alone or not line.strip()):
            yield Unit(start, "\n".join(lines))
            lines = []
        in_code ^= is_fence
        if in_code or is_fence or not line.strip():
            continue
        if alone:
            yield Unit(number, line)
        else:
            start = start if lines else number
            lines.append(line)


def numbers(unit: Unit) -> list[Number]:
    """The numbers of a unit."""
    found = []
    for offset, line in enumerate(unit.text.splitlines()):
        for match in NUMBER.finditer(NOT_MEASURED.sub(" ", line)):
            exponent = int((match["exponent"] or "0").replace("−", "-"))
            scale = 10.0**exponent / (100 if match["percent"] else 1)
            value = float(match["digits"].replace(",", "")) * scale
            found.append(
                Number(
                    unit.line + offset,
                    match[0].strip(),
                    -value if match["sign"] in ("−", "-") and match["sign"] else value,
                    bool(match["sign"]),
                    scale * 10.0 ** -len(match["decimals"] or ""),
                    unit.text.startswith("|"),
                )
            )
    return found


def values(content: Any) -> Iterator[float]:
    """Every number of a JSON file, those in its texts too: "ours, batch 256" names a row."""
    if isinstance(content, dict | list):
        for part in content.values() if isinstance(content, dict) else content:
            yield from values(part)
    elif isinstance(content, str):
        yield from (number.value for number in numbers(Unit(0, content)))
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield float(content)


def problems(document: Path) -> list[str]:
    """The numbers of a document that have no file, each with its line."""
    found: list[str] = []
    waiting: list[Unit] = []
    for unit in units(document.read_text(encoding="utf-8")):
        if unit.text.startswith(FILES):
            found += compared(document, waiting, LINK.findall(unit.text))
            waiting = []
        elif unit.text.startswith("#"):
            found += without_files(document, waiting)
            waiting = []
        else:
            waiting.append(unit)
    return found + without_files(document, waiting)


def without_files(document: Path, waiting: list[Unit]) -> list[str]:
    """What is wrong with units that no line `Files:` follows."""
    return [
        f"{document.name}:{number.line}: {number.shown}: no line `{FILES}…` follows in its section"
        for unit in waiting
        for number in numbers(unit)
        if number.is_checked
    ]


def compared(document: Path, waiting: list[Unit], names: list[str]) -> list[str]:
    """What is wrong with units whose numbers should stand in the files `names`."""
    paths = [document.parent / name for name in names]
    exact = [
        value for path in paths for value in values(json.loads(path.read_text(encoding="utf-8")))
    ]
    found = []
    for unit in waiting:
        shown = numbers(unit)
        origins = {
            number: [value for value in exact if number.is_rounded(value, number.signed)]
            for number in shown
        }
        for number in shown:
            if number.is_checked and not origins[number]:
                others = [origins[other] for other in shown if other is not number]
                if not any(
                    number.is_rounded(one - other, signed=False)
                    for first, second in combinations(others, 2)
                    for one in first
                    for other in second
                ):
                    found.append(
                        f"{document.name}:{number.line}: {number.shown} stands in none of "
                        f"{', '.join(names)}, nor is it a difference of two numbers beside it"
                    )
    return found


@pytest.mark.parametrize("name", ["results.md", "performance.md"])
def test_every_number_has_a_file(name: str) -> None:
    found = problems(ROOT / "docs" / name)
    assert not found, "\n".join(["", *found])


def test_every_number_of_the_first_page_has_a_file() -> None:
    """Its table is of the run with seed 1, its example is what the command prints of the demo."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    measured, rest = text.split("## Start")
    run = [f"docs/results/seed-1/{name}.json" for name in ("base", "controls", "comparison")]
    found = compared(
        ROOT / "README.md",
        [*units(measured.replace("| 384 |", "| |"))],  # a size of the dense encoder
        [*run, "docs/results/seed-1/finetuned.json"],
    )
    (shown,) = [line for line in rest.splitlines() if line.startswith("demo  ")]
    found += compared(ROOT / "README.md", [Unit(0, f"| {shown}")], ["docs/results/demo/runs.json"])
    assert not found, "\n".join(["", *found])


def test_the_table_of_the_fuzzer_is_that_of_its_file() -> None:
    content = json.loads((ROOT / "docs/results/reliability/fuzz.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    names = {
        "data": "data files",
        "params": "`params.yaml`",
        "arguments": "arguments",
        "models": "model folders",
    }
    for row in content["rows"]:
        counts = (row[key] for key in ("inputs", "refused", "accepted", "findings"))
        cells = [
            names.pop(row["target"]),
            *(f"{count:,}" for count in counts),
            f"{row['longest_call_seconds']:.1f} s",
            f"{row['peak_memory_mib']} MiB",
        ]
        assert f"\n| {' | '.join(cells)} |\n" in text
    assert not names, "without figures"
    assert f"\nSeed {content['seed']};" in text


def test_the_table_of_environment_variables_is_that_of_its_file() -> None:
    path = ROOT / "docs/results/reproducibility/environment.json"
    text = (ROOT / "docs/reproducibility.md").read_text(encoding="utf-8")
    table = text.partition("## Environment variables")[2]
    shown = re.findall(r"^\| `(\w+)=(.+?)` \| (.+?) \| (.+?) \|$", table, re.MULTILINE)
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert shown == [
        (row["variable"], row["value"], row["fp32"], row["bf16"])
        for row in rows
        if row["variable"] != "none"
    ]


def test_the_licence_of_every_set_that_may_be_turned_on() -> None:
    """By its name and id, in docs/licences.md, which is named where sets are turned on."""
    block = (ROOT / "params.yaml").read_text(encoding="utf-8")
    for text in (block, (ROOT / "docs/data-and-models.md").read_text(encoding="utf-8")):
        assert "licences.md" in text
    sets = re.findall(r"#   ([\w-]+): \{source: (mteb/[\w-]+),", block)
    assert len(sets) == 9
    text = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
    lacking = [name for name, source in sets if f"| `{name}` | `{source}` | " not in text]
    assert not lacking


def test_files_of_the_clusters() -> None:
    """The table of method.md is that of its file."""
    content = json.loads((ROOT / "docs/results/calibration/clusters.json").read_text())
    table = (
        (ROOT / "docs/method.md").read_text(encoding="utf-8").partition("| data | pairs | clu")[2]
    )
    shown = [
        tuple(float(cell.replace(",", "")) for cell in re.findall(r"[\d,.]*\d", row)[-4:])
        for row in table.partition("\n\n")[0].splitlines()[2:]
    ]
    known = [tuple(round(value) for value in row.values()) for row in content.values()]
    assert shown
    assert all(tuple(map(round, row)) in known for row in shown)


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """Where a document goes, beside a file with a few numbers."""
    content = {
        "a": {"spearman": 0.79877, "low": -0.0193, "share": 0.123},
        "n": [1379, 0.7462, 1e-9, 47],
        "run": "ours 2.13.0, batch 256",
    }
    (tmp_path / "x.json").write_text(json.dumps(content))
    return tmp_path / "x.md"


NAMED = "\n\nFiles: [x](x.json)\n"


@pytest.mark.parametrize(
    "text",
    [
        "0.7988 [−0.0193, 1.00e-9] of 1,379 pairs, 12.3 %, 0.01930 below",
        "from 0.7462 to 0.7988: +0.0526",
        "| a | 0.7462 | 0.7988 | −0.0526 |",
        "| ours, batch 256 | 0.80 | 47 | 5 |",
        "with 0.5, 24 GiB, 95 %, Python 3.11.7, 2026-11-23, all-MiniLM-L6-v2, MRR@10, p = 2e-13",
        "`-S a=0.12345` [1.2345](x-1.2345.md)\n\n```console\n$ 0.12345\n```",
    ],
)
def test_numbers_that_have_a_file(document: Path, text: str) -> None:
    """Rounded to the digits shown, in per cent, differences of two numbers beside them, and numbers
    in texts of the file; few digits, code, dates and versions are not asked for.
    """
    document.write_text(text.replace("[1.2345]", "[a]") + NAMED)
    assert problems(document) == []


@pytest.mark.parametrize(
    ("text", "line", "shown"),
    [
        ("one\n0.7987" + NAMED, 2, "0.7987"),
        ("0.79878" + NAMED, 1, "0.79878"),
        ("+0.0193" + NAMED, 1, "+0.0193"),
        ("1,378 pairs" + NAMED, 1, "1,378"),
        ("| a |\n|---|\n| 0.7462 | 0.7988 |\n| 0.0526 |" + NAMED, 4, "0.0526"),
        ("0.7462 and 0.7988\n\n0.0526" + NAMED, 3, "0.0526"),
        ("12.4 %" + NAMED, 1, "12.4 %"),
        ("in 1.3 s" + NAMED, 1, "1.3"),
        ("| a | 48 |" + NAMED, 1, "48"),
        ("| a | 13 % |" + NAMED, 1, "13 %"),
        ("batches of 257" + NAMED, 1, "257"),
        ("0.7988" + NAMED + "\nthen 0.7462 again", 5, "0.7462"),
        ("0.7988\n\n## Next\n\n0.7462" + NAMED, 1, "0.7988"),
    ],
)
def test_numbers_that_have_none(document: Path, text: str, line: int, shown: str) -> None:
    """The message names the line and the number."""
    document.write_text(text)
    (problem,) = problems(document)
    assert problem.startswith(f"x.md:{line}: {shown}")
