"""Models are loaded in one place, with our settings."""

import ast
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import FNetConfig, FNetForMaskedLM, FNetModel

from splade_sts.errors import UserError
from splade_sts.model.conversion import convert_dense
from splade_sts.model.encoder import load_bert, load_dense, load_encoder
from tests.support.commands import ROOT

# What makes a model of files, or runs a pickle.
CONSTRUCTORS = {
    *("SentenceTransformer", "SparseEncoder", "CrossEncoder", "MultiVectorEncoder"),
    *("Transformer", "MLMTransformer", "pipeline", "from_pretrained", "import_from_string"),
    *("torch.load", "torch.jit.load", "torch.hub.load", "dcp.load", "joblib.load"),
    *("pickle.load", "pickle.loads", "Unpickler", "read_pickle", "load_model", "load_adapter"),
}
DOORS = {
    "splade_sts/model/encoder.py": "the loader",
    "splade_sts/model/weights.py": "its check, on a device without memory; called there only",
    "splade_sts/tracking/logged_model.py": (
        "MLflow runs this file by itself, without this package, on a model that we have written"
    ),
    "benchmarks/fuzz.py": "weights that it has written itself, to damage them",
}


def constructors(path: Path) -> set[str]:
    """Calls of constructors, by the name they are called by."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            found |= {name, name.rsplit(".", 1)[-1]} & CONSTRUCTORS
        if isinstance(node, (ast.Import, ast.ImportFrom)):  # no other name for them either
            renamed = {alias.name for alias in node.names if alias.asname not in (None, alias.name)}
            found |= renamed & CONSTRUCTORS
            module = getattr(node, "module", None)
            found |= {f"{module}.{alias.name}" for alias in node.names} & CONSTRUCTORS
    return found


def test_one_door():
    """No module but the loader makes a model of files; the exceptions are those of SECURITY.md."""
    folders = ("splade_sts", "stages", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): constructors(path) for path in files}
    assert {name: calls for name, calls in found.items() if calls and name not in DOORS} == {}
    assert all(found[name] for name in DOORS), "a door that nobody uses"
    users = [
        name
        for name in found
        if "splade_sts.model.weights import" in (ROOT / name).read_text(encoding="utf-8")
    ]
    assert users == ["splade_sts/model/encoder.py"]
    security = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert [name for name in DOORS if f"`{name}`" not in security] == []


@pytest.mark.parametrize(
    "code",
    [
        "from sentence_transformers import SparseEncoder\nSparseEncoder('x')",
        "import sentence_transformers as st\nst.SentenceTransformer('x')",
        "from sentence_transformers import SparseEncoder as S\nS('x')",
        "from torch import load\nload('x')",
        "transformers.AutoModel.from_pretrained('x')",
    ],
)
def test_the_door_test_finds_what_it_looks_for(tmp_path, code):
    (tmp_path / "x.py").write_text(code)
    assert constructors(tmp_path / "x.py")


def edit(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **changes}))


@pytest.fixture
def splade(tiny_splade, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_splade, tmp_path / "splade"))


@pytest.fixture
def dense(tiny_bert, tmp_path) -> Path:
    """A dense encoder as sentence-transformers saves one."""
    folder = tmp_path / "dense"
    SentenceTransformer(str(tiny_bert), device="cpu").save_pretrained(str(folder))
    return folder


SILENT = {
    "max_active_dims": {"max_active_dims": 3},
    "truncate_dim": {"truncate_dim": 3},
    "prompt": {"prompts": {"query": "find: "}, "default_prompt_name": "query"},
    "prompt of no name": {"default_prompt_name": ["query"]},
    "prompts in a list": {"prompts": ["find: "]},
    "name of no prompt": {"default_prompt_name": "query", "prompts": None},
}


@pytest.mark.parametrize("what", SILENT)
def test_settings_that_would_change_every_vector(splade, dense, what):
    """Refused, with the file and the key."""
    for folder, load in ((splade, load_encoder), (dense, load_dense)):
        edit(folder / "config_sentence_transformers.json", **SILENT[what])
        with pytest.raises(UserError, match=r"_transformers.json(: found| sets| puts) "):
            load(folder)


FEWER_THREADS = {"OMP_DYNAMIC": "True", "OMP_MAX_ACTIVE_LEVELS": "0", "OMP_THREAD_LIMIT": "1"}


@pytest.mark.parametrize("name", FEWER_THREADS)
def test_fewer_threads_than_pytorch_counts_on(splade, dense, monkeypatch, name):
    """Products in bfloat16 would be wrong, silently; with one thread there are none to lose."""
    monkeypatch.setenv(name, FEWER_THREADS[name])
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        for folder, load in ((splade, load_encoder), (dense, load_dense), (splade, load_bert)):
            if threads == 1:
                load(folder)
            else:
                with pytest.raises(UserError, match=f"^{name} is .* the 2 threads"):
                    load(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [("OMP_DYNAMIC", "false"), ("OMP_MAX_ACTIVE_LEVELS", "1"), ("OMP_THREAD_LIMIT", "2")],
)
def test_threads_that_are_left(splade, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    load_encoder(splade)


def test_settings_that_are_ours(splade, dense):
    """Similarity, prompts and the type of numbers, whatever the folder says."""
    for folder, load in ((splade, load_encoder), (dense, load_dense)):
        before = load(folder).encode(["the dog runs"], convert_to_tensor=True)
        edit(
            folder / "config_sentence_transformers.json",
            similarity_fn_name="dot",
            prompts={"query": "find: ", "other": "x"},
        )
        edit(folder / "config.json", dtype="bfloat16")
        edit(folder / "sentence_bert_config.json", model_kwargs={"torch_dtype": "float16"})
        model = load(folder)
        assert model.similarity_fn_name == "cosine"
        assert set(model.prompts.values()) == {""}
        assert model.default_prompt_name is None
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        after = model.encode(["the dog runs"], convert_to_tensor=True)
        assert torch.equal(after.to_dense(), before.to_dense())


TEXTS = ["a dog", "the man plays a red guitar slowly in the park", "cat"]


def alone_and_together(load, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The vectors of `TEXTS`, encoded one by one and in one batch."""
    model = load(folder)
    single = [model.encode([text], convert_to_tensor=True).to_dense()[0] for text in TEXTS]
    return torch.stack(single), model.encode(TEXTS, convert_to_tensor=True).to_dense()


