"""`python -m splade_sts verify`: a clean clone gives the committed dvc.lock again, and says where it does not."""

import shutil
import sys

from tests.conftest import run


def test_verify(project, tmp_path):
    """One hash in the committed dvc.lock is wrong: that output is named, all others are reproduced."""
    folder = tmp_path / "project"
    shutil.copytree(project, folder, symlinks=True)
    text = (folder / "dvc.lock").read_text()
    lines = text.splitlines()
    place = next(number for number, line in enumerate(lines) if line.strip() == "- path: metrics/finetune.json")
    md5 = next(line for line in lines[place:] if "md5:" in line and "hash" not in line)
    (folder / "dvc.lock").write_text(text.replace(md5, md5[:-32] + "f" * 32))
    run(["git", "commit", "-qam", "a wrong hash"], folder)
    status = run(["git", "status", "--short"], folder).stdout
    done = run([sys.executable, "-m", "splade_sts", "verify"], folder, check=False)
    results = [line.split("|")[1:4] for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    found = {path.strip(): result.strip() for _, path, result in results if result.strip() in ("reproduced", "differs", "missing")}
    assert found.pop("metrics/finetune.json") == "differs", done.stdout + done.stderr
    assert len(found) > 10 and set(found.values()) == {"reproduced"}, found
    assert done.returncode == 1 and "1 of" in done.stderr and "Traceback" not in done.stderr
    assert run(["git", "status", "--short"], folder).stdout == status


def test_nothing_to_verify(project, tmp_path):
    """A commit without dvc.lock."""
    folder = tmp_path / "project"
    shutil.copytree(project, folder, symlinks=True)
    run(["git", "rm", "-q", "dvc.lock"], folder)
    run(["git", "commit", "-qm", "no results"], folder)
    done = run([sys.executable, "-m", "splade_sts", "verify"], folder, check=False)
    assert done.returncode == 1 and "no dvc.lock is committed" in done.stderr and "Traceback" not in done.stderr
