"""A million sentences through `python -m splade_sts encode`: its memory, and what a kill changes.

The tiny encoder of `benchmarks.tiny` and random sentences in its vocabulary. Memory is that of the
command with all its processes: the sum of their proportional set sizes (PSS), sampled once a
second.

    python -m benchmarks.encode --json docs/results/apply/encode.json
"""

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common import ROOT, machine, write
from benchmarks.tiny import WORDS, environment, make_splade

PAUSE = 1.0


@dataclass(frozen=True)
class Run:
    """One run of the command, to its end or to a kill."""

    seconds: float
    peak_mib: float
    processes: int


def write_sentences(path: Path, rows: int) -> None:
    """Write a CSV file of random sentences of 3 to 20 words."""
    dice = random.Random(rows)
    with path.open("w", encoding="utf-8") as file:
        file.write("text\n")
        for _ in range(rows):
            file.write(" ".join(dice.choices(WORDS, k=dice.randint(3, 20))) + "\n")


def memory_mib(process: psutil.Process) -> tuple[float, int]:
    """Memory of a process and of all below it, and how many they are."""
    found, count = 0.0, 0
    try:
        for one in [process, *process.children(recursive=True)]:
            found += one.memory_full_info().pss / 2**20
            count += 1
    except psutil.Error:  # one has ended meanwhile
        return 0.0, 0
    return found, count


def run(command: list[str], kill_after: float | None = None) -> Run:
    """Run a command; kill it, alone, after so many seconds.

    Raises:
        RuntimeError: it fails, or a process that it started lives on.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = psutil.Popen(
            command, cwd=ROOT, env=environment(), stdout=said, stderr=subprocess.STDOUT
        )
        peak, most, children = 0.0, 0, set[psutil.Process]()
        while process.poll() is None:
            memory, count = memory_mib(process)
            peak, most = max(peak, memory), max(most, count)
            if kill_after is not None and time.monotonic() - started > kill_after:
                children = set(process.children(recursive=True))
                process.send_signal(signal.SIGKILL)
                process.wait()
            time.sleep(PAUSE)
        said.seek(0)
        text = said.read().decode()
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{' '.join(command)}:\n{text[-3000:]}")
    _, alive = psutil.wait_procs(children, timeout=60)
    if alive:
        raise RuntimeError(f"processes outlived the command by a minute: {alive}")
    return Run(time.monotonic() - started, peak, most)


def digest(folder: Path) -> str:
    """SHA-256 of the names and the bytes of all files."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(folder)}\n".encode())
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def measure(folder: Path, rows: int, kills: int, processes: int, shard_rows: int) -> dict[str, Any]:
    """Encode `rows` sentences undisturbed, and again with kills at random moments.

    Raises:
        RuntimeError: the bytes differ.
    """
    table = folder / f"{rows}.csv"
    write_sentences(table, rows)

    def command(output: str) -> list[str]:
        options = ["--processes", str(processes), "--shard-rows", str(shard_rows)]
        model = ["--model", str(folder / "splade")]
        start = [sys.executable, "-m", "splade_sts", "encode", str(table)]
        return [*start, "--output", str(folder / output), *model, *options]

    calm = run(command("calm"))
    print(f"{rows:,} rows: {calm.seconds:.1f} s, {calm.peak_mib:.0f} MiB", flush=True)
    found: dict[str, Any] = {
        "rows": rows,
        **asdict(calm),
        "rows_per_second": rows / calm.seconds,
        "input_mib": table.stat().st_size / 2**20,
        "output_mib": size_mib(folder / "calm"),
    }
    if kills:
        dice = random.Random(rows)
        moments = [dice.uniform(0.3, 0.9) * calm.seconds / (kills + 1) for _ in range(kills)]
        killed = []
        for moment in moments:
            run(command("wild"), kill_after=moment)
            whole = len(list((folder / "wild.unfinished").glob("vectors/*")))
            killed.append({"after_seconds": moment, "shards_whole": whole})
            print(f"killed after {moment:.1f} s with {whole} shards whole", flush=True)
        end = run(command("wild"))
        found |= {"kills": killed, "last_seconds": end.seconds, "peak_after_mib": end.peak_mib}
        if digest(folder / "calm") != digest(folder / "wild"):
            raise RuntimeError("the bytes are not those of the undisturbed run")
        print("the bytes are those of the undisturbed run", flush=True)
        found["digest"] = digest(folder / "wild")
        shutil.rmtree(folder / "wild")
    shutil.rmtree(folder / "calm")
    table.unlink()
    return found


def size_mib(folder: Path) -> float:
    """Of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--kills", type=int, default=2, help="of the largest size (2)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shard-rows", type=int, default=10_000)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="encode-") as name:
        folder = Path(name)
        make_splade(folder)
        for size in sorted(arguments.rows):
            kills = arguments.kills if size == max(arguments.rows) else 0
            rows.append(measure(folder, size, kills, arguments.processes, arguments.shard_rows))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        settings = {"processes": arguments.processes, "shard_rows": arguments.shard_rows}
        write(arguments.json, {"machine": machine(), **settings, "rows": rows})


if __name__ == "__main__":
    main()
