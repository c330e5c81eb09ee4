"""The one place where models are loaded: no network, no code, all weights, our settings.

`tests/unit/model/test_encoder.py` looks for constructors of models anywhere else.
"""

import json
import os
import re
import reprlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from sentence_transformers import SentenceTransformer, SparseEncoder
from transformers import PretrainedConfig, PreTrainedTokenizerBase
from transformers.models.auto import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForTextEncoding,
    AutoTokenizer,
)
from transformers.models.bert import BertForMaskedLM

from splade_sts.errors import UserError
from splade_sts.model.check import check_folder, module_folders, weights_size
from splade_sts.model.weights import (
    OTHER_HEADS,
    UNUSED,
    check_finite,
    check_types,
    check_weights,
)

# `weights_only` is given because a folder could otherwise switch it off, the type because a folder
# could otherwise choose one with fewer digits.
LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
WEIGHTS: dict[str, Any] = {"weights_only": True, "dtype": torch.float32}
LONGEST_MESSAGE = 1000  # characters
# A sentence is encoded alone, and beside a longer one.
SHORT = "a test"
LONG = "a test beside a sentence that is longer"
# How far apart the two vectors may lie, as a share of their length; below length 1, of 1, because
# few weak terms are small differences of large logits. In float32 two shapes of a batch differ by
# about 1e-6. Padding that is read, or that moves the positions, changes a tenth and more.
ALONE = 1e-3
Model = TypeVar("Model", SparseEncoder, SentenceTransformer)


@dataclass(frozen=True)
class Modules:
    """The kinds of modules that a model is made of: a regular expression, and words for it."""

    kinds: str
    words: str

    def check(self, folder: str | Path, found: list[str]) -> None:
        """Refuse modules of other kinds. What modules.json names is checked before it is loaded,
        and what came of it after that; where nothing is named, the library chooses.
        """
        if found and not re.fullmatch(self.kinds, " ".join(found)):
            raise UserError(f"{folder} is made of {', '.join(found)}; expected {self.words}")


SPARSE = Modules("(MLM)?Transformer SpladePooling", "a transformer and SpladePooling")
DENSE = Modules(
    "(MLM)?Transformer Pooling( Dense| Normalize)*",
    "a transformer, Pooling, and nothing but Dense and Normalize behind",
)


def quiet() -> None:
    """Silence what the libraries say on loading and encoding; it tells the user nothing to act on.

    That are PyTorch's remarks on its sparse tensors, and the reports and bars of transformers,
    which say nothing that messages of ours do not.
    """
    warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def check_threads() -> None:
    """Refuse settings of OpenMP with which PyTorch computes wrong numbers.

    Where OpenMP gives fewer threads than PyTorch counts on, products in bfloat16 on a CPU come out
    wrong, without an error: rows of the result stay 0 (seen with torch 2.13). The evaluation in
    float32 has such products too, in its screen.

    Raises:
        UserError: names the environment variable.
    """
    threads = torch.get_num_threads()
    limit = os.environ.get("OMP_THREAD_LIMIT", "").strip()
    takes_away = {
        "OMP_DYNAMIC": os.environ.get("OMP_DYNAMIC", "").strip().lower() == "true",
        "OMP_MAX_ACTIVE_LEVELS": os.environ.get("OMP_MAX_ACTIVE_LEVELS", "").strip() == "0",
        "OMP_THREAD_LIMIT": limit.isdecimal() and int(limit) < threads,
    }
    for name, does in takes_away.items():
        if does and threads > 1:
            raise UserError(
                f"{name} is {os.environ[name]!r} in the environment: OpenMP may give fewer than "
                f"the {threads} threads that PyTorch counts on, and products in bfloat16 then come "
                f"out wrong. Unset {name}; OMP_NUM_THREADS says how many threads to take"
            )


def load_encoder(folder: str | Path, device: str | None = None) -> SparseEncoder:
    """Load the SPLADE model in `folder` in float32.

    The similarity is set to cosine: the class default is the dot product, and a folder may name
    another. Prompts are emptied, all active dimensions kept, and padding put behind the sentences,
    whatever the folder says.

    Args:
        folder: a model's folder.
        device: where the model goes; None for the best that there is.

    Raises:
        UserError: as `check_threads`; the folder asks for code or for files elsewhere, its weights
            do not fit, or it is no transformer with a masked-language-model head and SpladePooling.
    """
    quiet()
    check_threads()
    config = read_config(folder)
    _check_type(folder, "SparseEncoder")
    SPARSE.check(folder, [kind for kind, _ in module_folders(folder)])
    try:
        check_weights(AutoModelForMaskedLM, transformer_folder(folder))
        model = SparseEncoder(
            str(folder),
            device=device,
            similarity_fn_name="cosine",
            model_kwargs=dict(WEIGHTS),
            **LOCAL,
        )
    except UserError:
        raise
    except Exception as error:  # whatever the libraries make of the files: the folder is the user's
        raise _cannot_be_loaded(folder, error) from error
    SPARSE.check(folder, [type(module).__name__ for module in model])
    transformer, pooling = list(model)
    _check_transformer(transformer, "fill-mask", "logits", folder)
    if pooling.embedding_dimension not in (None, config.vocab_size):
        raise UserError(
            f"{folder}: embedding_dimension of SpladePooling is {pooling.embedding_dimension}; "
            f"expected the size of the vocabulary, {config.vocab_size}"
        )
    model.max_active_dims = None
    return _ours(model, config, folder)


