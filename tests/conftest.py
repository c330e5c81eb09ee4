"""A tiny SPLADE model and small data, real files that every test of a stage can start from."""

from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
WORDS = (
    "a the man woman dog cat child is are was runs walks sits plays eats sleeps in on at with red blue green small big "
    "park house street ball car tree guitar piano bread apple river train fast slowly happy old young two three"
).split()


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> Path:
    """Folder of a random dense BERT encoder: 2 layers, 32 dimensions, a word-level vocabulary, seed 0."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("tiny-bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *WORDS]
    vocabulary += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pairs() -> pd.DataFrame:
    """48 normalized pairs in the tiny vocabulary; the score is the share of common words."""
    import random

    generator = random.Random(0)
    rows = []
    for _ in range(48):
        first = generator.sample(WORDS, 6)
        kept = generator.randint(0, 6)
        second = first[:kept] + generator.sample(WORDS, 6 - kept)
        rows.append((" ".join(first), " ".join(second), kept / 6))
    return pd.DataFrame(rows, columns=["sentence1", "sentence2", "score"])


@pytest.fixture(scope="session")
def tiny_splade(tiny_bert, pairs, tmp_path_factory) -> Path:
    """Folder of the SPLADE model converted from `tiny_bert` with 8 active dimensions wanted."""
    from splade_sts.base_model import convert_dense

    folder = tmp_path_factory.mktemp("tiny-splade") / "model"
    sentences = pairs["sentence1"].tolist() + pairs["sentence2"].tolist()
    convert_dense(tiny_bert, sentences, 8, 32).save_pretrained(str(folder), create_model_card=False)
    return folder
