"""Text for people: words, and Markdown in which nothing from outside is markup."""

import re

import pytest

from splade_sts.text import WORD_JOINER, markdown_table, one_line, paragraph, terminal_table, words


def test_words():
    """Case folded, split at everything that is no letter, digit or underscore; other scripts are
    letters, too.
    """
    assert words("The STRASSE, the Straße: 3.5!") == ["the", "strasse", "the", "strasse", "3", "5"]
    assert words("Кот спит") == ["кот", "спит"]
    assert words("!? …") == []


@pytest.mark.parametrize(
    "text", ["a | b", "<b>x</b>", "back\\|slash", "two\nlines", "*x* _y_ `z` [l](u) # h", "$x$ ~y~"]
)
def test_text_stays_one_cell(text):
    """Whatever it holds, each row has as many cells as the header, and no bare markup."""
    table = markdown_table(["text", "number"], [[one_line(text), "1"], ["x", "2"]])
    unescaped = [re.sub(r"\\.", "", row) for row in table.splitlines()]
    assert [row.count("|") for row in unescaped] == [3] * 4
    assert not re.search(r"[<>*`\[\]#$~_]", unescaped[2])


def test_numbers_are_aligned_and_kept():
    """Digits stand as they were given."""
    table = markdown_table(["name", "value"], [["a", "+1.0"], ["b", "-10.25"]])
    assert table.splitlines() == [
        "| name   |   value |",
        "|:-------|--------:|",
        "| a      |    +1.0 |",
        "| b      |  -10.25 |",
    ]


@pytest.mark.parametrize(
    ("text", "alive"),
    [
        ("ask @somebody", "@somebody"),
        ("as in #12", "#12"),
        ("GH-12", "GH-12"),
        ("see https://evil.example/x", "://"),
        ("www.evil.example", "www."),
        ("mail a@b.example", "@b"),
    ],
)
def test_nothing_is_a_link_or_a_mention(text, alive):
    """Code hosts make these of plain text too; what a reader sees stays."""
    dead = one_line(text)
    assert alive not in dead.replace("\\", "")
    assert dead.replace("\\", "").replace(WORD_JOINER, "") == text
    assert one_line("at 3:45, no. 5 # 7 - e@ f") == "at 3:45, no. 5 \\# 7 - e@ f"


def test_a_table_for_a_terminal(monkeypatch):
    """As wide as the terminal at most: the text of the first column goes on below, the numbers
    stand as they were given, and nothing is a command for the terminal.
    """
    monkeypatch.setenv("COLUMNS", "60")
    long = "epochs-2-learning_rate-0.0001-regularizer_weight-0.0015-seed-1"
    rows = [[long, "0.10", "+1 [0, 2]"], ["a\x1b[2Jb", "0.20", "–"]]
    lines = terminal_table(["run", "two\nlines", "gain"], rows).splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[0].split() == ["run", "two", "gain"]
    assert lines[1].split() == ["lines"]
    assert set(lines[2]) == {"-"}
    assert lines[3].split()[1:] == ["0.10", "+1", "[0,", "2]"]
    assert "".join(line.split("  ")[0] for line in lines[3:-1]) == long
    assert lines[-1].split() == [r"a\x1b[2Jb", "0.20", "–"]
    monkeypatch.setenv("COLUMNS", "200")
    assert len(terminal_table(["run", "x"], [[long, "1"]]).splitlines()) == 3


def test_a_paragraph_for_a_terminal(monkeypatch):
    """Lines that fit, broken between words only."""
    monkeypatch.setenv("COLUMNS", "20")
    text = "two-words and some more \x1b of them"
    assert paragraph(text, indent="  ").splitlines() == [
        "  two-words and some",
        "  more \\x1b of them",
    ]