LEFT = {
    "tokenizer_config": ("tokenizer_config.json", {"padding_side": "left"}),
    "processor_kwargs": (
        "sentence_bert_config.json",
        {"processor_kwargs": {"padding_side": "left"}},
    ),
    "tokenizer": (
        "tokenizer.json",
        {
            "padding": {
                "strategy": "BatchLongest",
                "direction": "Left",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "[PAD]",
            }
        },
    ),
}


@pytest.mark.parametrize("where", LEFT)
def test_padding_stands_behind(splade, dense, where):
    """Before a sentence it would move the positions: other vectors in other batches."""
    name, setting = LEFT[where]
    for folder, load in ((splade, load_encoder), (dense, load_dense)):
        edit(folder / name, **setting)
        alone, together = alone_and_together(load, folder)
        torch.testing.assert_close(together, alone)
    _, tokenizer = load_bert(dense)
    assert tokenizer.padding_side == "right"


def test_a_conversion_pads_behind(dense):
    """The same model, wherever the encoder's folder lets padding stand."""
    before = convert_dense(dense, TEXTS, 8, 32).state_dict()
    edit(dense / "tokenizer_config.json", padding_side="left")
    after = convert_dense(dense, TEXTS, 8, 32).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


CUT_AT_THE_START = {
    "tokenizer_config": ("tokenizer_config.json", {"truncation_side": "left"}),
    "processor_kwargs": (
        "sentence_bert_config.json",
        {"processor_kwargs": {"truncation_side": "left"}},
    ),
}


