"""The training sentences on which a dense encoder is calibrated when it is converted to SPLADE."""

import json

from splade_sts import layout
from splade_sts.files import replacing

MOST_SENTENCES = 2048


def calibrated_on(distinct: int) -> range:
    """Numbers of the sentences, of `distinct` ones: at most `MOST_SENTENCES`, at equal steps."""
    return range(0, distinct, max(1, -(-distinct // MOST_SENTENCES)))


def write_sentences(sentences: list[str]) -> None:
    """Write the sentences as a JSON list."""
    with replacing(layout.CALIBRATION) as temporary:
        temporary.write_text(
            json.dumps(sentences, ensure_ascii=False, indent=0) + "\n", encoding="utf-8"
        )


def read_sentences() -> list[str]:
    """Read what `write_sentences` wrote."""
    sentences: list[str] = json.loads(layout.CALIBRATION.read_text(encoding="utf-8"))
    return sentences
