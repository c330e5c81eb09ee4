"""Weights that are not all there, not the model's own or not finite are refused by every loader."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense
from torch import Tensor

from splade_sts.errors import UserError
from splade_sts.model.conversion import convert_dense
from splade_sts.model.encoder import load_bert, load_dense, load_encoder
from splade_sts.model.splade import load_splade

Weights = dict[str, Tensor]


def write(folder: Path, weights: Weights) -> None:
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def read(folder: Path) -> Weights:
    return load_file(folder / "model.safetensors")


def configure(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def without(part: str):
    return lambda weights: {key: value for key, value in weights.items() if part not in key}


def filled(part: str, number: float):
    return lambda weights: {
        key: torch.full_like(value, number) if part in key else value
        for key, value in weights.items()
    }


BROKEN = {
    "a layer is missing": (without("layer.1."), "The file has no"),
    "one matrix is missing": (without("0.attention.self.query"), "The file has no"),
    "no embeddings": (without("embeddings"), "The file has no"),
    "all keys renamed": (lambda w: {f"x.{k}": v for k, v in w.items()}, "The file has no"),
    "no key": (lambda w: {}, "bytes of weights"),
    "a layer too many": (
        lambda w: {**w, **{k.replace("r.1.", "r.2."): v.clone() for k, v in w.items()}},
        "unknown to the model",
    ),
    "another shape": (
        lambda w: {k: v[:-1].clone() if "word_emb" in k else v for k, v in w.items()},
        "in another shape",
    ),
    "NaN": (filled("1.attention.self.query.weight", float("nan")), "is not finite"),
    "infinite": (filled("word_embeddings", float("-inf")), "is not finite"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_weights(tiny_splade, tiny_bert, tmp_path, what):
    change, said = BROKEN[what]
    splade, dense = tmp_path / "splade", tmp_path / "dense"
    shutil.copytree(tiny_splade, splade)
    shutil.copytree(tiny_bert, dense)
    for folder, loaders in (
        (splade, (load_encoder, lambda folder: load_splade(folder, 32))),
        (dense, (load_dense, load_bert, lambda folder: convert_dense(folder, ["a dog"], 4, 32))),
    ):
        write(folder, change(read(folder)))
        for load in loaders:
            with pytest.raises(UserError, match=said) as refused:
                load(folder)
            assert str(folder) in str(refused.value)


@pytest.mark.parametrize("part", ["cls.", "cls.predictions.transform", "cls.predictions.bias"])
def test_without_the_head(tiny_splade, tmp_path, part):
    """A SPLADE model without all of its head is random noise."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_splade, folder)
    weights = {k: v for k, v in read(folder).items() if not k.startswith(part)}
    write(folder, {k: v for k, v in weights.items() if k != "cls.predictions.decoder.bias"})
    with pytest.raises(UserError, match=r"the weights do not fit the BertForMaskedLM .* has no"):
        load_encoder(folder)


def test_a_decoder_of_its_own_that_is_missing(tiny_splade, tmp_path):
    """Where config.json does not tie it to the word embeddings, it must be there."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_splade, folder)
    write(folder, {k: v for k, v in read(folder).items() if k != "cls.predictions.decoder.weight"})
    load_encoder(folder)
    configure(folder, tie_word_embeddings=False)
    with pytest.raises(UserError, match=r"has no .*'cls.predictions.decoder.weight'"):
        load_encoder(folder)


@pytest.mark.parametrize("key", ["max_position_embeddings", "type_vocab_size", "vocab_size"])
@pytest.mark.parametrize("number", [10**12, 80_000, 90])
def test_claims(tiny_splade, tiny_bert, tmp_path, monkeypatch, key, number):
    """More than there are weights for is refused before memory is taken for it."""
    taken = []
    empty = torch.empty_like
    monkeypatch.setattr(
        torch, "empty_like", lambda *a, **k: taken.append(k.get("device")) or empty(*a, **k)
    )
    for good, load in ((tiny_splade, load_encoder), (tiny_bert, load_dense)):
        folder = tmp_path / good.name
        shutil.copytree(good, folder)
        configure(folder, **{key: number})
        with pytest.raises(UserError, match=r"bytes of weights|in another shape"):
            load(folder)
    assert {str(device) for device in taken} <= {"meta"}


def test_one_number_for_a_million(tiny_splade, tmp_path):
    """A pickled tensor may repeat one row without end: the file stays small."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_splade, folder)
    weights = read(folder)
    name = "bert.embeddings.position_embeddings.weight"
    weights[name] = weights[name][:1].expand(80_000, -1)
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    configure(folder, max_position_embeddings=80_000)
    with pytest.raises(UserError, match=r"config.json claims 2,\d+,\d+ numbers, more than the"):
        load_encoder(folder)


