"""download: fetch the raw rows of every split, unchanged, and write down where they came from."""

from pathlib import Path

import pyarrow as pa

from splade_sts import params
from splade_sts.errors import UserError, run_stage
from splade_sts.files import replacing, sha256, write_json
from splade_sts.params import DataParams


def from_files(data: DataParams, folder: Path) -> dict:
    from splade_sts.data.tables import find_split, read_table

    source = Path(data.path)
    origin = {}
    for split in params.SPLITS:
        file = find_split(source, split, getattr(data.files, split))
        table = read_table(file, data.header, data.delimiter, data.quotes)
        try:
            table.to_parquet(folder / f"{split}.parquet", index=False)
        except pa.ArrowException as error:
            raise UserError(f"{file}: a column holds values of different types: {error}") from None
        except (ValueError, OverflowError) as error:
            raise UserError(f"{file}: cannot be stored as Parquet: {error}") from None
        origin[split] = {"file": file.name, "sha256": sha256(file), "rows": len(table)}
    return {"source": data.source, "revision": None, "splits": origin}


def from_hub(data: DataParams, folder: Path) -> dict:
    from splade_sts.hub.fetch import load_dataset_splits

    splits, resolved = load_dataset_splits(data.source, data.revision, params.SPLITS)
    origin = {}
    for split, dataset in splits.items():
        path = folder / f"{split}.parquet"
        dataset.to_pandas().to_parquet(path, index=False)
        origin[split] = {"file": path.name, "sha256": sha256(path), "rows": len(dataset)}
    return {"source": data.source, "revision": resolved, "splits": origin}


def main() -> None:
    data = params.load().data
    with replacing("data/raw") as folder:
        folder.mkdir()
        fetch = from_files if data.source in ("sample", "local") else from_hub
        provenance = fetch(data, folder)
        write_json(folder / "provenance.json", provenance)
    for split, origin in provenance["splits"].items():
        print(f"{split}: {origin['rows']} rows from {data.source} ({origin['file']})")


if __name__ == "__main__":
    run_stage(main)
