"""Nothing that a model folder brings is run.

The payloads are our own and harmless: they would make a file.
"""

import importlib.util
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from splade_sts.controls.dense import DenseControl
from splade_sts.errors import UserError
from splade_sts.model import encoder
from splade_sts.model.check import check_folder
from splade_sts.model.conversion import convert_dense
from splade_sts.model.encoder import load_dense, load_encoder
from splade_sts.model.splade import load_splade

CODE = (
    "open({marker!r}, 'w').close()\n"
    "class Evil:\n    @classmethod\n    def load(cls, *a, **k): return cls()\n"
)


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def model(tiny_splade, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_splade, tmp_path / "model"))


@pytest.fixture
def marker(tmp_path) -> Path:
    return tmp_path / "ran"


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(change(content) or content))


def pickled_weights(folder: Path, marker: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({**weights, "evil": Payload(marker)}, folder / "pytorch_model.bin")


def plain_pickle(folder: Path, marker: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(marker)))


def weights_only_off(folder: Path, marker: Path) -> None:
    pickled_weights(folder, marker)
    arguments = {"weights_only": False}
    edit(folder / "sentence_bert_config.json", lambda c: c.update(model_args=arguments))


def module_in_the_folder(folder: Path, marker: Path) -> None:
    (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
    edit(folder / "modules.json", lambda c: c[0].update(type="evil.Evil"))


def module_of_another_package(folder: Path, marker: Path) -> None:
    edit(folder / "modules.json", lambda c: c[1].update(type="subprocess.Popen"))


def other_class_of_the_library(folder: Path, marker: Path) -> None:
    kind = "sentence_transformers.SentenceTransformer"
    edit(folder / "modules.json", lambda c: c[1].update(type=kind))


def module_path(place: str):
    def change(folder: Path, marker: Path) -> None:
        edit(folder / "modules.json", lambda c: c[1].update(path=place))

    return change


def auto_map(file: str):
    def change(folder: Path, marker: Path) -> None:
        (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
        names = ("AutoConfig", "AutoModel", "AutoModelForMaskedLM", "AutoTokenizer")
        classes = dict.fromkeys(names, "evil.Evil")
        edit(folder / file, lambda c: c.update(model_type="evil", auto_map=classes))

    return change


def remote_code(folder: Path, marker: Path) -> None:
    arguments = {"trust_remote_code": True}
    edit(folder / "sentence_bert_config.json", lambda c: c.update(model_kwargs=arguments))


def attention_kernel(folder: Path, marker: Path) -> None:
    edit(folder / "config.json", lambda c: c.update(attn_implementation="somebody/kernel"))


def shard_elsewhere(folder: Path, marker: Path) -> None:
    outside = folder.parent / "model.safetensors"
    shutil.move(folder / "model.safetensors", outside)
    names = dict.fromkeys(load_file(outside), "../model.safetensors")
    index = {"metadata": {}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def tokenizer_file_elsewhere(folder: Path, marker: Path) -> None:
    edit(folder / "tokenizer_config.json", lambda c: c.update(vocab_file="/etc/passwd"))


def weights_elsewhere(folder: Path, marker: Path) -> None:
    edit(folder / "config.json", lambda c: c.update(transformers_weights="../model.safetensors"))


def adapter(folder: Path, marker: Path) -> None:
    config = {"base_model_name_or_path": "somebody/else", "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def tokenizer_files_elsewhere(folder: Path, marker: Path) -> None:
    shutil.move(folder / "tokenizer.json", folder.parent / "tokenizer.4.0.json")
    names = ["../tokenizer.4.0.json"]
    edit(folder / "tokenizer_config.json", lambda c: c.update(fast_tokenizer_files=names))


def tokenizer_elsewhere(folder: Path, marker: Path) -> None:
    other = shutil.copytree(folder, folder.parent / "other")
    name = {"tokenizer_name_or_path": str(other)}
    edit(folder / "sentence_bert_config.json", lambda c: c.update(name))


def shard_elsewhere_under_the_name_of_a_token(folder: Path, marker: Path) -> None:
    index = {"metadata": {}, "weight_map": {"unk_token": "../x", "content": "/x"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def module_behind_a_link(folder: Path, marker: Path) -> None:
    shutil.move(folder / "1_SpladePooling", folder.parent / "elsewhere")
    (folder / "1_SpladePooling").symlink_to(folder.parent / "elsewhere")


def module_behind_a_link_inside(folder: Path, marker: Path) -> None:
    shutil.move(folder / "1_SpladePooling", folder / "real")
    (folder / "1_SpladePooling").symlink_to("real")


def file_behind_a_link(folder: Path, marker: Path) -> None:
    (folder / "vocab.txt").symlink_to("/etc/passwd")


def broken_link(folder: Path, marker: Path) -> None:
    (folder / "vocab.txt").symlink_to("nowhere")


def weights_behind_a_broken_link(folder: Path, marker: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("nowhere")


def pipe(folder: Path, marker: Path) -> None:
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    os.mkfifo(folder / "special_tokens_map.json")


def weights_on_disk(folder: Path, marker: Path) -> None:
    arguments = {"device_map": "disk", "offload_folder": str(marker)}
    edit(folder / "sentence_bert_config.json", lambda c: c.update(model_kwargs=arguments))


def distributed_checkpoint(folder: Path, marker: Path) -> None:
    weights = folder / "model.safetensors"
    weights.rename(folder / "shard-00000-model-00001-of-00001.safetensors")
    (folder / ".metadata").write_bytes(pickle.dumps(Payload(marker)))


def setting(file: str, **values):
    def change(folder: Path, marker: Path) -> None:
        edit(folder / file, lambda c: c.update(values))

    return change


MALICIOUS = {
    "pickled weights": pickled_weights,
    "plain pickle": plain_pickle,
    "weights_only off": weights_only_off,
    "module in the folder": module_in_the_folder,
    "module of another package": module_of_another_package,
    "other class of the library": other_class_of_the_library,
    "module at ../model": module_path("../model"),
    "module at /etc": module_path("/etc"),
    "module at a/../../x": module_path("a/../../x"),
    "module at ..\\x": module_path("..\\x"),
    "auto_map of the model": auto_map("config.json"),
    "auto_map of the tokenizer": auto_map("tokenizer_config.json"),
    "remote code": remote_code,
    "attention kernel": attention_kernel,
    "shard elsewhere": shard_elsewhere,
    "tokenizer file elsewhere": tokenizer_file_elsewhere,
    "weights elsewhere": weights_elsewhere,
    "tokenizer files elsewhere": tokenizer_files_elsewhere,
    "tokenizer elsewhere": tokenizer_elsewhere,
    "shard elsewhere by a token's name": shard_elsewhere_under_the_name_of_a_token,
    "module behind a link": module_behind_a_link,
    "module behind a link inside": module_behind_a_link_inside,
    "file behind a link": file_behind_a_link,
    "broken link": broken_link,
    "weights behind a broken link": weights_behind_a_broken_link,
    "pipe": pipe,
    "weights on disk": weights_on_disk,
    "distributed checkpoint": distributed_checkpoint,
    "weights_only off in config.json": setting("config.json", weights_only=False),
    "quantized": setting("config.json", quantization_config={"quant_method": "fp8"}),
    "fused": setting("config.json", fusion_config={"patch": True}),
    "a million layers": setting("config.json", num_hidden_layers=10**6),
    "a million labels": setting("config.json", num_labels=10**6),
    "experts from the Hub": setting("config.json", experts_implementation="somebody/kernel"),
    "attention that is compiled": setting("config.json", _attn_implementation="flex_attention"),
    "attention of another package": setting("config.json", attn_implementation="flash_attention_2"),
    "attention by parts": setting("config.json", attn_implementation={"": "flex_attention"}),
    "attention of the loader's": setting(
        "sentence_bert_config.json", model_kwargs={"attn_implementation": "flash_attention_2"}
    ),
    "processing of its own": setting(
        "sentence_bert_config.json", processing_kwargs={"text": {"max_length": 1}}
    ),
    "adapter": adapter,
}


@pytest.mark.parametrize("what", MALICIOUS)
def test_malicious_model_folder(model, marker, what):
    """Refused with a message by every way a folder is loaded; the payload does not run."""
    MALICIOUS[what](model, marker)
    for load in (
        lambda: load_encoder(model),
        lambda: load_splade(model, 32),
        lambda: convert_dense(model, ["a dog"], 4, 32),
        lambda: load_dense(model),
        lambda: DenseControl(str(model), None, 32),
    ):
        with pytest.raises(UserError) as refused:
            load()
        assert str(model) in str(refused.value)
    assert not marker.exists()


@pytest.fixture
def dense(tiny_bert, tmp_path) -> Path:
    """A dense encoder as sentence-transformers saves one."""
    folder = tmp_path / "dense"
    SentenceTransformer(str(tiny_bert), device="cpu").save_pretrained(str(folder))
    return folder


def dense_pickle(folder: Path, marker: Path) -> None:
    """Where config.json names no type, transformers reads the weights once more, by these words."""
    pickled_weights(folder, marker)
    arguments = {"weights_only": False, "dtype": "auto"}
    edit(folder / "sentence_bert_config.json", lambda c: c.update(model_kwargs=arguments))
    edit(folder / "config.json", lambda c: c.pop("dtype") and None)


def test_no_pickle_through_the_dense_control(dense, marker, monkeypatch):
    """What runs in the library's hands runs by neither lock: the check, and the loader's words."""
    dense_pickle(dense, marker)
    with pytest.raises(pickle.UnpicklingError):
        SentenceTransformer(str(dense), device="cpu", local_files_only=True)
    assert marker.exists(), "the payload is not live"
    marker.rmdir()
    for lock in ("both", "the loader's words"):
        if lock != "both":
            monkeypatch.setattr(encoder, "check_folder", lambda folder: None)
        for load in (
            lambda: DenseControl(str(dense), None, 32),
            lambda: convert_dense(dense, ["a dog"], 4, 32),
        ):
            with pytest.raises(UserError, match=str(dense)):
                load()
            assert not marker.exists(), lock


def add_module(folder: Path, kind: str, settings: dict[str, object]) -> Path:
    """One more module, in a folder of its own that has nothing but its config.json."""
    path = folder / "modules.json"
    modules = json.loads(path.read_text())
    number = len(modules)
    name = f"sentence_transformers.models.{kind}"
    place = folder / f"{number}_{kind}"
    place.mkdir()
    modules.append({"idx": number, "name": str(number), "path": place.name, "type": name})
    path.write_text(json.dumps(modules))
    (place / "config.json").write_text(json.dumps(settings))
    return place


LAYER = {"in_features": 32, "out_features": 8}


def weights_of_a_layer() -> dict[str, torch.Tensor]:
    return {"linear.weight": torch.ones(8, 32), "linear.bias": torch.zeros(8)}


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("Dense", {**LAYER, "activation_function": "evil.Evil"}, "names the activation function"),
        ("Dense", {**LAYER, "scale": 2}, r"sets \['scale'\]; expected only"),
        ("Dense", {**LAYER, "module_output_name": "x"}, r"sets .*, so the Dense would be left"),
        (
            "Dense",
            {**LAYER, "module_input_name": "token_embeddings"},
            r"sets .*, so the Dense would be left",
        ),
        ("Normalize", {"module_output_name": "x"}, r"sets .*, so the Normalize would be left"),
        ("Normalize", {"p": 1}, r"sets \['p'\]; expected only"),
        ("Pooling", {"embedding_dimension": 32, "scale": 2}, r"sets \['scale'\]; expected only"),
        ("SpladePooling", {"chunk_size": 2}, r"sets \['chunk_size'\]; expected only"),
        ("Dense", [], "is no JSON object"),
    ],
)
def test_settings_of_a_module(dense, kind, settings, said):
    """The library drops some, takes Tanh for a function that it does not trust, and says so in a
    log at most.
    """
    place = add_module(dense, kind, settings)
    save_file(weights_of_a_layer(), place / "model.safetensors")
    with pytest.raises(UserError, match=rf"{place}/config.json {said}"):
        check_folder(dense)


def test_a_layer_without_weights(dense):
    """The library makes the layer first, of any size, and looks for its weights after that."""
    add_module(dense, "Dense", {"in_features": 10**6, "out_features": 10**6})
    with pytest.raises(UserError, match=r"2_Dense holds no weights \(no model.safetensors, no pyt"):
        load_dense(dense)


def test_modules_of_one_folder(dense):
    """Each would be loaded, so a small folder could take any memory."""
    place = add_module(dense, "Dense", LAYER)
    save_file(weights_of_a_layer(), place / "model.safetensors")
    load_dense(dense)
    path = dense / "modules.json"
    modules = json.loads(path.read_text())
    again = {**modules[-1], "name": "again", "path": "./2_Dense/"}
    path.write_text(json.dumps([*modules, again]))
    with pytest.raises(UserError, match=r"modules.json has two modules in '2_Dense'"):
        load_dense(dense)


@pytest.mark.parametrize("kind", ["dense", "splade"])
def test_a_second_transformer(dense, model, monkeypatch, kind):
    """It would be loaded by its own config.json before anybody counts the modules."""
    folder, load = (dense, load_dense) if kind == "dense" else (model, load_encoder)
    shutil.copytree(folder, folder.parent / "copy")
    place = add_module(folder, "Transformer", {})
    shutil.rmtree(place)
    shutil.move(folder.parent / "copy", place)
    (place / "modules.json").unlink()
    for name in ("SentenceTransformer", "SparseEncoder"):
        monkeypatch.setattr(encoder, name, lambda *a, **k: pytest.fail("it was loaded"))
    with pytest.raises(UserError, match=r"is made of Transformer, \w+, Transformer; expected"):
        load(folder)


def with_holes(path: Path, size: int) -> None:
    """The same beginning, and nothing on the disk behind it."""
    with path.open("r+b") as file:
        file.truncate(size)
    assert path.stat().st_blocks * 512 < size / 2


def test_weights_that_are_holes(dense, tmp_path):
    """A few kilobytes on the disk: valid safetensors, as long as the header says."""
    place = add_module(dense, "Dense", {"in_features": 32, "out_features": 2**21})
    size = 4 * 32 * 2**21
    tensor = {"dtype": "F32", "shape": [2**21, 32], "data_offsets": [0, size]}
    header = json.dumps({"linear.weight": tensor}).encode()
    header += b" " * (-len(header) % 8)
    path = place / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with_holes(path, 8 + len(header) + size)
    with pytest.raises(UserError, match=r"2_Dense/config.json claims .* than the 4,096 bytes of"):
        load_dense(dense)


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt", "tokenizer.json", "README.md"])
def test_files_that_are_holes(model, name):
    """Whatever reads them would read zeros without end."""
    (model / name).touch()
    with_holes(model / name, 2**30)
    with pytest.raises(UserError, match=rf"{name} is 1,073,741,824 bytes long, but only"):
        load_encoder(model)


def test_a_run_of_zeros_may_be_a_hole(model):
    """Some copies and file systems leave zeros out."""
    path = model / "model.safetensors"
    weights = {name: torch.zeros_like(value) for name, value in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    data = path.read_bytes()
    start, length = len(data) - 3 * 4096, 2 * 4096
    with path.open("r+b") as file:
        file.truncate(start)
        file.seek(start + length)
        file.write(data[start + length :])
    assert path.read_bytes() == data
    load_encoder(model)


def test_pickled_weights_that_unpack_to_more(dense):
    """PyTorch reads compressed archives too; it writes none."""
    place = add_module(dense, "Dense", {"in_features": 32, "out_features": 2**16})
    weights = {"linear.weight": torch.zeros(2**16, 32), "linear.bias": torch.zeros(2**16)}
    path = place / "pytorch_model.bin"
    torch.save(weights, path)
    load_dense(dense)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        archive.writestr("pytorch_model/padding", os.urandom(2**22), zipfile.ZIP_STORED)
    assert torch.load(path, weights_only=True)["linear.weight"].shape == (2**16, 32)
    with pytest.raises(UserError, match=rf"{path} has [\d,]+ bytes and unpacks to 12,\d+,\d+"):
        load_dense(dense)


def test_the_payloads_are_live(model, marker):
    """What the test above is worth: without `weights_only` the pickle does run."""
    pickled_weights(model, marker)
    torch.load(model / "pytorch_model.bin", weights_only=False)
    assert marker.exists()
    marker.rmdir()
    module_in_the_folder(model, marker)
    spec = importlib.util.spec_from_file_location("evil", model / "evil.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert marker.exists()


def test_code_that_nothing_asks_for_is_harmless(model, marker):
    """A Python file beside the weights is never looked at."""
    (model / "modeling_bert.py").write_text(CODE.format(marker=str(marker)))
    check_folder(model)
    load_splade(model, 32)
    assert not marker.exists()


def test_a_snapshot_of_the_hub(tiny_splade, tmp_path):
    """Every file is a link to a blob beside the snapshots; another place is not."""
    home = tmp_path / "models--somebody--model"
    folder, blobs = home / "snapshots" / ("0" * 40), home / "blobs"
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(tiny_splade.rglob("*"))):
        if path.is_file():
            link = folder / path.relative_to(tiny_splade)
            link.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, blobs / str(number))
            link.symlink_to(os.path.relpath(blobs / str(number), link.parent))
    load_splade(folder, 32)
    (home / "refs").write_text("a secret")
    (folder / "vocab.txt").symlink_to("../../refs")
    with pytest.raises(UserError, match=r"vocab.txt is a link to .*, outside the model's folder"):
        check_folder(folder)


def test_links_into_dvcs_cache(model, tmp_path):
    """DVC makes such links where its cache is set up for it."""
    cached = tmp_path / "cache" / "files" / "md5" / "0a" / ("0123456789" * 3)
    cached.parent.mkdir(parents=True)
    shutil.move(model / "model.safetensors", cached)
    (model / "model.safetensors").symlink_to(cached)
    load_encoder(model)


def test_words_are_no_paths(model):
    """Tokens, and where a model was when it was saved, may look like paths."""
    words = {"sep_token": "/", "additional_special_tokens": ["..", "/s"], "name_or_path": "/a/b"}
    edit(model / "tokenizer_config.json", lambda c: c.update(words, special_tokens_map_file="/x"))
    edit(model / "config.json", lambda c: c.update(_name_or_path="../somewhere/else"))
    check_folder(model)


@pytest.mark.parametrize("kind", [None, "eager", "sdpa"])
def test_pytorchs_own_attention(model, kind):
    """Both are there everywhere, and the same but for rounding."""
    before = load_encoder(model).encode(["a dog"], convert_to_tensor=True).to_dense()
    edit(model / "config.json", lambda c: c.update(attn_implementation=kind))
    after = load_encoder(model).encode(["a dog"], convert_to_tensor=True).to_dense()
    torch.testing.assert_close(after, before)


def test_two_modules_of_one_name(model):
    """The library keeps the last one, and the checks look at the first."""
    path = model / "modules.json"
    modules = json.loads(path.read_text())
    path.write_text(json.dumps([*modules, {**modules[0], "idx": len(modules), "path": "other"}]))
    (model / "other").mkdir()
    with pytest.raises(UserError, match=r"modules.json names two modules"):
        check_folder(model)