def load_dense(folder: str | Path, device: str | None = None) -> SentenceTransformer:
    """Load the dense encoder in `folder` in float32, with cosine similarity and without prompts.

    Args:
        folder: a model's folder.
        device: where the model goes; None for the best that there is.

    Raises:
        UserError: as `check_threads`; the folder asks for code or for files elsewhere, its weights
            do not fit, or it is no transformer with pooling over its tokens.
    """
    quiet()
    check_threads()
    config = read_config(folder)
    _check_type(folder, "SentenceTransformer")
    DENSE.check(folder, [kind for kind, _ in module_folders(folder)])
    # sentence-transformers takes the encoder alone of a model that has a decoder too.
    auto_class = AutoModelForTextEncoding if config.is_encoder_decoder else AutoModel
    try:
        check_weights(auto_class, transformer_folder(folder), may_lack=UNUSED, may_have=OTHER_HEADS)
        for kind, home in module_folders(folder):
            if kind == "Dense":
                check_types(home, shards=False)
        model = SentenceTransformer(
            str(folder),
            device=device,
            similarity_fn_name="cosine",
            model_kwargs=dict(WEIGHTS),
            **LOCAL,
        )
    except UserError:
        raise
    except Exception as error:  # whatever the libraries make of the files: the folder is the user's
        raise _cannot_be_loaded(folder, error) from error
    DENSE.check(folder, [type(module).__name__ for module in model])
    _check_transformer(model[0], "feature-extraction", "last_hidden_state", folder)
    model.truncate_dim = None
    return _ours(model, config, folder)


def load_bert(folder: Path) -> tuple[BertForMaskedLM, PreTrainedTokenizerBase]:
    """Load a BERT encoder in float32 under a masked-language-model head, and its tokenizer.

    The head is random where the folder has none. The decoder is the word embedding matrix.

    Raises:
        UserError: as `check_threads`; the folder asks for code or for files elsewhere, or its
            weights do not fit.
    """
    quiet()
    check_threads()
    read_config(folder)
    home = transformer_folder(folder)
    try:
        check_weights(BertForMaskedLM, home, may_lack=r"^cls\.", may_have=OTHER_HEADS)
        model = BertForMaskedLM.from_pretrained(home, tie_word_embeddings=True, **WEIGHTS, **LOCAL)
        tokenizer = AutoTokenizer.from_pretrained(home, **LOCAL)
    except UserError:
        raise
    except Exception as error:  # whatever the libraries make of the files: the folder is the user's
        raise _cannot_be_loaded(folder, error) from error
    check_finite(model, folder)

    def first(texts: list[str]) -> torch.Tensor:
        batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        logits: torch.Tensor = model(**batch).logits[0]
        return logits[batch["attention_mask"][0].bool()]

    _check_trial(first, tokenizer, model.config, folder)
    return model, tokenizer


def read_config(folder: str | Path) -> PretrainedConfig:
    """Read the configuration of the transformer in `folder`, once the folder is checked.

    Raises:
        UserError: the folder holds no model, or asks for code or files elsewhere.
    """
    check_folder(folder)
    home = transformer_folder(folder)
    if not (home / "config.json").is_file():
        raise UserError(f"{folder} holds no model (no {home / 'config.json'})")
    if not weights_size(home):
        raise UserError(f"{home} holds no weights (no *.safetensors, no pytorch_model.bin)")
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(home, **LOCAL)
    except Exception as error:  # the library checks little: a wrong type may raise anything
        raise UserError(f"{home / 'config.json'} cannot be read: {_said(error)}") from error
    names = config.architectures or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(
            f"{home / 'config.json'}: architectures is {reprlib.repr(names)}; "
            "expected a list of names"
        )
    return config


def transformer_folder(folder: str | Path) -> Path:
    """Where the transformer of a model lies: in the folder of its first module.

    The folder has passed `check_folder`.
    """
    modules = Path(folder, "modules.json")
    if not modules.is_file():
        return Path(folder)
    first: str = json.loads(modules.read_text(encoding="utf-8"))[0]["path"]
    return Path(folder, first)


