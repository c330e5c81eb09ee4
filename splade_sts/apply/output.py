"""A folder of shards that is made piece by piece, goes on after a kill, and is whole or not there.

It is made under another name, `DIR.unfinished`, and gets its own name at the end, in one step.
Beside the shards lies what tells how far a run has come:

    DIR.unfinished/
        vectors/part-00000.parquet, …
        .run/identity.json      what decides the bytes of the shards
        .run/shards.jsonl       a line for each shard that is whole, with its SHA-256
        .run/part-00007.…       a shard that is being written

A shard is noted before it gets its name. So one that has its name and is not noted, or has other
bytes than were noted, is not of this run.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from splade_sts.errors import UserError, shown
from splade_sts.files import check_no_link, read_json, sha256, write_json
from splade_sts.locks import locked

MANIFEST, LEFT_OUT = "manifest.json", "left_out.jsonl"
STATE, IDENTITY, JOURNAL, LOCK = ".run", "identity.json", "shards.jsonl", "lock"
SHOWN = 5


@dataclass(frozen=True)
class Shard:
    """A part of the output that is whole.

    Attributes:
        file: its name.
        rows: how many rows it holds.
        first: `Row.number` of the first one.
        sha256: of its bytes.
        counts: what was counted in it.
    """

    file: str
    rows: int
    first: int
    sha256: str
    counts: dict[str, int] = field(default_factory=dict)


class Unfinished:
    """The folder of a run that is not done. Made by `unfinished`, which holds its lock.

    Args:
        target: what the folder is called once it is whole.
        shards: name of the folder of the shards in it.
        identity: what decides their bytes, as JSON.

    Raises:
        UserError: there are shards of another run, or files that are none of ours.
    """

    def __init__(self, target: Path, shards: str, identity: Mapping[str, Any]) -> None:
        self._target, self._folder = target, beside(target)
        self._state, self._shards = self._folder / STATE, self._folder / shards
        self._identity = dict(identity)
        self.done: dict[str, Shard] = {}
        noted = self._state / IDENTITY
        if noted.is_file():
            found = read_json(noted)
            if found != self._identity:
                raise UserError(
                    f"{shown(self._folder)} holds {self._named()} of another run: "
                    f"{differences(found, self._identity)}. Give the same files, model and options "
                    "to go on with that run, another --output, or remove the folder"
                )
            self._read_journal()
        elif strange := [name for name in _names(self._folder) if name != STATE]:
            raise UserError(
                f"{shown(self._folder)} holds something else ({_some(strange)}); remove it, or "
                "give another --output"
            )
        else:
            write_json(noted, self._identity)
        self._shards.mkdir(exist_ok=True)
        self._refuse_strangers()
        for path in self._state.iterdir():  # of a process that was killed
            if path.name not in (IDENTITY, JOURNAL, LOCK):
                path.unlink()

    def _named(self) -> str:
        """The shards that are there, for a message."""
        names = _names(self._shards) if self._shards.is_dir() else []
        return f"the shards {_some(names)}" if names else "the beginning"

    def _read_journal(self) -> None:
        path = self._state / JOURNAL
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]  # a kill may leave half a line
        if whole != content:
            os.truncate(path, len(whole))
        for line in whole.splitlines():
            shard = Shard(**json.loads(line))
            self.done[shard.file] = shard

    def _refuse_strangers(self) -> None:
        """Refuse shards that this run did not write; forget those that did not get their name."""
        there = _names(self._shards)
        for name in there:
            shard = self.done.get(name)
            if shard is None or sha256(self._shards / name) != shard.sha256:
                raise UserError(
                    f"{shown(self._shards / name)} is not what this run wrote: another run's, or "
                    "changed. Remove it, and run again"
                )
        self.done = {name: shard for name, shard in self.done.items() if name in there}

    def temporary(self, file: str) -> Path:
        """Where the shard `file` is to be written, by one process at a time."""
        return self._state / f"{file}.{os.getpid()}"

    def add(self, shard: Shard, written: Path) -> None:
        """Take over a shard that is whole."""
        with (self._state / JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(asdict(shard)) + "\n")
        written.replace(self._shards / shard.file)
        self.done[shard.file] = shard

    def discard(self) -> None:
        """Let nothing of the folder be left, once it is given up."""
        self.done.clear()

    def left_out(self) -> Path:
        """Where the list of rows that are left out is to be written."""
        return self._state / LEFT_OUT

    def finish(self, found: Mapping[str, Any], files: Mapping[str, Any]) -> Path:
        """Give the folder its name.

        Args:
            found: what the manifest says beside the identity and the shards.
            files: further files by name, as JSON.

        Returns:
            the folder.
        """
        shards = [asdict(self.done[name]) for name in sorted(self.done)]
        for name, content in files.items():
            write_json(self._folder / name, content)
        if self.left_out().exists():
            self.left_out().replace(self._folder / LEFT_OUT)
        manifest = {"identity": self._identity, **found, "shards": shards}
        write_json(self._folder / MANIFEST, manifest)
        self._folder.replace(self._target)  # over an empty folder, too
        return self._target


@contextmanager
def unfinished(target: Path, shards: str, identity: Mapping[str, Any]) -> Iterator[Unfinished]:
    """`Unfinished`, for this process alone.

    Raises:
        UserError: as `Unfinished`; another process works on it.
    """
    check_no_link(target)
    folder = beside(target)
    try:
        (folder / STATE).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--output: {shown(target)}: a file stands in its way") from None
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / STATE / LOCK, busy=None))
        except BlockingIOError:
            raise UserError(
                f"{shown(folder)}: another process works on it; wait for it, or give another "
                "--output"
            ) from None
        found = Unfinished(target, shards, identity)
        try:
            yield found
        except BaseException:
            if not found.done:  # nothing to go on from
                shutil.rmtree(folder)
            raise
    shutil.rmtree(target / STATE, ignore_errors=True)


def beside(target: Path) -> Path:
    """Where the folder `target` is made."""
    return target.with_name(f"{target.name}.unfinished")


def finished(target: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The manifest of `target` where this run has been there; None where there is nothing yet.

    Raises:
        UserError: it holds something else, or the output of another run.
    """
    if not target.exists():
        return None
    if not target.is_dir():
        raise UserError(f"--output: {shown(target)} is a file; expected a folder, or nothing")
    names = _names(target)
    if not names:
        return None
    other = f"--output: {shown(target)} holds something else ({_some(names)})"
    if MANIFEST not in names:
        raise UserError(f"{other}; name a folder that is empty or not there")
    try:
        manifest = read_json(target / MANIFEST)
        found = manifest["identity"]
        differing = differences(found, identity) if found != identity else ""
    except (ValueError, KeyError, TypeError, AttributeError):  # another program's
        raise UserError(f"{other}; name a folder that is empty or not there") from None
    if differing:
        raise UserError(
            f"--output: {shown(target)} holds the output of another run: {differing}. Name another "
            "folder"
        )
    shutil.rmtree(target / STATE, ignore_errors=True)  # a kill just before the end
    return manifest


def differences(found: Any, wanted: Any) -> str:
    """What differs between two identities: the names with both values."""
    first, second = _flat(found), _flat(wanted)
    names = [name for name in sorted(first | second) if first.get(name) != second.get(name)]
    told = [
        f"{name} was {_short(first.get(name))}, now {_short(second.get(name))}"
        for name in names[:SHOWN]
    ]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "; ".join(told) + more


def _flat(content: Any, name: str = "") -> dict[str, Any]:
    if isinstance(content, dict):
        parts = content.items()
    elif isinstance(content, list):
        parts = enumerate(content, start=1)  # type: ignore[assignment]
    else:
        return {name: content}
    found: dict[str, Any] = {}
    for key, value in parts:
        found |= _flat(value, f"{name} {key}".strip())
    return found


def _short(value: Any) -> str:
    text = shown(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 24 else f"{text[:12]}…"


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(shown, names[:SHOWN])) + more
