"""A tiny encoder, small data and the parameters that go with them; nothing here reads the
workspace's params.yaml.
"""

import random
from pathlib import Path

import numpy as np

from splade_sts import params
from splade_sts.data.pairs import Pairs

PARAMS = Path(__file__).with_name("params.yaml")
WORDS = (
    "a the man woman dog cat child is are was runs walks sits plays eats sleeps in on at with red "
    "blue green small big park house street ball car tree guitar piano bread apple river train "
    "fast slowly happy old young two three"
).split()


def tiny_params() -> params.Params:
    """Parameters for `make_bert` and small files; no value is the workspace's."""
    return params.load(PARAMS)


def train_params(**changes: object) -> params.TrainParams:
    """The train section for trainings of 6 steps an epoch on `make_pairs`, with `changes`."""
    settings = {"batch_size": 8, "eval_steps": 4, "learning_rate": 5e-5}
    return params.TrainParams(**{**tiny_params().train.model_dump(), **settings, **changes})


def make_bert(folder: Path) -> None:
    """Write a random dense BERT encoder: 2 layers, 32 dimensions, a vocabulary of words, seed 0."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *WORDS]
    vocabulary += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)


def make_splade(folder: Path, bert: Path) -> None:
    """Write the SPLADE model converted from the encoder `bert` on `make_pairs`, with 8 active
    dimensions wanted.
    """
    from splade_sts.model.conversion import convert_dense

    model = convert_dense(bert, make_pairs().sentences, 8, 32)
    model.save_pretrained(str(folder), create_model_card=False)


def make_pairs(count: int = 48) -> Pairs:
    """Normalized pairs in the tiny vocabulary; the score is the share of common words."""
    generator = random.Random(0)
    sentence1, sentence2, score = [], [], []
    for _ in range(count):
        first = generator.sample(WORDS, 6)
        kept = generator.randint(0, 6)
        second = first[:kept] + generator.sample(WORDS, 6 - kept)
        sentence1.append(" ".join(first))
        sentence2.append(" ".join(second))
        score.append(kept / 6)
    return Pairs(sentence1, sentence2, np.array(score))