@pytest.mark.parametrize("where", CUT_AT_THE_START)
def test_texts_that_are_cut_at_their_start(splade, dense, where):
    """No parameter says so, and the vectors of long texts would be others."""
    name, setting = CUT_AT_THE_START[where]
    for folder, load in ((splade, load_encoder), (dense, load_dense)):
        edit(folder / name, **setting)
        with pytest.raises(UserError, match=r"at their start \(truncation_side is 'left'.*copy"):
            load(folder)


def test_texts_that_are_cut_at_their_end(splade):
    """What a folder may say in so many words; what tokenizer.json says of it is not read."""
    long = [" ".join(["dog", *["cat"] * 200])]
    before = load_encoder(splade).encode(long).to_dense()
    edit(splade / "tokenizer_config.json", truncation_side="right")
    left = {"direction": "Left", "max_length": 32, "strategy": "LongestFirst", "stride": 0}
    edit(splade / "tokenizer.json", truncation=left)
    model = load_encoder(splade)
    assert torch.equal(model.encode(long).to_dense(), before)
    tokens = model.tokenizer(long, truncation=True, max_length=model.max_seq_length)["input_ids"]
    assert model.tokenizer.decode(tokens[0]).startswith("[CLS] dog")
    assert len(tokens[0]) < 200


def test_no_attention_mask(splade, dense):
    """Padding would be read."""
    for folder, loaders in ((splade, (load_encoder,)), (dense, (load_dense, load_bert))):
        edit(folder / "tokenizer_config.json", model_input_names=["input_ids"])
        for load in loaders:
            with pytest.raises(UserError, match=r"gives no attention mask .*is \['input_ids'\]"):
                load(folder)


@pytest.mark.parametrize("kind", ["splade", "dense"])
def test_a_model_that_reads_its_padding(request, kind):
    """FNet has no attention and takes no mask: every token is mixed with every other."""
    folder = request.getfixturevalue(kind)
    config = FNetConfig(
        vocab_size=json.loads((folder / "config.json").read_text())["vocab_size"],
        hidden_size=32,
        num_hidden_layers=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    sparse = kind == "splade"
    (FNetForMaskedLM if sparse else FNetModel)(config).save_pretrained(folder)
    with pytest.raises(UserError, match=r"encodes a sentence differently beside a longer one"):
        (load_encoder if sparse else load_dense)(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"transformer_task": "feature-extraction"},
        {"transformer_task": "text-generation"},
        {"module_output_name": "sentence_embedding"},
        {"modality_config": {"text": {"method": "forward", "method_output_name": "hidden_states"}}},
    ],
)
def test_a_transformer_that_hands_on_something_else(splade, change):
    edit(splade / "sentence_bert_config.json", **change)
    with pytest.raises(UserError, match=r"sentence_bert_config.json makes of a text"):
        load_encoder(splade)


def test_the_poolers_output(dense):
    """It is random where the file has no pooler."""
    modality = {"text": {"method": "forward", "method_output_name": "pooler_output"}}
    edit(dense / "sentence_bert_config.json", modality_config=modality)
    with pytest.raises(UserError, match=r"sentence_bert_config.json makes of a text"):
        load_dense(dense)


def test_another_kind_of_model(splade, dense):
    """Neither is taken for the other: sentence-transformers would add random layers."""
    with pytest.raises(UserError, match=r"those of a 'SentenceTransformer' .*; expected a Sparse"):
        load_encoder(dense)
    with pytest.raises(UserError, match=r"those of a 'SparseEncoder' .*; expected a SentenceTr"):
        load_dense(splade)
    settings = splade / "config_sentence_transformers.json"
    edit(settings, model_type="SentenceTransformer")
    with pytest.raises(UserError, match=r"is made of .*; expected a transformer, Pooling"):
        load_dense(splade)
    edit(settings, model_type="SparseEncoder")
    modules = json.loads((splade / "modules.json").read_text())
    normalize = {"name": "2", "path": "2", "type": "sentence_transformers.models.Normalize"}
    (splade / "modules.json").write_text(json.dumps([*modules, {"idx": 2, **normalize}]))
    with pytest.raises(UserError, match=r"is made of .*; expected a transformer and SpladePooling"):
        load_encoder(splade)
    (splade / "modules.json").write_text(json.dumps(modules))
    edit(splade / "1_SpladePooling" / "config.json", embedding_dimension=5)
    with pytest.raises(UserError, match=r"embedding_dimension of SpladePooling is 5"):
        load_encoder(splade)


