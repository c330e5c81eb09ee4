"""The workflow for pull requests: what it may do, and how it comments."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.commands import ROOT

PATH = ROOT / ".github/workflows/pull-request.yml"
WORKFLOW: dict[str, Any] = YAML(typ="safe").load(PATH)
STEPS = {name: job["steps"] for name, job in WORKFLOW["jobs"].items()}
# In the place of GitHub's client: it notes what it is asked, and knows the comments of a file.
GH = """#!/bin/bash
printf '%s\\n' "$*" >> asked
case "$*" in
  *--paginate*) cat comments ;;
  *) cp body.md posted ;;
esac
"""


def test_what_it_may_do() -> None:
    """The code of a pull request runs with a token that may only read, which Git does not keep;
    what may write runs none of it. Actions are pinned by their commit.
    """
    assert WORKFLOW["on"] == "pull_request"
    assert WORKFLOW["permissions"] == {}
    permissions = {name: job["permissions"] for name, job in WORKFLOW["jobs"].items()}
    assert permissions == {"results": {"contents": "read"}, "comment": {"pull-requests": "write"}}
    checkouts = [step for step in STEPS["results"] if "checkout" in step.get("uses", "")]
    assert [step["with"]["persist-credentials"] for step in checkouts] == [False]
    assert not [step for step in STEPS["comment"] if "checkout" in step.get("uses", "")]
    for step in [step for steps in STEPS.values() for step in steps]:
        assert re.fullmatch(
            r"actions/[a-z-]+@[0-9a-f]{40}", step.get("uses", f"actions/x@{40 * '0'}")
        )
        assert "${{" not in step.get("run", ""), "what a stranger names would run as a command"


def test_it_runs_the_script_that_is_there() -> None:
    (script,) = [step["run"] for step in STEPS["results"] if ".ci/" in step.get("run", "")]
    name, base, folder, *options = script.split()
    assert (ROOT / name).stat().st_mode & 0o111
    assert (base, options[:2]) == ("HEAD^1", ["-S", "offline=true"])
    (uploaded,) = [
        step["with"]["path"] for step in STEPS["results"] if "path" in step.get("with", "")
    ]
    assert uploaded == folder


@pytest.mark.parametrize(("known", "call"), [("", "issues/7/comments -F"), ("42\n43", "PATCH")])
def test_one_comment_for_each_pull_request(tmp_path: Path, known: str, call: str) -> None:
    """The first time it is posted, then it is changed."""
    asked, posted = commented(tmp_path, "It fell.\n<details>\nx\n</details>\n", known)
    assert call in asked
    assert ("comments/42 " in asked) == bool(known)
    assert posted == "<!-- results of the pipeline -->\nIt fell.\n<details>\nx\n</details>\n"


def test_a_report_that_is_too_long(tmp_path: Path) -> None:
    """It is left out, and the comment says where it is: GitHub takes 65,536 characters."""
    _, posted = commented(tmp_path, f"It fell.\n<details>\n{'ü' * 66_000}\n</details>\n", "")
    assert posted.startswith("<!-- results of the pipeline -->\nIt fell.\nThe report is too long")
    assert posted.endswith("in the artifact `results` of https://run.\n")
    _, posted = commented(tmp_path, f"{'ü' * 64_000}\n", "")
    assert posted.endswith("ü\n"), "characters count, not bytes"


def commented(folder: Path, comment: str, known: str) -> tuple[str, str]:
    """What the step asks of GitHub and posts, as GitHub's runner starts it."""
    (step,) = [step for step in STEPS["comment"] if "run" in step]
    (folder / "gh").write_text(GH)
    (folder / "gh").chmod(0o755)
    (folder / "comment.md").write_text(comment)
    (folder / "comments").write_text(known)
    values = {"REPOSITORY": "o/r", "NUMBER": "7", "RUN": "https://run"}
    environment = {**step["env"], **values, "PATH": f"{folder}:/usr/bin:/bin"}
    subprocess.run(
        ["bash", "-e", "-c", step["run"]], cwd=folder, env=environment, check=True, timeout=30
    )
    return (folder / "asked").read_text(), (folder / "posted").read_text()
