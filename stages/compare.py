"""compare: base against fine-tuned and against words alone, from the tables of predictions; and the reports on it."""

import pandas as pd

from splade_sts import params
from splade_sts.comparison.compare import (
    MODELS, add_controls, add_costs, add_evidence, add_parts, changed_pairs, check_same_pairs,
    check_scores, compare, markdown_report, metrics_table,
)
from splade_sts.errors import run_stage
from splade_sts.files import read_json, replacing, write_json
from splade_sts.report.pictures import active_dims_histogram, error_by_band, pictures, prediction_table
from splade_sts.report.html import html_report, sections, verdict
from splade_sts.comparison.slices import check_genre

SPLITS = ("validation", "test")


def read_splits(folder: str) -> dict[str, pd.DataFrame]:
    return {split: pd.read_parquet(f"{folder}/{split}.parquet") for split in SPLITS}


def main() -> None:
    settings = params.load()
    base, finetuned, controls = (read_splits(f"predictions/{name}") for name in (*MODELS, "controls"))
    pairs, train = read_splits("data/normalized"), pd.read_parquet("data/normalized/train.parquet")
    check_genre(pairs, settings.data.columns.genre)
    for split in SPLITS:
        tables = {"base": base, "finetuned": finetuned, "controls": controls, "data/normalized": pairs}
        check_same_pairs({name: table[split] for name, table in tables.items()}, split)
        check_scores(base[split], finetuned[split], split)
    comparison = compare(base, finetuned)
    confidence = settings.compare.confidence
    bootstrap = (settings.compare.resamples, confidence, settings.compare.seed)
    add_costs(comparison, *(read_json(f"metrics/{name}.json") for name in MODELS))
    add_evidence(comparison, base, finetuned, *bootstrap)
    add_controls(comparison, controls, finetuned, *bootstrap)
    overlap = {split: table["jaccard"] for split, table in controls.items()}
    add_parts(comparison, base, finetuned, train, pairs, overlap, *bootstrap)
    changed = {split: changed_pairs(base[split], finetuned[split], settings.compare.changed_pairs) for split in SPLITS}
    tables = {
        table.__name__: table(base["test"], finetuned["test"])
        for table in (prediction_table, error_by_band, active_dims_histogram)
    }
    with replacing("plots") as folder:
        folder.mkdir()
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv", index=False)
    drawn = pictures(*tables.values(), pd.read_csv("metrics/training.csv"), pd.read_csv("metrics/validation.csv"))
    shown = params.public_params(params.flatten(settings.model_dump(exclude={"tracking"})))
    with replacing("reports") as folder:
        folder.mkdir()
        markdown = markdown_report(verdict(comparison, confidence), comparison, changed, sections(comparison, confidence))
        (folder / "comparison.md").write_text(markdown, encoding="utf-8")
        for picture in drawn:
            (folder / f"{picture.name}.png").write_bytes(picture.light)
        html = html_report(
            comparison, changed, drawn, read_json("metrics/data.json"), shown, read_json("data/raw/provenance.json"), confidence,
        )
        (folder / "comparison.html").write_text(html, encoding="utf-8")
    write_json("metrics/comparison.json", comparison)
    print(metrics_table(comparison))
    print(verdict(comparison, confidence))
    print("Report: reports/comparison.html")


if __name__ == "__main__":
    run_stage(main)
