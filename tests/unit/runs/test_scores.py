"""What the models of several runs say of the same pairs."""

from pathlib import Path

import numpy as np
import pytest

from splade_sts import layout
from splade_sts.controls.scores import ControlScores
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Predictions
from splade_sts.runs.scores import (
    NotInCacheError,
    SplitScores,
    TooFewError,
    left_of,
    read_scores,
    read_train,
)
from splade_sts.runs.source import RunFiles

GOLD = np.linspace(0, 1, 12)


def write(folder: Path, shift: float, split: str = "test", first: str = "a") -> RunFiles:
    """The predictions of a run; those of the base model and the dense encoder are the same."""
    pairs, dims = Pairs([first] * 12, ["b"] * 12, GOLD), np.ones(12, dtype=np.int64)
    values = {
        layout.prediction("base", split): GOLD,
        layout.prediction("finetuned", split): GOLD + shift,
    }
    for path, cosine in values.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Predictions(pairs, cosine, dims, dims, [[]] * 12).write(folder / path)
    (folder / layout.control(split)).parent.mkdir(parents=True, exist_ok=True)
    ControlScores(pairs, {"bm25": GOLD, "dense": GOLD * 2}).write(folder / layout.control(split))
    return RunFiles.workspace(folder)


def test_scores_of_runs(tmp_path: Path) -> None:
    """In the order of the runs, for any set; no dense encoder where the runs have none."""
    runs = {name: write(tmp_path / name, shift) for name, shift in (("b", 2.0), ("a", 1.0))}
    found = read_scores(runs, "test")
    assert found.finetuned.tolist() == [(GOLD + 2).tolist(), (GOLD + 1).tolist()]
    assert found.base.tolist() == GOLD.tolist()
    assert found.dense is not None
    assert found.dense.tolist() == (GOLD * 2).tolist()
    for name in runs:
        write(tmp_path / name, 3.0, "sick")
    ControlScores(found.pairs, {"bm25": GOLD}).write(tmp_path / "b" / layout.control("sick"))
    sick = read_scores(runs, "sick")
    assert sick.dense is None
    assert sick.finetuned.tolist() == [(GOLD + 3).tolist()] * 2


def test_a_set_that_is_none(tmp_path: Path) -> None:
    """It says which there are, and of which run."""
    runs = {"a": write(tmp_path / "a", 1.0), "b": write(tmp_path / "b", 1.0)}
    write(tmp_path / "a", 1.0, "sick")
    with pytest.raises(UserError, match=r"^b was not evaluated on sick; it was on: test$"):
        read_scores(runs, "sick")


def test_what_the_cache_lacks(tmp_path: Path) -> None:
    """The runs that lack their predictions are named together; the controls are needed, too."""
    runs = {name: write(tmp_path / name, 1.0) for name in ("a", "b", "c")}
    (tmp_path / "a" / layout.control("test")).unlink()
    with pytest.raises(NotInCacheError, match=r"predictions/controls/test.parquet of a \(dvc pull"):
        read_scores(runs, "test")
    for name in ("b", "c"):
        path = tmp_path / name / layout.prediction("finetuned", "test")
        path.unlink()
        path.parent.rmdir()
    with pytest.raises(NotInCacheError, match=r"predictions/finetuned/test.parquet of b, c \(dvc"):
        read_scores(runs, "test")


def test_other_pairs(tmp_path: Path) -> None:
    """Under the same name they are refused."""
    runs = {"a": write(tmp_path / "a", 1.0), "b": write(tmp_path / "b", 1.0, first="x")}
    with pytest.raises(UserError, match=r"a and b were evaluated on other pairs \(test\)"):
        read_scores(runs, "test")


def own_pairs(count: int, name: str = "s") -> Pairs:
    """Pairs of which no two share a sentence."""
    sides = ([f"{name} {side} {number}" for number in range(count)] for side in ("one", "two"))
    return Pairs(*sides, np.linspace(0, 1, count))


def test_what_train_holds(tmp_path: Path) -> None:
    """Pairs in either order, or pairs with a sentence; of two settings what either train holds."""
    pairs = own_pairs(130)
    first, second = pairs.sentence1, pairs.sentence2
    train = Pairs([second[0], first[1], "x"], [first[0].upper(), second[1], first[2]], np.ones(3))
    (tmp_path / layout.normalized("train")).parent.mkdir(parents=True)
    train.write(tmp_path / layout.normalized("train"))
    read = read_train({"a": RunFiles.workspace(tmp_path), "b": RunFiles.workspace(tmp_path / "b")})
    assert read.same_as(train)
    for without, count in (("pairs", 2), ("sentences", 3)):
        left = left_of("test", pairs, [read], without)
        assert np.flatnonzero(~left).tolist() == [*range(count)]
    other = pairs.select(np.arange(130) >= 125)
    left = left_of("test", pairs, [read, other], "pairs")
    assert np.flatnonzero(~left).tolist() == [0, 1, *range(125, 130)]
    scores = SplitScores(pairs, np.stack([pairs.score, pairs.score + 1]), pairs.score, None)
    chosen = scores.select(left)
    assert (len(chosen.pairs), chosen.left_out, scores.left_out) == (123, 7, None)
    assert chosen.finetuned.tolist() == scores.finetuned[:, left].tolist()
    assert chosen.base.tolist() == pairs.score[left].tolist()


def test_too_little_is_left() -> None:
    """It says how much; a small set of which all is left is none of that."""
    pairs, small = own_pairs(110), own_pairs(20, "small")
    train = pairs.select(np.arange(110) < 20)
    with pytest.raises(
        TooFewError, match=r"^sick: of 110 pairs 90 are left without pairs of train"
    ):
        left_of("sick", pairs, [train], "pairs")
    assert left_of("small", small, [train], "sentences").all()


def test_it_is_not_known_what_train_holds(tmp_path: Path) -> None:
    """The run is named, and how to get it."""
    runs = {"a": RunFiles.workspace(tmp_path)}
    message = r"^what train of a holds is not known: .*data/normalized/train.parquet \(dvc pull\)"
    with pytest.raises(NotInCacheError, match=message):
        read_train(runs)
