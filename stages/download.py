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
from splade_sts.data.search import (
    TABLES,
    Search,
    SearchOrigin,
    find_tables,
    search_of,
    write_origins,
)
from splade_sts.data.tables import find_split, named_table, read_table
from splade_sts.errors import UserError, shown
from splade_sts.files import replacing_folder, sha256
from splade_sts.known import NANO_BEIR, NANO_SETS
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


def fetch_search(name: str, data: DataParams, revision: str | None) -> tuple[Search, SearchOrigin]:
    """A set that is searched in: of NanoBEIR, or of the folder of that name below `data.path`."""
    if name in NANO_SETS:
        from splade_sts.hub.fetch import load_configurations

        loaded, resolved = load_configurations(
            "evaluate.retrieval_set", NANO_BEIR, revision, TABLES, name
        )
        tables, source = {table: loaded[table].to_pandas() for table in TABLES}, NANO_BEIR
    else:
        folder, resolved = Path(data.path) / name, None
        if not folder.is_dir():
            raise UserError(
                f"evaluate.retrieval_set: {name} is no set of NanoBEIR, and {shown(folder)} is no "
                f"folder; expected one of {', '.join(NANO_SETS)}, or a folder below data.path with "
                "the files corpus, queries and qrels"
            )
        tables, source = find_tables(folder, name), name
    search = search_of(tables, name)
    left_out = {
        "queries": len(tables["queries"]) - len(search.queries),
        "documents": len(tables["corpus"]) - len(search.documents),
    }
    origin = SearchOrigin(source, resolved, len(search.queries), len(search.documents), left_out)
    return search, origin


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
    settings = params.load()
    data, evaluate = settings.data, settings.evaluate
    fetch = from_files if data.source in ("sample", "local") else from_hub
    with replacing_folder(layout.RAW) as folder:
        origins = {}
        (folder / layout.SEARCHES.name).mkdir()
        for name in evaluate.retrieval_sets:
            search, origins[name] = fetch_search(name, data, evaluate.retrieval_revision)
            search.write(folder / layout.SEARCHES.name / name)
        write_origins(origins, folder / layout.SEARCHES.name / layout.SEARCH_ORIGINS.name)
        provenance = fetch(data, folder)
        for name, wanted in (data.test_sets or {}).items():
            provenance.test_sets[name] = further(name, wanted, data, folder)
        provenance.write(folder)
    for split, origin in provenance.splits.items():
        print(f"{split}: {origin.rows} rows from {data.source} ({origin.file})")
    for name, found in origins.items():
        print(
            f"{name}: {found.queries} queries and {found.documents} documents from {found.source}; "
            f"left out: {found.left_out['queries']} queries without judgement or text, "
            f"{found.left_out['documents']} documents without text"
        )
    for name, pairs in provenance.test_sets.items():
        print(f"{name}: {pairs.rows.rows} rows from {pairs.source} ({pairs.rows.file})")


if __name__ == "__main__":
    run_stage(main)
