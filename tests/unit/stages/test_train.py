"""train: what it writes, and what it remembers of it."""

from splade_sts import layout
from splade_sts.model.encoder import load_encoder
from splade_sts.runs.identity import training_id
from splade_sts.training.finetune import finetune
from stages import train
from tests.support.tiny import train_params


def test_the_identity_is_known_without_the_files(tiny_splade, pairs, tmp_path, monkeypatch):
    """DVC may remove them as soon as they are there: the training outlived its own `dvc`, and the
    next one starts.
    """
    monkeypatch.chdir(tmp_path)
    model = load_encoder(tiny_splade)
    result = finetune(model, pairs, pairs, train_params(), tmp_path / "checkpoints")
    identity = train.write(result)
    assert identity == training_id()
    assert layout.evidence("train").exists()
    assert layout.model("finetuned").is_dir()
