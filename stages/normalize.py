"""normalize: scores to [0, 1], text to NFC, every row checked; and a description of the data."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from splade_sts import layout, params
from splade_sts.data.describe import describe
from splade_sts.data.normalize import (
    BadRow,
    NormalizedSplit,
    listing,
    normalize_parts,
    normalize_split,
)
from splade_sts.data.pairs import Splits, check_gold, drop_leaks
from splade_sts.data.provenance import Provenance, SetOrigin
from splade_sts.data.sets import write_names
from splade_sts.data.stored import StoredPairs, read_frames, write_parts
from splade_sts.files import replacing_folder, write_json
from splade_sts.params import DataParams
from splade_sts.process import run_stage


def further(data: DataParams, origins: dict[str, SetOrigin]) -> dict[str, NormalizedSplit]:
    """The further test sets, normalized."""
    found = {}
    for name, settings in (data.test_sets or {}).items():
        key = f"data.test_sets.{name}"
        found[name] = normalize_split(
            pd.read_parquet(layout.raw(name)),
            f"{name}: {origins[name].rows.file}",
            settings.columns,
            settings.known_range,
            data.on_bad_row,
            key,
        )
        check_gold(found[name].pairs, f"test set {name}", key)
    return found


def main() -> None:
    data = params.load().data
    provenance = Provenance.read()
    found = {
        str(split): normalize_split(
            pd.read_parquet(layout.raw(split)),
            where(data, provenance, split),
            data.columns,
            data.known_range,
            data.on_bad_row,
        )
        for split in layout.HELD_OUT
    }
    held_out = {split: normalized.pairs for split, normalized in found.items()}
    for split, pairs in held_out.items():
        check_gold(pairs, split)
    found |= further(data, provenance.test_sets)
    test_sets = {
        name: normalized.pairs for name, normalized in found.items() if name not in held_out
    }
    with replacing_folder(layout.NORMALIZED) as folder:
        write_names(folder, list(test_sets))
        for name, pairs in {**held_out, **test_sets}.items():
            pairs.write(layout.table(folder, name))
        train, bad_rows, dropped = write_train(data, provenance, held_out, folder)
        bad = {"train": bad_rows, **{name: part.bad_rows for name, part in found.items()}}
        description = describe({"train": train, **held_out}, dropped, bad, test_sets)
    write_json(layout.evidence("data"), description.content())
    write_json(layout.metrics("data"), description.headlines(data.on_bad_row))
    for name, one in {**description.splits, **description.test_sets}.items():
        print(f"{name}: {one.rows} pairs, mean score {one.mean_score:.3f}")
        if bad[name]:
            of = len(bad[name]) + one.rows + one.dropped
            print(f"{name}: {len(bad[name])} of {of} rows left out as bad:\n  {listing(bad[name])}")
    if data.on_leak != "keep":
        rows = dropped + description.splits["train"].rows
        print(f"train: {dropped} of {rows} pairs left out by data.on_leak={data.on_leak}")


def where(data: DataParams, provenance: Provenance, split: layout.Split) -> str:
    return f"{data.source}: {provenance.splits[split].file}"


def write_train(
    data: DataParams, provenance: Provenance, held_out: Splits, folder: Path
) -> tuple[StoredPairs, list[BadRow], int]:
    """Write the pairs of train, of which no more than a part is held.

    Returns:
        The pairs, the rows left out as bad, and how many pairs `data.on_leak` left out.
    """
    bad_rows: list[BadRow] = []
    raw = layout.raw("train")
    parts = normalize_parts(
        read_frames(raw),
        where(data, provenance, "train"),
        data.columns,
        data.known_range,
        data.on_bad_row,
        "data",
        bad_rows,
    )
    if data.on_leak != "keep":
        parts = drop_leaks(parts, held_out, data.on_leak == "drop_sentences_from_train")
    train = StoredPairs(layout.table(folder, "train"))
    write_parts(parts, train.path)
    return train, bad_rows, pq.read_metadata(raw).num_rows - len(bad_rows) - len(train)


if __name__ == "__main__":
    run_stage(main)
