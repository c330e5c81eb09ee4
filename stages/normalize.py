"""normalize: scores to [0, 1], text to NFC, every row checked; and a description of the data."""

import pandas as pd

from splade_sts import layout, params
from splade_sts.data.describe import describe
from splade_sts.data.normalize import NormalizedSplit, listing, normalize_split
from splade_sts.data.pairs import check_gold, drop_leaks
from splade_sts.data.provenance import Provenance, SetOrigin
from splade_sts.data.sets import write_names
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
    origins = provenance.splits
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
    further_found = further(data, provenance.test_sets)
    test_sets = {name: normalized.pairs for name, normalized in further_found.items()}
    if data.on_leak != "keep":
        splits = drop_leaks(splits, sentences=data.on_leak == "drop_sentences_from_train")
    rows = len(found["train"].pairs)
    dropped = rows - len(splits["train"])
    description = describe(
        splits,
        dropped=dropped,
        bad_rows={name: part.bad_rows for name, part in {**found, **further_found}.items()},
        test_sets=test_sets,
    )
    with replacing_folder(layout.NORMALIZED) as folder:
        write_names(folder, list(test_sets))
        for name, pairs in {**splits, **test_sets}.items():
            pairs.write(layout.table(folder, name))
    write_json(layout.evidence("data"), description.content())
    write_json(layout.metrics("data"), description.headlines(data.on_bad_row))
    for name, part in {**found, **further_found}.items():
        pairs = {**splits, **test_sets}[name]
        print(f"{name}: {len(pairs)} pairs, mean score {pairs.score.mean():.3f}")
        if bad_rows := part.bad_rows:
            of = len(bad_rows) + len(part.pairs)
            print(f"{name}: {len(bad_rows)} of {of} rows left out as bad:\n  {listing(bad_rows)}")
    if data.on_leak != "keep":
        print(f"train: {dropped} of {rows} pairs left out by data.on_leak={data.on_leak}")


if __name__ == "__main__":
    run_stage(main)
