"""What is seen of a training."""

import io
from types import SimpleNamespace

import pytest

from splade_sts.training.callbacks import ProgressBar
from splade_sts.training.curves import TrainingPoint, ValidationPoint

TRAINED = TrainingPoint(
    step=2,
    epoch=0.5,
    loss=0.25,
    base_loss=0.2,
    document_regularizer_loss=0.05,
    document_regularizer_weight=1e-3,
    learning_rate=1e-5,
    gradient_norm=None,
)
VALIDATED = ValidationPoint(
    2, 0.5, pearson=0.7, spearman=0.8, active_dims=40.04, sparsity_ratio=0.9
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def steps(bar: ProgressBar, first: int, last: int) -> None:
    state = SimpleNamespace(max_steps=4, global_step=first, is_world_process_zero=True)
    bar.on_train_begin(None, state, None)
    for state.global_step in range(first + 1, last + 1):
        bar.on_step_end(None, state, None)


def test_the_bar_on_a_terminal(monkeypatch):
    """One line: the steps, and the last values; it ends with its line."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    bar = ProgressBar()
    steps(bar, 0, 2)
    bar.show(TRAINED)
    bar.show(VALIDATED)
    bar.close()
    bar.close()
    written = terminal.getvalue()
    assert written.count("\n") == 1
    last = written.split("\r")[-1]
    assert last.startswith("training:  50%|")
    assert "2/4" in last
    assert last.endswith(", loss=0.2500, Spearman=0.8000, dims=40.0]\n")


def test_lines_elsewhere(capsys):
    """One for each validation; none for those before a training that resumes."""
    bar = ProgressBar()
    bar.show(TRAINED)
    bar.show(VALIDATED)
    steps(bar, 2, 4)
    bar.show(TRAINED)
    bar.show(VALIDATED)
    bar.close()
    line = "training, step 2 of 4: loss 0.2500, Spearman 0.8000, dims 40.0\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_bar_is_ended_by_an_error(monkeypatch, tiny_splade, pairs, tmp_path, error):
    """So that the message begins on a line of its own."""
    from splade_sts.model.encoder import load_encoder
    from splade_sts.training.finetune import finetune
    from tests.support.tiny import train_params

    def look(point):
        raise error

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    settings = train_params(logging_steps=1)
    with pytest.raises(error):
        finetune(load_encoder(tiny_splade), pairs, pairs, settings, tmp_path, look)
    assert terminal.getvalue().endswith("\n")
