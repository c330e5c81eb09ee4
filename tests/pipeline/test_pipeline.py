"""The pipeline as DVC runs it, in copies of the project with small files and a tiny model."""

import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch

from splade_sts import layout
from splade_sts.evaluation.results import Evaluation, QueryResults
from splade_sts.files import read_json
from splade_sts.model.encoder import load_encoder
from tests.support.commands import ROOT, dvc, run, stages_run
from tests.support.projects import copy_project, set_params


def results(project: Path) -> dict[str, bytes]:
    """What a run leaves in Git."""
    files = [project / layout.LOCK, *(project / "metrics").iterdir()]
    return {path.name: path.read_bytes() for path in files}


def changes(project: Path) -> str:
    return run(["git", "status", "--short"], project).stdout


@pytest.fixture
def copy(project, tmp_path) -> Path:
    return copy_project(project, tmp_path / "project")


def test_outputs(project, monkeypatch):
    """Every promised output is there, and the numbers agree wherever they stand."""
    monkeypatch.chdir(project)
    names = ["base", "comparison", "controls", "data", "finetuned", "record"]
    metrics = sorted(path.name for path in Path("metrics").iterdir())
    assert metrics == [*(f"{name}.json" for name in names), "training.csv", "validation.csv"]
    comparison = read_json(layout.evidence("comparison"))
    for name in layout.MODELS:
        evaluation = Evaluation.read(name)
        assert read_json(layout.metrics(name)) == evaluation.headlines(name)
        for split in layout.HELD_OUT:
            found = comparison["splits"][split]
            assert found[name]["metrics"] == vars(evaluation.splits[split].metrics)
            assert len(pd.read_parquet(layout.predictions(name) / f"{split}.parquet")) == 16
            whole = found["whole"]["spearman"][name]["value"]
            # by the library from float32 cosines, and by SciPy from what is stored
            assert whole == pytest.approx(evaluation.splits[split].metrics.spearman, abs=1e-6)
    for split in layout.HELD_OUT:
        controls = comparison["splits"][split]["controls"]
        assert {found["name"] for found in controls} == {"jaccard", "tfidf", "char_tfidf", "bm25"}
        for found in controls:
            spearman = read_json(layout.evidence("controls"))[split][found["name"]]["spearman"]
            assert found["spearman"]["value"] == pytest.approx(spearman)
    finetuned = Evaluation.read("finetuned")
    kept = read_json(layout.evidence("train"))["validation"]
    assert kept == pytest.approx(vars(finetuned.splits["validation"].metrics), abs=1e-6)
    assert 0 < finetuned.splits["validation"].retrieval.mrr_at_10 <= 1
    assert finetuned.splits["test"].retrieval is None  # it holds no paraphrases
    assert comparison["splits"]["test"]["retrieval"] is None
    for path, found in (
        (
            layout.paraphrase_queries("finetuned", "validation"),
            comparison["splits"]["validation"]["retrieval"],
        ),
        (layout.search_queries("finetuned", "mine"), comparison["searches"]["mine"]["retrieval"]),
    ):
        queries = QueryResults.read(path)
        assert found["mrr_at_10"]["finetuned"] == pytest.approx(queries.mrr_at_10.mean())
        assert found["queries"] == len(queries.query)
    assert comparison["searches"]["mine"]["retrieval"]["ndcg_at_10"]["gain"]["low"] < 1
    assert read_json(layout.PROVENANCE)["splits"]["train"]["rows"] == 32
    assert read_json(layout.metrics("data"))["shared_pairs"]["train_validation"] == 8
    assert not list(Path("models").rglob("README.md"))
    assert "library_name: sentence-transformers" in (layout.REPORTS / "model_card.md").read_text()
    assert "## test: pairs that gained most" in (layout.REPORTS / "comparison.md").read_text()
    assert changes(project) == ""


ENCODE = """
import json, sys
from sentence_transformers import SparseEncoder
for folder in sys.argv[1:]:
    vectors = SparseEncoder(folder, device="cpu").encode(["the dog runs in the park"]).to_dense()
    print(json.dumps(vectors.tolist()))
assert not any(name.startswith("splade_sts") for name in sys.modules)
"""


