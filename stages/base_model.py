"""base_model: the SPLADE model to start from, saved with safetensors so that SparseEncoder loads it as it stands."""

import pandas as pd

from splade_sts import params
from splade_sts.model import card as model_card
from splade_sts.model.conversion import convert_dense, load_splade, locate
from splade_sts.errors import run_stage
from splade_sts.files import replacing


def main() -> None:
    model_params = params.load().model
    source, dims = model_params.source, model_params.target_active_dims
    folder, revision = locate(source, model_params.revision)
    if dims is None:
        model = load_splade(folder, model_params.max_seq_length)
        made = f"The SPLADE model `{source}`, unchanged, stored as safetensors."
    else:
        train = pd.read_parquet("data/normalized/train.parquet")
        sentences = train["sentence1"].tolist() + train["sentence2"].tolist()
        model = convert_dense(folder, sentences, dims, model_params.max_seq_length)
        made = (
            f"A SPLADE model converted, without training, from the dense encoder `{source}`, calibrated to "
            f"{dims} active dimensions on average over training sentences."
        )
    license = model_card.read_license(folder)
    with replacing("models/base") as target:
        model.save_pretrained(str(target), create_model_card=False)
        facts = {"source": source, "revision": revision, "license": license, "max_seq_length": model.max_seq_length}
        model_card.write(
            target, title="Base SPLADE model", license=license, base_model=source, data=None,
            body=made + "\n\n" + model_card.table(facts, ("what", "value")),
        )
    print(f"models/base: {source}{f' at {revision}' if revision else ''}, licence {license}")


if __name__ == "__main__":
    run_stage(main)
