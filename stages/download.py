"""download: fetch the raw rows of every split, unchanged, and write down where they came from.

Of text files the line of each row is kept too: as the index of the table, beside its columns.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from splade_sts import layout, params
from splade_sts.data.sample import sample_file
from splade_sts.data.tables import find_split, read_table
from splade_sts.errors import UserError
from splade_sts.files import replacing_folder, sha256, write_json
from splade_sts.params import DataParams
from splade_sts.process import run_stage


@dataclass(frozen=True)
class Origin:
    """Where the rows of a split came from: a file, its hash, and how many there are."""

    file: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Provenance:
    """Where the data came from; `revision` is the Hub's commit hash, None for files."""

    source: str
    revision: str | None
    splits: dict[str, Origin]


def from_files(data: DataParams, folder: Path) -> Provenance:
    origins: dict[str, Origin] = {}
    for split in layout.SPLITS:
        if data.source == "sample":
            file = sample_file(split)
            table = read_table(file)
        else:
            file = find_split(Path(data.path), split, getattr(data.files, split))
            table = read_table(file, data.header, data.delimiter, data.quotes)
        try:
            table.to_parquet(folder / layout.raw(split).name)
        except pa.ArrowException as error:
            raise UserError(f"{file}: a column holds values of different types: {error}") from None
        except (ValueError, OverflowError) as error:
            raise UserError(f"{file}: cannot be stored as Parquet: {error}") from None
        origins[split] = Origin(file.name, sha256(file), len(table))
    return Provenance(data.source, None, origins)


def from_hub(data: DataParams, folder: Path) -> Provenance:
    from splade_sts.hub.fetch import load_dataset_splits

    loaded = load_dataset_splits(data.source, data.revision, layout.SPLITS)
    origins: dict[str, Origin] = {}
    for split, dataset in loaded.splits.items():
        path = folder / f"{split}.parquet"
        dataset.to_pandas().to_parquet(path, index=False)
        origins[split] = Origin(path.name, sha256(path), len(dataset))
    return Provenance(data.source, loaded.revision, origins)


def main() -> None:
    data = params.load().data
    fetch = from_files if data.source in ("sample", "local") else from_hub
    with replacing_folder(layout.RAW) as folder:
        provenance = fetch(data, folder)
        write_json(folder / layout.PROVENANCE.name, asdict(provenance))
    for split, origin in provenance.splits.items():
        print(f"{split}: {origin.rows} rows from {data.source} ({origin.file})")


if __name__ == "__main__":
    run_stage(main)
