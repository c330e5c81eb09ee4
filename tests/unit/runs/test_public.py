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


def test_scrub() -> None:
    """A path that holds another one is shortened as a whole."""
    settings = tiny_params()
    base = settings.base_model.model_copy(update={"source": "/home/me/models/x"})
    data = settings.data.model_copy(update={"path": "/home/me"})
    settings = settings.model_copy(update={"base_model": base, "data": data})
    assert scrub(b"/home/me/models/x and /home/me/other", settings) == "…/x and …/me/other".encode()
