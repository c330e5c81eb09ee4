"""compare: base against fine-tuned, from the two tables of predictions alone."""

import pandas as pd

from splade_sts import params
from splade_sts.comparison import MODELS, changed_pairs, compare, markdown_report, metrics_table
from splade_sts.errors import run_stage
from splade_sts.files import replacing, write_json


def main() -> None:
    count = params.load().compare.changed_pairs
    splits = ("validation", "test")
    base, finetuned = (
        {split: pd.read_parquet(f"predictions/{name}/{split}.parquet") for split in splits} for name in MODELS
    )
    comparison = compare(base, finetuned)
    changed = {split: changed_pairs(base[split], finetuned[split], count) for split in splits}
    with replacing("reports") as folder:
        folder.mkdir()
        (folder / "comparison.md").write_text(markdown_report(comparison, changed), encoding="utf-8")
    write_json("metrics/comparison.json", comparison)
    print(metrics_table(comparison))


if __name__ == "__main__":
    run_stage(main)
