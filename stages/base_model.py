"""base_model: the SPLADE model to start from, saved with safetensors so that SparseEncoder loads it
as it stands.
"""

from splade_sts import layout, params
from splade_sts.data.calibration import read_sentences
from splade_sts.files import replacing, write_json
from splade_sts.model.card import read_license
from splade_sts.model.conversion import convert_dense
from splade_sts.model.source import locate
from splade_sts.model.splade import load_splade
from splade_sts.process import run_stage


def main() -> None:
    settings = params.load().base_model
    located = locate(settings.source, settings.revision)
    dims = settings.wanted_active_dims
    if dims is None:
        model = load_splade(located.folder, settings.max_seq_length)
    else:
        model = convert_dense(located.folder, read_sentences(), dims, settings.max_seq_length)
    licence = read_license(located.folder)
    pooling = {key: getattr(model[1], key) for key in ("pooling_strategy", "activation_function")}
    with replacing(layout.model("base")) as target:
        model.save_pretrained(str(target), create_model_card=False)
    write_json(
        layout.BASE_SOURCE,
        {
            "source": settings.source,
            "revision": located.revision,
            "license": licence,
            "converted_to_active_dims": dims,
            "max_seq_length": model.max_seq_length,
            **pooling,
        },
    )
    where = f"{settings.source}{f' at {located.revision}' if located.revision else ''}"
    made = f", converted to {dims} active dims" if dims else ""
    print(
        f"{layout.model('base')}: {where}{made}, {' of '.join(pooling.values())}, licence {licence}"
    )


if __name__ == "__main__":
    run_stage(main)