def test_a_transformer_in_a_folder_of_its_own(dense, tiny_bert):
    """As older releases save one: it is looked for, checked and loaded there."""
    home = dense / "0_Transformer"
    home.mkdir()
    for path in [*dense.iterdir()]:
        if path.is_file() and path.name not in (
            "modules.json",
            "config_sentence_transformers.json",
        ):
            path.rename(home / path.name)
    modules = json.loads((dense / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (dense / "modules.json").write_text(json.dumps(modules))
    found, expected = (load_dense(path).encode(["a dog"]) for path in (dense, tiny_bert))
    assert (found == expected).all()
    mlm, _ = load_bert(dense)
    assert mlm.config.model_type == "bert"
    edit(home / "config.json", num_hidden_layers=3)
    for load in (load_dense, load_bert):
        with pytest.raises(UserError, match=r"0_Transformer: the weights do not fit"):
            load(dense)


def test_tokens_without_embeddings(splade, dense):
    """A sentence with that word would end in an IndexError, or worse on a GPU."""
    for folder, loaders in ((splade, (load_encoder,)), (dense, (load_dense, load_bert))):
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text())
        content["model"]["vocab"]["zebra"] = 5000
        path.write_text(json.dumps(content))
        for load in loaders:
            with pytest.raises(UserError, match=r"the tokenizer of .* has token 5000, the model"):
                load(folder)


def test_what_cannot_encode(dense):
    """Settings that load, but do not fit each other."""
    (dense / "2_Dense").mkdir()
    layer = torch.nn.Linear(5, 3)
    settings = {"in_features": 5, "out_features": 3, "bias": True}
    weights = {f"linear.{name}": value for name, value in layer.state_dict().items()}
    save_file(weights, dense / "2_Dense" / "model.safetensors")
    (dense / "2_Dense" / "config.json").write_text(json.dumps(settings))
    modules = json.loads((dense / "modules.json").read_text())
    modules.append({"idx": 2, "name": "2", "path": "2_Dense"})
    modules[-1]["type"] = "sentence_transformers.models.Dense"
    (dense / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UserError, match=r"cannot encode a sentence: RuntimeError"):
        load_dense(dense)
    edit(dense / "tokenizer_config.json", model_max_length=["long"])
    with pytest.raises(UserError, match=rf"{dense} cannot encode a sentence: TypeError"):
        load_bert(dense)


def test_messages_stay_short(splade):
    """The libraries quote whole files."""
    edit(splade / "tokenizer_config.json", tokenizer_class="x" * 50_000)
    edit(splade / "config.json", model_type="y" * 50_000)
    with pytest.raises(UserError) as refused:
        load_encoder(splade)
    assert len(str(refused.value)) < 2000


def test_vectors_that_are_not_finite(splade, dense):
    """Finite weights may overflow."""
    for folder, load in ((splade, load_encoder), (dense, load_dense)):
        weights = load_file(folder / "model.safetensors")
        for key in weights:
            if key.endswith("LayerNorm.weight"):
                weights[key] = torch.full_like(weights[key], 3e38)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(UserError, match=r"numbers of a sentence that are not finite"):
            load(folder)


def test_a_tokenizer_without_words(splade, dense):
    """Without its files the library makes one that knows special tokens alone."""
    for folder, load in ((splade, load_encoder), (dense, load_dense)):
        for path in [*folder.rglob("tokenizer.json"), *folder.rglob("vocab.txt")]:
            path.unlink()
        with pytest.raises(UserError, match="has no word; expected its vocabulary"):
            load(folder)
