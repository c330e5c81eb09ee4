"""compare: base against fine-tuned and against words alone, from the tables of predictions; and the
reports on it.
"""

from collections.abc import Mapping
from dataclasses import replace

from splade_sts import layout, params
from splade_sts.comparison.changed import changed_pairs
from splade_sts.comparison.compare import SearchResults, SplitResults, compare
from splade_sts.comparison.evidence import Comparison, Suite, best_words
from splade_sts.comparison.retrieval import BothSearched, RetrievalResults
from splade_sts.comparison.statistics import Bootstrap
from splade_sts.comparison.suite import SetScores, make_suite
from splade_sts.controls.reference import dense_encoder
from splade_sts.controls.scores import ControlScores
from splade_sts.data.pairs import InParts, Pairs
from splade_sts.data.provenance import Provenance
from splade_sts.data.search import read_origins
from splade_sts.data.sets import set_names
from splade_sts.data.stored import StoredPairs
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Evaluation, Predictions, QueryResults
from splade_sts.files import read_json, replacing_folder, write_json
from splade_sts.process import keep_freed_memory, run_stage
from splade_sts.report.card import model_card
from splade_sts.report.html import html_report
from splade_sts.report.markdown import markdown_report
from splade_sts.report.pictures import PlotTables, pictures
from splade_sts.report.plots import write_plots
from splade_sts.report.sections import numbers, sections
from splade_sts.report.setting import Setting
from splade_sts.report.verdict import verdict
from splade_sts.runs.public import public_params, short_path
from splade_sts.text import markdown_table
from splade_sts.training.curves import TrainingPoint, ValidationPoint, read_curve

# No number in the report depends on these.
NOT_SHOWN = ("track", "train.checkpoint_steps")

Evaluations = Mapping[layout.Model, Evaluation]


def read_results(found: Evaluations, genre: str | int | None) -> dict[str, SplitResults]:
    results = {}
    for split in layout.HELD_OUT:
        pairs = Pairs.read(layout.normalized(split))
        if genre is not None and pairs.genre is None:
            raise UserError(
                f"data.columns.genre is {genre!r}, but data/normalized has no genre for {split}; "
                "run dvc repro"
            )
        results[str(split)] = SplitResults(
            pairs=pairs,
            base=Predictions.read(layout.prediction("base", split)),
            finetuned=Predictions.read(layout.prediction("finetuned", split)),
            base_evaluation=found["base"].splits[split],
            finetuned_evaluation=found["finetuned"].splits[split],
            controls=ControlScores.read(layout.control(split)),
            paraphrases=read_paraphrases(found, split),
        )
    return results


def read_paraphrases(found: Evaluations, held_out: str) -> BothSearched | None:
    """What both models found in the search for paraphrases; None where there are none."""

    def one(name: layout.Model) -> RetrievalResults | None:
        means = found[name].splits[held_out].retrieval
        if means is None:
            return None
        return RetrievalResults(means, QueryResults.read(layout.paraphrase_queries(name, held_out)))

    base, finetuned = one("base"), one("finetuned")
    return None if base is None or finetuned is None else (base, finetuned)


def read_searches(found: Evaluations) -> dict[str, SearchResults]:
    return {
        name: SearchResults(
            origin,
            found["base"].searches[name],
            found["finetuned"].searches[name],
            QueryResults.read(layout.search_queries("base", name)),
            QueryResults.read(layout.search_queries("finetuned", name)),
        )
        for name, origin in read_origins().items()
    }


def read_suite(comparison: Comparison, train: InParts, bootstrap: Bootstrap) -> Suite | None:
    """Test and the further test sets; None where there are none."""
    if not set_names():
        return None
    words = best_words(comparison.splits["validation"].controls)
    sets = {name: SetScores.read(name, words) for name in ("test", *set_names())}
    return make_suite(sets, train, words, bootstrap)


def main() -> None:
    keep_freed_memory(True)  # else half of the time goes into getting the same blocks again
    settings = params.load()
    found = {name: Evaluation.read(name) for name in layout.MODELS}
    results = read_results(found, settings.data.columns.genre)
    train = StoredPairs(layout.normalized("train"))
    dense = dense_encoder(settings.controls, settings.base_model)
    bootstrap = Bootstrap.of(settings.compare)
    comparison = compare(
        results,
        train,
        bootstrap,
        searches=read_searches(found),
        paraphrases={
            name: both
            for name in set_names()
            if (both := read_paraphrases(found, name)) is not None
        },
        margin=settings.compare.margin,
    )
    comparison = replace(
        comparison,
        dense_is_parent=dense is not None and dense.of_base_model,
        suite=read_suite(comparison, train, bootstrap),
    )
    changed = {
        split: changed_pairs(one.base, one.finetuned, settings.compare.changed_pairs)
        for split, one in results.items()
    }
    tables = PlotTables.of(results["test"].base, results["test"].finetuned)
    calibration = comparison.splits["test"].calibration
    assert calibration is not None
    drawn = pictures(
        tables,
        calibration,
        read_curve(layout.TRAINING_CURVE.read_text(encoding="utf-8"), TrainingPoint),
        read_curve(layout.VALIDATION_CURVE.read_text(encoding="utf-8"), ValidationPoint),
    )
    base = read_json(layout.BASE_SOURCE)
    setting = Setting(
        base=base | {"source": short_path(base["source"]) or base["source"]},
        data=read_json(layout.evidence("data")),
        provenance=Provenance.read(),
        training=read_json(layout.evidence("train")),
        params=public_params(settings, without=NOT_SHOWN),
        score_range=settings.data.known_range,
    )
    with replacing_folder(layout.PLOTS) as folder:
        write_plots(folder, comparison, tables)
    with replacing_folder(layout.REPORTS) as folder:
        texts = {
            "comparison.md": markdown_report(verdict(comparison), sections(comparison), changed),
            "comparison.html": html_report(comparison, changed, drawn, setting),
            "model_card.md": model_card(comparison, setting),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        for picture in drawn:
            (folder / f"{picture.name}.png").write_bytes(picture.light)
    write_json(layout.evidence("comparison"), comparison.content())
    write_json(layout.metrics("comparison"), comparison.headlines())
    table = numbers(comparison)
    print(markdown_table(table.columns, table.rows, table.labels))
    print(verdict(comparison))
    print(f"Report: {layout.REPORTS}/comparison.html")


if __name__ == "__main__":
    run_stage(main)
