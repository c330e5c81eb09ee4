"""The card of a release."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from splade_sts.comparison.compare import compare
from splade_sts.comparison.evidence import (
    LevelResult,
    MeanResult,
    RetrievalChange,
    RetrievalComparison,
    SearchComparison,
    SetResult,
    Suite,
)
from splade_sts.comparison.statistics import Correlations
from splade_sts.data.provenance import Origin, SetOrigin
from splade_sts.evaluation.results import Evaluation, Retrieval, SearchEvaluation
from splade_sts.release.card import PLACE, release_card
from splade_sts.release.run import Run
from splade_sts.report import names
from splade_sts.report.card import model_card
from tests.support.records import run_record
from tests.support.results import (
    BASE,
    BOOTSTRAP,
    FINETUNED,
    NOTHING,
    making,
    repeated,
    split_results,
)

COMMIT = "f" * 40


@pytest.fixture(scope="module")
def run() -> Run:
    """A run with two further test sets, one of the Hub and one of a file, and a search."""
    results = split_results(repeated(BASE), repeated(FINETUNED))
    comparison = compare({"validation": results, "test": results}, NOTHING, BOOTSTRAP)
    change = comparison.splits["test"].spearman
    found = {"finetuned": Correlations(pearson=change.finetuned, spearman=change.gain)}
    sets = {"test": SetResult(20, found), "STS9": SetResult(1234, found), "own": SetResult(7, {})}
    mean = MeanResult(("test", "STS9"), found, {})
    searched = RetrievalChange(0.3, 0.4321, change.gain, None)
    retrieval = RetrievalComparison(2, 9, 2, searched, searched, replace(searched, gain=None))
    comparison = replace(
        comparison,
        suite=Suite(None, {"all": LevelResult(sets, {"all": mean})}, {}, {}),
        searches={"NanoX": SearchComparison("n/x", "9" * 40, 5.0, 6.5, retrieval)},
    )
    split = comparison.splits["test"].finetuned
    more = replace(split, metrics=replace(split.metrics, spearman=0.25, active_dims=33.25))
    evaluation = Evaluation(
        {"validation": split, "test": split, "STS9": more, "own": more},
        {"NanoX": SearchEvaluation(Retrieval(2, 9, 0.1, 0.4321, 0.3), 4.5, 6.5)},
    )
    setting = making()
    rows = Origin("x", "0" * 64, 1)
    origins = {
        "STS9": SetOrigin("m/sts9", "en", "test", "8" * 40, rows),
        "own": SetOrigin("local", None, None, None, rows),
    }
    setting = replace(setting, provenance=replace(setting.provenance, test_sets=origins))
    card = model_card(comparison, setting).encode()
    record = replace(run_record(), artifacts={"reports/model_card.md": card})
    return Run("splade-sts", record, comparison, evaluation, setting, COMMIT, ())


def test_every_result_where_the_hub_looks_for_it(run: Run) -> None:
    """Test first; each set under its own name with its revision; the licence and the rest as in the
    report's card.
    """
    card = ModelCard(release_card(run)).data
    assert (card.license, card.base_model, card.datasets) == ("mit", "a/b", ["c/d"])
    assert (card.pipeline_tag, card.model_name) == ("feature-extraction", "splade-sts")
    found = {}
    for one in card.eval_results:
        found.setdefault((one.dataset_name, one.dataset_type, one.dataset_revision), {})[
            one.metric_type
        ] = one.metric_value
    assert list(found) == [
        ("c/d (test)", "c/d", "e" * 40),
        ("c/d (validation)", "c/d", "e" * 40),
        ("STS9", "m/sts9", "8" * 40),
        ("own", "own", None),
        ("NanoX", "n/x", "9" * 40),
    ]
    metrics = run.comparison.splits["test"].finetuned.metrics
    assert found["c/d (test)", "c/d", "e" * 40] == {
        "spearman_cosine": metrics.spearman,
        "pearson_cosine": metrics.pearson,
        "active_dims": metrics.active_dims,
    }
    assert found["own", "own", None]["spearman_cosine"] == 0.25
    assert found["NanoX", "n/x", "9" * 40]["cosine_ndcg@10"] == 0.4321
    configs = {one.dataset_config for one in card.eval_results if one.dataset_name == "STS9"}
    assert configs == {"en"}


def test_what_it_says(run: Run) -> None:
    """Intervals of all sets, the licence, the commit, hashes; links to files of the release."""
    text = " ".join(release_card(run).split())
    gain = run.comparison.splits["test"].spearman.gain
    assert f"| 1,234 | {gain.value:.4f} [{', '.join(names.ends(gain))}]" in text
    assert f"0.4321 [{', '.join(names.ends(gain, '+'))}]" in text
    assert "| m/sts9 at 888888888888 |" in text
    assert "| own | local |" in text
    assert "`mit`, which the model inherits from its base model a/b." in text
    assert f"Commit `{COMMIT}`. `dvc repro` makes all of it" in text
    for path, md5 in run.outputs.items():
        assert f"| `{path}` | `{md5}` |" in text
    assert text.count(PLACE) == 1, "the report's own words on its use are replaced"
    assert "[dvc.lock](pipeline/dvc.lock)" in text


def test_a_limit_of_active_dims(run: Run) -> None:
    """With which the results were measured, and without which the model would have others."""
    params = {**run.setting.params, "evaluate.max_active_dims": 32}
    text = release_card(replace(run, setting=replace(run.setting, params=params)))
    assert f'SparseEncoder("{PLACE}", max_active_dims=32)' in text
    assert "The results are those of at most 32 active dims." in text


@pytest.mark.parametrize(
    ("license", "said"),
    [
        ("cc-by-nc-sa-4.0", "from its base model a/b. Not for commercial use."),
        ("unknown", "The base model a/b names no licence: ask who made it"),
    ],
)
def test_licences(run: Run, license: str, said: str) -> None:
    setting = replace(run.setting, base=run.setting.base | {"license": license})
    assert said in " ".join(release_card(replace(run, setting=setting)).split())


def test_no_markup_of_others(run: Run) -> None:
    """Names of files that Git does not hold, and of sets, are text."""
    evil = "<script>alert(1)</script>|`x`"
    suite = run.comparison.suite
    assert suite is not None
    level = suite.levels["all"]
    sets = replace(level, sets={**level.sets, evil: level.sets["own"]})
    changed = replace(
        run,
        changed=(evil,),
        comparison=replace(run.comparison, suite=replace(suite, levels={"all": sets})),
        evaluation=replace(
            run.evaluation, splits={**run.evaluation.splits, evil: run.evaluation.splits["own"]}
        ),
        setting=replace(
            run.setting,
            provenance=replace(
                run.setting.provenance,
                test_sets={
                    **run.setting.provenance.test_sets,
                    evil: run.setting.provenance.test_sets["own"],
                },
            ),
        ),
    )
    text = release_card(changed).split("---\n", 2)[2]
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "alert(1)" in page
    assert "<script" not in page
    assert "with changes that it does not hold in" in page