def test_the_models_need_none_of_our_code(project, tmp_path):
    """`SparseEncoder(folder)` elsewhere, offline, gives the vectors that we get."""
    folders = [project / layout.model(name) for name in layout.MODELS]
    lines = run(["python", "-c", ENCODE, *folders], tmp_path).stdout.splitlines()
    for folder, line in zip(folders, lines, strict=True):
        vectors = load_encoder(folder, device="cpu").encode(["the dog runs in the park"])
        assert torch.equal(torch.tensor(json.loads(line)), vectors.to_dense())
        assert not list(folder.rglob("*.bin"))


def test_a_second_run_does_nothing(copy):
    """Everything is up to date, and DVC says so. What it shows stays within its budget."""
    assert stages_run(dvc(copy, "repro").stdout) == []
    assert "up to date" in dvc(copy, "status").stdout
    shown = json.loads(dvc(copy, "metrics", "show", "--json").stdout)
    assert len(leaves(shown)) <= 40


def leaves(content: object) -> list[object]:
    """The values in nested mappings."""
    if not isinstance(content, dict):
        return [content]
    return [leaf for value in content.values() for leaf in leaves(value)]


def test_an_experiment(copy):
    """`dvc exp run -S train.epochs=2` re-runs what depends on it, and the diffs show it, within
    their budgets; going back restores everything from the cache.
    """
    before = results(copy)
    done = dvc(copy, "exp", "run", "-n", "two-epochs", "-S", "train.epochs=2")
    assert stages_run(done.stdout) == ["train", "evaluate@finetuned", "compare", "track"]
    assert read_json(copy / layout.evidence("train"))["steps"] == 4
    changed = json.loads(dvc(copy, "params", "diff", "--json").stdout)
    assert changed["params.yaml"].keys() == {"train.epochs"}
    diff = json.loads(dvc(copy, "metrics", "diff", "--json").stdout)
    rows = [f"{file}:{name}" for file, values in diff.items() for name in values]
    assert "metrics/finetuned.json:test.spearman" in rows
    assert len(rows) <= 30
    assert not [row for row in rows if row.startswith("metrics/base.json")]
    assert "two-epochs" in dvc(copy, "exp", "show", "--csv").stdout
    run(["git", "checkout", "-q", "."], copy)
    dvc(copy, "checkout")
    assert results(copy) == before
    assert stages_run(dvc(copy, "repro").stdout) == []


def test_an_experiment_beside_the_work(copy):
    """`--temp -S train.learning_rate=2e-5`, which DVC writes as 2e-05: it arrives as a number, and
    the workspace stays as it is.
    """
    before = {**results(copy), "params.yaml": (copy / "params.yaml").read_bytes()}
    command = ["exp", "run", "--temp", "-n", "slow", "-S", "train.learning_rate=2e-5"]
    assert "train" in stages_run(dvc(copy, *command).stdout)
    assert {**results(copy), "params.yaml": (copy / "params.yaml").read_bytes()} == before
    assert changes(copy) == ""
    shown = json.loads(dvc(copy, "exp", "show", "--json").stdout)
    experiments = [found for revision in shown for found in revision.get("experiments") or []]
    assert "slow" in [experiment["name"] for experiment in experiments]


def changed_stages(project: Path) -> set[str]:
    """The stages that DVC would run first, for what has changed."""
    return set(json.loads(dvc(project, "status", "--json").stdout))


EDITS = {
    "splade_sts/comparison/compare.py": {"compare"},
    "splade_sts/report/names.py": {"compare"},
    "splade_sts/report/template.html": {"compare"},
    "splade_sts/params.py": {"compare", "track"},
    "splade_sts/tracking/store.py": set(),
    "splade_sts/cli/runs.py": set(),
    "data/sample/train.csv": set(),
    "README.md": set(),
}
UPGRADES = {
    "requirements-model.txt": {"base_model", "evaluate@base", "train", "evaluate@finetuned"},
    "requirements-data.txt": {"normalize", "controls", "compare"},
}


def test_what_an_edit_runs_again(copy):
    """The report's code and words do not retrain, a change that no result depends on runs nothing,
    and the versions that numbers depend on do.
    """
    for name, expected in {**EDITS, **UPGRADES}.items():
        path = copy / name
        original = path.read_bytes()
        path.write_bytes(original + b"\n# edited\n")
        found = changed_stages(copy)
        assert found == expected if name in EDITS else found >= expected, name
        path.write_bytes(original)
    set_params(copy, train__checkpoint_steps=7)
    assert changed_stages(copy) == set()


