"""controls: the same pairs scored by words alone (and by a dense model, if one is named), to compare the encoder with."""

import pandas as pd

from splade_sts import params
from splade_sts.controls.lexical import score_pairs
from splade_sts.errors import UserError, run_stage
from splade_sts.files import replacing, write_json
from splade_sts.comparison.statistics import correlation


def dense_folder(controls: params.ControlsParams) -> str | None:
    """Where the dense model of the parameters lies; fetched from the Hub where it is one of there."""
    if controls.dense_model is None:
        return None
    from splade_sts.model.conversion import locate

    try:
        return str(locate(controls.dense_model, controls.dense_revision)[0])
    except UserError as error:
        raise UserError(f"controls.dense_model (looked for like model.source): {error}") from None


def main() -> None:
    train, *splits = (pd.read_parquet(f"data/normalized/{split}.parquet") for split in params.SPLITS)
    scored = score_pairs(train, dict(zip(params.SPLITS[1:], splits, strict=True)), dense_folder(params.load().controls))
    metrics = {}
    with replacing("predictions/controls") as folder:
        folder.mkdir()
        for split, table in scored.items():
            table.to_parquet(folder / f"{split}.parquet", index=False)
            metrics[split] = {
                name: found for name in table.columns[3:] if (found := correlation(table["gold"], table[name])) is not None
            }
    write_json("metrics/controls.json", metrics)
    for split, values in metrics.items():
        print(f"{split}: Spearman " + ", ".join(f"{name} {value['spearman_cosine']:.4f}" for name, value in values.items()))


if __name__ == "__main__":
    run_stage(main)
