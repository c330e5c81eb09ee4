"""compare: base against fine-tuned, from the two tables of predictions alone; and the reports on it."""

import pandas as pd

from splade_sts import params
from splade_sts.comparison import MODELS, add_evidence, changed_pairs, compare, markdown_report, metrics_table
from splade_sts.errors import run_stage
from splade_sts.files import read_json, replacing, write_json
from splade_sts.pictures import active_dims_histogram, error_by_band, pictures, prediction_table
from splade_sts.report import html_report, verdict


def main() -> None:
    settings = params.load()
    splits = ("validation", "test")
    base, finetuned = (
        {split: pd.read_parquet(f"predictions/{name}/{split}.parquet") for split in splits} for name in MODELS
    )
    comparison = compare(base, finetuned)
    confidence = settings.compare.confidence
    add_evidence(comparison, base, finetuned, settings.compare.resamples, confidence, settings.compare.seed)
    changed = {split: changed_pairs(base[split], finetuned[split], settings.compare.changed_pairs) for split in splits}
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
        (folder / "comparison.md").write_text(markdown_report(verdict(comparison, confidence), comparison, changed), encoding="utf-8")
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
