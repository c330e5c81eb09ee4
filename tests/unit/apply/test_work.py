"""Shards that go on after a kill, and folders that are whole or not there."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from splade_sts.apply import work
from splade_sts.apply.output import beside
from splade_sts.apply.rows import Source
from splade_sts.apply.work import Settings, run
from splade_sts.errors import UserError
from tests.support.jobs import Lengths


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "t.csv"
    path.write_text("text,other\n" + "".join(f"{'x' * n},\n" for n in range(1, 11)))
    return Source((path,), ("text",))


def stop(at: int) -> Callable[[int], object]:
    def fail(call: int) -> None:
        if call == at:
            raise KeyboardInterrupt

    return fail


def test_goes_on_after_every_interruption(source, tmp_path):
    """Nothing has the final name before all is there; what is whole is not made again; the bytes
    are those of a run that nothing disturbed.
    """
    calm, wild = (Settings(tmp_path / name, 3, 1) for name in ("calm", "wild"))
    run(Lengths(), source, calm)
    for done in range(4):
        job = Lengths(fail=stop(1))
        with pytest.raises(KeyboardInterrupt) if done < 3 else pytest.MonkeyPatch.context():
            run(job, source, wild)
        assert (tmp_path / "wild").exists() == (done == 3)
        assert job.calls == 1
    assert contents(tmp_path / "calm") == contents(tmp_path / "wild")
    assert not beside(wild.output).exists()
    job = Lengths()
    assert run(job, source, wild)["letters"] == 55
    assert job.calls == 0, "it was whole"


def die_at(moment: int, when: str) -> Callable[[Path, Path], Path]:
    """`Path.replace` that kills this process before or after its call number `moment`."""
    real, calls = Path.replace, iter(range(100))

    def replace_or_die(self: Path, target: Path) -> Path:
        call = next(calls)
        if call == moment and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = real(self, target)
        if call == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    return replace_or_die


@pytest.mark.parametrize("when", ["before", "after"])
def test_every_moment_of_a_kill(source, tmp_path, when):
    """Killed at any of its changes to the disk: the next run makes the same bytes."""
    run(Lengths(), source, Settings(tmp_path / "calm", 3, 1))
    expected = contents(tmp_path / "calm")
    for moment in range(100):
        settings = Settings(tmp_path / f"wild-{moment}", 3, 1)
        pid = os.fork()
        if pid == 0:
            Path.replace = die_at(moment, when)  # type: ignore[method-assign, assignment]
            try:
                run(Lengths(), source, settings)
            finally:
                os._exit(0)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            break
        run(Lengths(), source, settings)
        assert contents(settings.output) == expected
        assert not beside(settings.output).exists()
    # the identity, four shards, a file, the manifest, the folder
    assert moment == 8


def test_half_a_line_of_the_journal(source, tmp_path):
    settings = Settings(tmp_path / "out", 3, 1)
    with pytest.raises(KeyboardInterrupt):
        run(Lengths(fail=stop(2)), source, settings)
    journal = beside(settings.output) / ".run/shards.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"part-000001.txt is not what this run wrote"):
        run(Lengths(), source, settings)
    (beside(settings.output) / "lengths/part-000001.txt").unlink()
    assert run(Lengths(), source, settings)["letters"] == 55


@pytest.mark.parametrize("change", ["model", "file", "options"])
@pytest.mark.parametrize("is_whole", [True, False])
def test_shards_of_another_run(source, tmp_path, change, is_whole):
    """Named, with what differs; nothing of it is touched."""
    settings = Settings(tmp_path / "out", 3, 1)
    if is_whole:
        run(Lengths(), source, settings)
    else:
        with pytest.raises(KeyboardInterrupt):
            run(Lengths(fail=stop(2)), source, settings)
    before = contents(tmp_path)
    job, message = Lengths(), "shard_rows was 3, now 4"
    if change == "model":
        job, message = Lengths("b"), 'name was "a", now "b"'
    elif change == "file":
        other = tmp_path / "u.csv"
        other.write_text("text\na\n")
        before["u.csv"] = b"text\na\n"
        source, message = replace(source, files=(other,)), 'files 1 name was "t.csv", now "u.csv"'
    else:
        settings = replace(settings, shard_rows=4)
    with pytest.raises(UserError, match=message) as refused:
        run(job, source, settings)
    assert is_whole or "part-000000.txt, part-000001.txt of another run" in str(refused.value)
    assert contents(tmp_path) == before


def test_a_shard_that_was_changed(source, tmp_path):
    settings = Settings(tmp_path / "out", 3, 1)
    with pytest.raises(KeyboardInterrupt):
        run(Lengths(fail=stop(2)), source, settings)
    (beside(settings.output) / "lengths/part-000000.txt").write_text("other")
    with pytest.raises(UserError, match=r"part-000000.txt is not what this run wrote"):
        run(Lengths(), source, settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda out: out.write_text(""), "out is a file"),
        (lambda out: (out / "x").mkdir(parents=True), r"holds something else \(x\)"),
        (
            lambda out: (out.mkdir(), (out / "manifest.json").write_text('{"a": 1}')),
            r"holds something else \(manifest.json\)",
        ),
        (lambda out: (beside(out) / "x").mkdir(parents=True), r"unfinished holds something else"),
        (lambda out: beside(out).write_text(""), "a file stands in its way"),
        (lambda out: out.symlink_to("nowhere"), "out is a link; name the folder that it leads to"),
    ],
    ids=["file", "folder", "manifest", "unfinished", "file beside", "link"],
)
def test_an_output_that_holds_something_else(source, tmp_path, make, message):
    make(tmp_path / "out")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=message):
        run(Lengths(), source, Settings(tmp_path / "out", 3, 1))
    assert {name for name in contents(tmp_path) if ".run" not in name} == set(before)


def test_an_empty_folder_and_rows_left_out(source, tmp_path):
    """An empty folder is taken; bad rows are listed in it."""
    (tmp_path / "out").mkdir()
    source.files[0].write_text("text\na\n ,x\n\nb\n")
    settings = Settings(tmp_path / "out", 3, 1, skip_bad=True)
    manifest = run(Lengths(), source, settings)
    assert (manifest["rows"], manifest["left_out"]) == (2, 1)
    assert (tmp_path / "out/lengths/part-000000.txt").read_text() == "0 1\n2 1\n"
    (told,) = map(json.loads, (tmp_path / "out/left_out.jsonl").read_text().splitlines())
    assert (told["file"], told["place"]) == (str(source.files[0]), "line 3")
    assert told["why"] == "column text: found ' '; expected a text that is not empty"


def test_a_file_that_changes_meanwhile(source, tmp_path):
    """As many rows, but others."""

    def change(call: int) -> None:
        source.files[0].write_text(source.files[0].read_text().replace("xx", "yy"))

    with pytest.raises(UserError, match=r"t\.csv: a file changed while it was read"):
        run(Lengths(fail=change), source, Settings(tmp_path / "out", 4, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    run(
        Lengths(fail=lambda call: source.files[0].touch()), source, Settings(tmp_path / "out", 4, 1)
    )


def test_a_bad_row_leaves_nothing(source, tmp_path):
    source.files[0].write_text("text\na\n \n")
    with pytest.raises(UserError, match="line 3"):
        run(Lengths(), source, Settings(tmp_path / "out", 1, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_one_process_at_a_time(source, tmp_path):
    """The second one is refused while the first works."""
    settings = Settings(tmp_path / "out", 3, 1)

    def again(call: int) -> None:
        with pytest.raises(UserError, match="another process works on it"):
            run(Lengths(), source, settings)

    assert run(Lengths(fail=again), source, settings)["letters"] == 55


class TestSeveralProcesses:
    """Without the large libraries, which `Lengths` does not need."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(work, "PRELOADED", ())

    def test_the_bytes_of_one(self, source, tmp_path):
        for processes in (1, 2):
            run(Lengths(), source, Settings(tmp_path / str(processes), 2, processes))
        assert contents(tmp_path / "1") == contents(tmp_path / "2")

    def test_what_goes_wrong_in_one(self, source, tmp_path):
        """The message arrives; and so does it where one is killed; what was whole is kept."""
        settings = Settings(tmp_path / "out", 2, 2)
        rows = [f"{'x' * n},\n" for n in range(1, 11)]
        for word, message in (
            ("refused", "row 9 is refused"),
            ("killed", "a process was ended from outside.*what is done is kept"),
        ):
            source.files[0].write_text("".join(["text,other\n", *rows[:-1], f"{word},\n"]))
            with pytest.raises(UserError, match=message):
                run(Lengths(word), source, replace(settings, output=tmp_path / word))
            whole = list((beside(tmp_path / word) / "lengths").iterdir())
            assert len(whole) <= 4
            assert all(path.read_text() != "half" for path in whole)
            assert not (tmp_path / word).exists()