def _check_type(folder: str | Path, wanted: str) -> None:
    """Refuse modules saved as another type: the library would add to them, or take others."""
    path = Path(folder, "config_sentence_transformers.json")
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found = settings.get("model_type", "SentenceTransformer")  # what the library takes it for
    if found != wanted and Path(folder, "modules.json").is_file():
        raise UserError(
            f"{folder}: the modules are those of a {reprlib.repr(found)} "
            f"(model_type in {path.name}); expected a {wanted}"
        )


def _check_transformer(module: Any, task: str, output: str, folder: str | Path) -> None:
    """Refuse a transformer that hands on something else than is meant here."""
    found = (module.transformer_task, module.modality_config.get("text"), module.module_output_name)
    wanted = (task, {"method": "forward", "method_output_name": output}, "token_embeddings")
    if found != wanted:
        raise UserError(
            f"{folder}: sentence_bert_config.json makes of a text {found!r} "
            f"(transformer_task, modality_config, module_output_name); expected {wanted!r}"
        )


def _prepare_tokenizer(tokenizer: Any, folder: str | Path) -> None:
    """Let padding stand behind a sentence; refuse a tokenizer that gives no mask for it, or that
    cuts a long text at its start.

    Otherwise vectors depend on the length of the other sentences of a batch: padding before a
    sentence moves its positions in many models, and padding without a mask is read. Where a text is
    cut stands in no parameter.
    """
    tokenizer.padding_side = "right"
    if "attention_mask" not in tokenizer.model_input_names:
        raise UserError(
            f"{folder}: the tokenizer gives no attention mask (model_input_names in "
            f"tokenizer_config.json is {reprlib.repr(tokenizer.model_input_names)}), so padding "
            "would be read as words. Add attention_mask in a copy, or take another model"
        )
    if tokenizer.truncation_side != "right":
        raise UserError(
            f"{folder}: the tokenizer cuts texts that are longer than base_model.max_seq_length at "
            f"their start (truncation_side is {reprlib.repr(tokenizer.truncation_side)} in "
            "tokenizer_config.json or sentence_bert_config.json); expected right, which cuts their "
            "end. Set it in a copy, or take another model"
        )


def _check_trial(
    encode: Callable[[list[str]], torch.Tensor],
    tokenizer: Any,
    config: PretrainedConfig,
    folder: str | Path,
) -> None:
    """Set how the tokenizer pads, and refuse what loads, but cannot encode a sentence, or encodes
    it differently beside another one.

    A tokenizer may have tokens that the model has no embeddings for, settings may not fit each
    other, and weights that are finite may overflow. Some models read their padding.

    Args:
        encode: the vectors of the first of several sentences.
        tokenizer: that of the model, which `encode` uses.
        config: of the transformer.
        folder: for messages.

    Raises:
        UserError: says what is wrong with the folder.
    """
    try:
        words = tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens)
        if not words:
            raise UserError(
                f"the tokenizer of {folder} has no word; expected its vocabulary beside the "
                "weights (tokenizer.json or vocab.txt). Fetch the model again"
            )
        largest = max(tokenizer.get_vocab().values(), default=-1)
        if largest >= config.vocab_size:
            raise UserError(
                f"the tokenizer of {folder} has token {largest}, the model only {config.vocab_size}"
            )
        _prepare_tokenizer(tokenizer, folder)
        with torch.no_grad():
            alone, beside = (encode(texts).to_dense() for texts in ([SHORT], [SHORT, LONG]))
    except UserError:
        raise
    except Exception as error:  # whatever the libraries make of the user's settings
        raise UserError(f"{folder} cannot encode a sentence: {_said(error)}") from error
    if not (torch.isfinite(alone).all() and torch.isfinite(beside).all()):
        raise UserError(
            f"{folder} makes numbers of a sentence that are not finite; its weights, "
            "though finite, are broken. Take another model"
        )
    if (apart := float(torch.dist(alone, beside))) > ALONE * max(1.0, float(alone.norm())):
        raise UserError(
            f"{folder} encodes a sentence differently beside a longer one (vectors {apart:.2g} "
            "apart): it reads its padding, so scores would depend on the batch. Take another model"
        )


def _ours(model: Model, config: PretrainedConfig, folder: str | Path) -> Model:
    """The model with finite weights and no prompt, once it has encoded a sentence."""
    check_finite(model, folder)
    model.prompts = dict.fromkeys(model.prompts, "")
    model.default_prompt_name = None
    _check_trial(
        lambda texts: model.encode(texts, convert_to_tensor=True, show_progress_bar=False)[0],
        model.tokenizer,
        config,
        folder,
    )
    return model


def _cannot_be_loaded(folder: str | Path, error: Exception) -> UserError:
    return UserError(f"{folder} cannot be loaded as a model: {_said(error)}")


def _said(error: Exception) -> str:
    """What a library says; some quote a whole file."""
    return f"{type(error).__name__}: {str(error)[:LONGEST_MESSAGE]}"