def test_a_report_with_other_words(copy):
    """It is written anew, from the predictions that are there."""
    path = copy / "splade_sts/report/verdict.py"
    path.write_text(path.read_text().replace("Fine-tuning ", "Tuning "))
    assert stages_run(dvc(copy, "repro").stdout) == ["compare", "track"]
    assert "\nTuning " in (copy / "reports/comparison.md").read_text()


def test_an_edited_data_file(copy):
    """A bad score stops at normalize with file, row and value; the old state comes back when it is
    mended.
    """
    before, path = results(copy), copy / "data/own/test.csv"
    original = path.read_text()
    lines = original.splitlines()
    lines[3] = ",".join([*lines[3].split(",")[:2], "7.5"])
    path.write_text("\n".join(lines) + "\n")
    done = dvc(copy, "repro", check=False)
    assert done.returncode != 0
    assert "error: local: test.csv: 1 of 16 rows are bad:\n  line 4: score is '7.5'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (copy / layout.NORMALIZED).exists()
    path.write_text(original)
    assert stages_run(dvc(copy, "repro").stdout) == []
    assert results(copy) == before
    assert changes(copy) == ""


def test_a_further_test_set(copy, pairs):
    """Added to a run that is there, it trains nothing again and changes no headline; taken away, it
    leaves what was there before. Nothing of the test data reaches train, whatever on_leak says.
    """
    before = {path.name: path.read_bytes() for path in (copy / "metrics").glob("*.[jc]s*")}
    again = pairs.table().assign(score=pairs.score * 5)
    again.to_csv(copy / "data/own/again.csv", index=False)
    own = {"source": "local", "file": "again.csv", "score_range": [0, 5]}
    set_params(copy, data__test_sets={"again": own, "more": own})
    stages = stages_run(dvc(copy, "repro").stdout)
    expected = ["download", "normalize", "controls", "evaluate@base", "evaluate@finetuned"]
    assert sorted(stages) == sorted([*expected, "compare", "track"])
    record = layout.RECORD.name  # the parameters are part of a run's identity
    after = {path.name: path.read_bytes() for path in (copy / "metrics").glob("*.[jc]s*")}
    assert after.pop(record) != before.pop(record)
    assert after == before
    assert len(pd.read_parquet(copy / layout.prediction("base", "again"))) == 48
    suite = read_json(copy / layout.evidence("comparison"))["suite"]
    assert list(suite["levels"]["all"]["sets"]) == ["test", "again", "more"]
    assert suite["left_out"]["without_pairs"]["again"] == [*range(32)]
    assert "## Test sets without" in (copy / "reports/comparison.md").read_text()
    (copy / "data/own/again.csv").unlink()
    set_params(copy, data__test_sets=None)
    assert stages_run(dvc(copy, "repro").stdout) == ["track"]
    assert read_json(copy / layout.evidence("comparison"))["suite"] is None
    assert changes(copy) == ""


@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run(["unshare", "-n", "true"]).returncode != 0,
    reason="taking the network away needs unshare and root",
)
def test_the_same_bytes_without_any_network(copy):
    """Stages again, each in an interpreter of its own, in a network namespace without even a
    loopback: the same metrics, and the same hashes of all outputs.

    Not evaluate@base, which runs the code of evaluate@finetuned.
    """
    before = results(copy)
    stages = dvc(copy, "stage", "list", "--name-only").stdout.split()
    stages.remove("evaluate@base")
    command = ["unshare", "-n", "python", "-m", "dvc", "repro", "--force", "--single-item"]
    assert stages_run(run([*command, *stages], copy, real=True).stdout) == stages
    assert results(copy) == before


LIGHT = ("download", "normalize", "calibration", "controls", "compare")


def test_stages_that_read_tables_start_fast():
    """They import neither PyTorch nor `datasets` nor MLflow."""
    heavy = {"torch", "transformers", "datasets", "mlflow"}
    script = (
        f"import sys, {', '.join(f'stages.{name}' for name in LIGHT)}\n"
        f"found = {heavy} & set(sys.modules)\nassert not found, found"
    )
    run(["python", "-c", script], ROOT, real=True)
