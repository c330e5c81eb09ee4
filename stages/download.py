"""download: fetch the raw rows of every split and further test set, unchanged, and write down where
they came from.

Of text files the line of each row is kept too: as the index of the table, beside its columns.
"""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from splade_sts import layout, params
from splade_sts.data.provenance import Origin, Provenance, SetOrigin
from splade_sts.data.sample import sample_file
from splade_sts.data.tables import find_split, named_table, read_table
from splade_sts.errors import UserError, shown
from splade_sts.files import replacing_folder, sha256
from splade_sts.params import DataParams, SetParams
from splade_sts.process import run_stage


def store(file: Path, table: pd.DataFrame, target: Path) -> Origin:
    """Write the rows of a file as Parquet."""
    try:
        table.to_parquet(target)
    except pa.ArrowException as error:
        raise UserError(
            f"{shown(file)}: a column holds values of different types: {error}"
        ) from None
    except (ValueError, OverflowError) as error:
        raise UserError(f"{shown(file)}: cannot be stored as Parquet: {error}") from None
    return Origin(shown(file.name), sha256(file), len(table))


def from_files(data: DataParams, folder: Path) -> Provenance:
    origins: dict[layout.Split, Origin] = {}
    for split in layout.SPLITS:
        if data.source == "sample":
            file = sample_file(split)
            table = read_table(file)
        else:
            file = find_split(Path(data.path), split, getattr(data.files, split))
            table = read_table(file, data.header, data.delimiter, data.quotes)
        origins[split] = store(file, table, layout.table(folder, split))
    return Provenance(data.source, None, origins)


def from_hub(data: DataParams, folder: Path) -> Provenance:
    from splade_sts.hub.fetch import load_dataset_splits

    loaded = load_dataset_splits(data.source, data.revision, layout.SPLITS)
    origins: dict[layout.Split, Origin] = {}
    for split in layout.SPLITS:
        path = layout.table(folder, split)
        rows = loaded.splits[split].to_pandas()
        rows.to_parquet(path, index=False)
        origins[split] = Origin(path.name, sha256(path), len(rows))
    return Provenance(data.source, loaded.revision, origins)


def further(name: str, settings: SetParams, data: DataParams, folder: Path) -> SetOrigin:
    """The rows of a further test set."""
    key, target = f"data.test_sets.{name}", layout.table(folder, name)
    target.parent.mkdir(exist_ok=True)
    if settings.file is not None:
        file = named_table(Path(data.path), settings.file, f"{key}.file")
        table = read_table(file, settings.header, settings.delimiter, settings.quotes, key)
        return SetOrigin(settings.source, None, None, None, store(file, table, target))
    from splade_sts.hub.fetch import load_dataset_splits

    loaded = load_dataset_splits(
        settings.source, settings.revision, [settings.split], settings.config, f"{key}.source"
    )
    rows = loaded.splits[settings.split].to_pandas()
    rows.to_parquet(target, index=False)
    origin = Origin(target.name, sha256(target), len(rows))
    return SetOrigin(settings.source, settings.config, settings.split, loaded.revision, origin)


def main() -> None:
    data = params.load().data
    fetch = from_files if data.source in ("sample", "local") else from_hub
    with replacing_folder(layout.RAW) as folder:
        provenance = fetch(data, folder)
        for name, settings in (data.test_sets or {}).items():
            provenance.test_sets[name] = further(name, settings, data, folder)
        provenance.write(folder)
    for split, origin in provenance.splits.items():
        print(f"{split}: {origin.rows} rows from {data.source} ({origin.file})")
    for name, found in provenance.test_sets.items():
        print(f"{name}: {found.rows.rows} rows from {found.source} ({found.rows.file})")


if __name__ == "__main__":
    run_stage(main)
