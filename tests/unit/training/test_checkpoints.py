"""Which checkpoints are whole, whose they are, and when they go."""

import os
from pathlib import Path

from splade_sts.training import checkpoints


def test_checkpoints_that_are_not_whole(tmp_path):
    """Without a seal, with a file less, or with other bytes: none counts, and all are removed."""

    def make(step):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model").write_bytes(b"weights" * step)
        return folder

    whole, unsealed, short, changed = map(make, (9, 10, 20, 100))
    for folder in (whole, short, changed):
        checkpoints.seal(folder)
    (short / "model").unlink()
    (changed / "model").write_bytes(b"weighty" * 100)
    assert checkpoints.complete(tmp_path) == [whole]
    assert not unsealed.exists()
    assert not short.exists()
    assert not changed.exists()
    checkpoints.remove(whole)
    assert checkpoints.complete(tmp_path) == []


def test_the_fingerprint(tmp_path, monkeypatch):
    """Parameters, data, code and threads each give another one; a second look gives the same."""
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {train: {cmd: x, deps: [code, data/train]}}")
    for name in ("code", "data"):
        Path(name).mkdir()
    Path("code/loss.py").write_text("1")
    Path("data/train").write_text("a")
    facts = {"params": {"seed": 1}, "threads": 2}
    found = [checkpoints.fingerprint("train", facts)]
    assert found == [checkpoints.fingerprint("train", dict(reversed(facts.items())))]
    Path("code/__pycache__").mkdir()
    Path("code/__pycache__/loss.pyc").write_text("compiled")
    assert found == [checkpoints.fingerprint("train", facts)]
    found.append(checkpoints.fingerprint("train", facts | {"threads": 1}))
    found.append(checkpoints.fingerprint("train", facts | {"params": {"seed": 2}}))
    Path("code/loss.py").write_text("2")
    found.append(checkpoints.fingerprint("train", facts))
    Path("code/new.py").write_text("")
    found.append(checkpoints.fingerprint("train", facts))
    Path("data/train").write_text("b")
    found.append(checkpoints.fingerprint("train", facts))
    assert len(set(found)) == 6


def test_which_checkpoints_are_cleared(tmp_path):
    """Those of trainings that are done or long given up; never what another process holds."""
    folder = tmp_path / "checkpoints"
    for name in ("done", "done too", "recent", "old", "held"):
        (folder / name).mkdir(parents=True)
        (folder / name / "lock").touch()
    checkpoints.mark_done(folder / "done", "id")
    checkpoints.mark_done(folder / "done too", "another")
    for name in ("old", "held"):
        os.utime(folder / name, (0, 0))
    with checkpoints.reserved(tmp_path, "held"):
        assert checkpoints.clear_done(tmp_path, "a third") == []
        assert checkpoints.clear_done(tmp_path, "another") == [folder / "done too"]
        assert checkpoints.clear_given_up(tmp_path) == [folder / "done", folder / "old"]
    assert sorted(path.name for path in folder.iterdir()) == ["held", "recent"]
