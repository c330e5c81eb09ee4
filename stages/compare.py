"""compare: base against fine-tuned and against words alone, from the tables of predictions; and the
reports on it.
"""

from dataclasses import replace

from splade_sts import layout, params
from splade_sts.comparison.changed import changed_pairs
from splade_sts.comparison.compare import BothSearched, SearchResults, SplitResults, compare
from splade_sts.comparison.evidence import Comparison, Suite, best_words
from splade_sts.comparison.retrieval import RetrievalResults
from splade_sts.comparison.statistics import Bootstrap
from splade_sts.comparison.suite import SetScores, make_suite
from splade_sts.controls.reference import dense_encoder
from splade_sts.controls.scores import ControlScores
from splade_sts.data.pairs import Pairs
from splade_sts.data.provenance import Provenance
from splade_sts.data.search import read_origins
from splade_sts.data.sets import set_names
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Evaluation, Predictions, QueryResults
from splade_sts.files import read_json, replacing_folder, write_json
from splade_sts.process import run_stage
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


def read_results(genre: str | int | None) -> dict[str, SplitResults]:
    base, finetuned = Evaluation.read("base"), Evaluation.read("finetuned")
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
            base_evaluation=base.splits[split],
            finetuned_evaluation=finetuned.splits[split],
            controls=ControlScores.read(layout.control(split)),
            base_queries=queries_of("base", base, split),
            finetuned_queries=queries_of("finetuned", finetuned, split),
        )
    return results


def queries_of(name: layout.Model, found: Evaluation, split: layout.Split) -> QueryResults | None:
    if found.splits[split].retrieval is None:
        return None
    return QueryResults.read(layout.paraphrase_queries(name, split))


def read_searches() -> dict[str, SearchResults]:
    base, finetuned = Evaluation.read("base"), Evaluation.read("finetuned")
    return {
        name: SearchResults(
            origin,
            base.searches[name],
            finetuned.searches[name],
            QueryResults.read(layout.search_queries("base", name)),
            QueryResults.read(layout.search_queries("finetuned", name)),
        )
        for name, origin in read_origins().items()
    }


def read_paraphrases() -> dict[str, BothSearched]:
    """The searches in the further test sets that have paraphrases."""
    base, finetuned = Evaluation.read("base"), Evaluation.read("finetuned")
    found = {}
    for name in set_names():
        before, after = base.splits[name].retrieval, finetuned.splits[name].retrieval
        if before is not None and after is not None:
            found[name] = (
                RetrievalResults(
                    before, QueryResults.read(layout.paraphrase_queries("base", name))
                ),
                RetrievalResults(
                    after, QueryResults.read(layout.paraphrase_queries("finetuned", name))
                ),
            )
    return found


def read_suite(comparison: Comparison, train: Pairs, bootstrap: Bootstrap) -> Suite | None:
    """Test and the further test sets; None where there are none."""
    if not set_names():
        return None
    words = best_words(comparison.splits["validation"].controls)
    sets = {name: SetScores.read(name, words) for name in ("test", *set_names())}
    return make_suite(sets, train, words, bootstrap)


def main() -> None:
    settings = params.load()
    results = read_results(settings.data.columns.genre)
    train = Pairs.read(layout.normalized("train"))
    dense = dense_encoder(settings.controls, settings.base_model)
    bootstrap = Bootstrap.of(settings.compare)
    comparison = compare(
        results,
        train,
        bootstrap,
        read_searches(),
        read_paraphrases(),
        settings.compare.margin,
    )
    comparison = replace(
        comparison,
        dense_is_parent=dense is not None and dense.of_base_model,
        suite=read_suite(comparison, train, bootstrap),
    )
    changed = {
        split: changed_pairs(found.base, found.finetuned, settings.compare.changed_pairs)
        for split, found in results.items()
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
