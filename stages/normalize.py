"""normalize: scores to [0, 1], text to NFC, checked row by row; and a description of the data."""

from pathlib import Path

import pandas as pd

from splade_sts import params
from splade_sts.errors import run_stage
from splade_sts.files import read_json, replacing, write_json
from splade_sts.data.pairs import describe, drop_leaks, normalize_split


def main() -> None:
    data = params.load().data
    raw = Path("data/raw")
    origin = read_json(raw / "provenance.json")["splits"]
    splits = {
        split: normalize_split(
            pd.read_parquet(raw / f"{split}.parquet"),
            f"{data.source}: {origin[split]['file']}",
            data.columns.model_dump(),
            data.score_range,
        )
        for split in params.SPLITS
    }
    description = describe(splits)
    if data.on_leak == "drop_from_train":
        before = len(splits["train"])
        splits = drop_leaks(splits)
        description = describe(splits)
        description["train"]["dropped_leaks"] = before - len(splits["train"])
    with replacing("data/normalized") as folder:
        folder.mkdir()
        for split, pairs in splits.items():
            pairs.to_parquet(folder / f"{split}.parquet", index=False)
    write_json("metrics/data.json", description)
    for split, pairs in splits.items():
        print(f"{split}: {len(pairs)} pairs, mean score {pairs['score'].mean():.3f}")


if __name__ == "__main__":
    run_stage(main)
