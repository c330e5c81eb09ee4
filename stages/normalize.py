"""normalize: scores to [0, 1], text to NFC, every row checked; and a description of the data."""

import pandas as pd

from splade_sts import layout, params
from splade_sts.data.describe import describe
from splade_sts.data.normalize import listing, normalize_split
from splade_sts.data.pairs import check_gold, drop_leaks
from splade_sts.data.provenance import Provenance
from splade_sts.files import replacing_folder, write_json
from splade_sts.process import run_stage


def main() -> None:
    data = params.load().data
    origins = Provenance.read().splits
    found = {
        str(split): normalize_split(
            pd.read_parquet(layout.raw(split)),
            f"{data.source}: {origins[split].file}",
            data.columns,
            data.known_range,
            data.on_bad_row,
        )
        for split in layout.SPLITS
    }
    splits = {split: normalized.pairs for split, normalized in found.items()}
    for held_out in layout.HELD_OUT:
        check_gold(splits[held_out], held_out)
    if data.on_leak != "keep":
        splits = drop_leaks(splits, sentences=data.on_leak == "drop_sentences_from_train")
    rows = len(found["train"].pairs)
    dropped = rows - len(splits["train"])
    description = describe(
        splits,
        dropped=dropped,
        bad_rows={split: normalized.bad_rows for split, normalized in found.items()},
    )
    with replacing_folder(layout.NORMALIZED) as folder:
        for split, pairs in splits.items():
            pairs.write(folder / f"{split}.parquet")
    write_json(layout.evidence("data"), description.content())
    write_json(layout.metrics("data"), description.headlines(data.on_bad_row))
    for split, pairs in splits.items():
        print(f"{split}: {len(pairs)} pairs, mean score {pairs.score.mean():.3f}")
        if bad_rows := found[split].bad_rows:
            of = len(bad_rows) + len(found[split].pairs)
            print(f"{split}: {len(bad_rows)} of {of} rows left out as bad:\n  {listing(bad_rows)}")
    if data.on_leak != "keep":
        print(f"train: {dropped} of {rows} pairs left out by data.on_leak={data.on_leak}")


if __name__ == "__main__":
    run_stage(main)
