import pytest

from splade_sts.runs.public import public_params, scrub, short_path
from tests.support.tiny import tiny_params


def test_absolute_paths_are_shortened() -> None:
    """Folders of a machine are nobody's business; everything else stays as it is."""
    settings = tiny_params()
    base = settings.base_model.model_copy(update={"source": "/home/me/models/x"})
    data = settings.data.model_copy(update={"path": "~/data"})
    shown = public_params(
        settings.model_copy(update={"base_model": base, "data": data}), without=("track",)
    )
    assert shown["base_model.source"] == "…/x"
    assert shown["data.path"] == "…/data"
    assert shown["train.seed"] == 42
    assert shown["data.score_range"] == [0.0, 5.0]
    assert not [name for name in shown if name.startswith("track")]
    assert short_path("data/own") is None
    assert short_path(3) is None


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("/home/me/.venv/bin/torchrun --nproc-per-node=2", "…/torchrun --nproc-per-node=2"),
        ("srun ~/bin/torchrun --log-dir=/home/me/logs", "srun …/torchrun --log-dir=…/logs"),
        ("torchrun --rdzv-endpoint=a/b:29500", "torchrun --rdzv-endpoint=a/b:29500"),
        ("python", "python"),
    ],
)
def test_the_launcher_is_shortened(command: str, shown: str) -> None:
    """Word for word: it is a command with paths in it."""
    settings = tiny_params()
    train = settings.train.model_copy(update={"launcher": command})
    settings = settings.model_copy(update={"train": train})
    assert public_params(settings)["train.launcher"] == shown
    assert scrub(f"launcher: {command}\n".encode(), settings) == f"launcher: {shown}\n".encode()


def test_scrub() -> None:
    """A path that holds another one is shortened as a whole."""
    settings = tiny_params()
    base = settings.base_model.model_copy(update={"source": "/home/me/models/x"})
    data = settings.data.model_copy(update={"path": "/home/me"})
    settings = settings.model_copy(update={"base_model": base, "data": data})
    assert scrub(b"/home/me/models/x and /home/me/other", settings) == "…/x and …/me/other".encode()