def as_naver(weights: Weights) -> Weights:
    """With what the checkpoints on the Hub carry besides: another head, a pooler, positions."""
    return {
        **weights,
        "bert.embeddings.position_ids": torch.arange(64).unsqueeze(0),
        "bert.pooler.dense.weight": torch.ones(32, 32),
        "bert.pooler.dense.bias": torch.ones(32),
        "cls.seq_relationship.weight": torch.ones(2, 32),
        "cls.seq_relationship.bias": torch.ones(2),
    }


def with_decoder(weights: Weights) -> Weights:
    return {
        **as_naver(weights),
        "cls.predictions.decoder.weight": weights["bert.embeddings.word_embeddings.weight"],
        "cls.predictions.decoder.bias": weights["cls.predictions.bias"],
    }


def without_decoder(weights: Weights) -> Weights:
    return {k: v for k, v in as_naver(weights).items() if not k.startswith("cls.predictions.dec")}


def of_old_names(weights: Weights) -> Weights:
    """LayerNorm as in the first releases."""
    names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    found = {}
    for key, value in without_decoder(weights).items():
        for new, old in names.items():
            key = key.replace(new, old)
        found[key] = value
    return found


@pytest.mark.parametrize("form", [with_decoder, without_decoder, of_old_names])
def test_checkpoints_as_they_are_on_the_hub(tiny_splade, tmp_path, form):
    """pytorch_model.bin of BertForMaskedLM, no modules.json: the same vectors."""
    expected = load_encoder(tiny_splade).encode(["the dog runs"]).to_dense()
    folder = tmp_path / "model"
    shutil.copytree(tiny_splade, folder)
    torch.save(form(read(folder)), folder / "pytorch_model.bin")
    for name in ("model.safetensors", "modules.json", "sentence_bert_config.json"):
        (folder / name).unlink()
    assert torch.equal(load_splade(folder, 32).encode(["the dog runs"]).to_dense(), expected)


def test_a_dense_encoder_in_a_masked_language_model(tiny_splade, tiny_bert, tmp_path):
    """The head is another task's; a pooler that is missing is not read."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_splade, folder)
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / name).unlink()
    found, expected = (load_dense(path).encode(["the dog runs"]) for path in (folder, tiny_bert))
    assert torch.allclose(torch.tensor(found), torch.tensor(expected), atol=1e-6)


TYPES = {
    "complex": torch.complex64,
    "whole numbers": torch.int8,
    "yes and no": torch.bool,
    "eight bits": torch.float8_e4m3fn,
}


@pytest.mark.parametrize("what", TYPES)
@pytest.mark.parametrize("file", ["safetensors", "pickled", "in shards"])
def test_weights_that_are_no_real_numbers(tiny_splade, tiny_bert, tmp_path, what, file):
    """float32 can be made of all of them, silently; what for, nobody knows."""
    for good, loaders in (
        (tiny_splade, (load_encoder, lambda folder: load_splade(folder, 32))),
        (
            tiny_bert,
            (load_dense, load_bert, lambda folder: convert_dense(folder, ["a dog"], 4, 32)),
        ),
    ):
        folder = tmp_path / good.name
        shutil.copytree(good, folder)
        weights = read(folder)
        name = next(name for name in weights if "layer.0.attention.self.query.weight" in name)
        weights[name] = weights[name].to(TYPES[what])
        write(folder, weights)
        place = folder / "model.safetensors"
        if file == "pickled":
            place.unlink()
            place = folder / "pytorch_model.bin"
            torch.save(weights, place)
        elif file == "in shards":
            place = place.rename(folder / "model-00001-of-00001.safetensors")
            index = {"metadata": {}, "weight_map": dict.fromkeys(weights, place.name)}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        for load in loaders:
            with pytest.raises(UserError, match=rf"{place}: weight {name} is of the type"):
                load(folder)


@pytest.mark.parametrize("what", TYPES)
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_layer_behind_the_pooling_that_is_no_real_numbers(tiny_bert, tmp_path, what, name):
    """It lies in a folder of its own."""
    folder = tmp_path / "dense"
    model = SentenceTransformer(str(tiny_bert), device="cpu")
    model.append(Dense(32, 8))
    model.save_pretrained(str(folder))
    load_dense(folder)
    place = folder / "2_Dense"
    weights = read(place)
    weights["linear.weight"] = weights["linear.weight"].to(TYPES[what])
    write(place, weights)
    if name != "model.safetensors":
        (place / "model.safetensors").unlink()
        torch.save(weights, place / name)
    with pytest.raises(UserError, match=rf"2_Dense/{name}: weight linear.weight is of the type"):
        load_dense(folder)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_real_numbers_of_other_sizes(tiny_splade, tmp_path, kind):
    folder = tmp_path / "model"
    shutil.copytree(tiny_splade, folder)
    write(folder, {name: weight.to(kind) for name, weight in read(folder).items()})
    load_encoder(folder)
