"""calibration: the training sentences that a conversion to SPLADE looks at; none where the base
model needs no conversion.

So the base model is made again only where the data that it looked at have changed.
"""

from splade_sts import layout, params
from splade_sts.data.calibration import calibrated_on, write_sentences
from splade_sts.data.stored import DistinctSentences, StoredPairs
from splade_sts.process import run_stage


def main() -> None:
    sentences = []
    if params.load().base_model.wanted_active_dims is not None:
        distinct = DistinctSentences(StoredPairs(layout.normalized("train")))
        sentences = distinct.at(calibrated_on(len(distinct)))
    write_sentences(sentences)
    print(f"{len(sentences)} sentences")


if __name__ == "__main__":
    run_stage(main)
