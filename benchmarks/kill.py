"""Kill the pipeline at random moments, run it to its end, compare with an undisturbed run.

    python -m benchmarks.kill [--kills 100] [--seed 0] [--processes 1] [--stage NAME]
                              [--json FILE]

Works on a tiny project, with a training of 80 steps and a checkpoint every 7; what is compared are
bytes. A kill comes at a random moment between the start of a stage and a little after its usual
end, and takes the stage, `dvc`, or both; `dvc repro` follows at once, also beside a stage that
outlived its `dvc`. With several `--processes` that train together, it takes one of them, or
torchrun above them. `--stage` kills in that stage alone. After as many kills as the pipeline takes
to finish, the next round begins from nothing.
"""

import argparse
import collections
import contextlib
import itertools
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common import machine, write
from benchmarks.tiny import environment, make_encoder, make_project, output_of
from splade_sts import layout

SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
VICTIMS = ["stage", "stage", "stage", "dvc", "both"]
TRAIN = {
    "batch_size": 4,
    "epochs": 10.0,
    "eval_steps": 10,
    "logging_steps": 3,
    "checkpoint_steps": 7,
}
BEYOND = 1.15  # how far beyond the usual end of a stage a kill may come
PATIENCE = 600.0
# What DVC writes in place, so that killing it can leave a file or a folder empty, by its message
# then. The way out is that of docs/reliability.md; without dvc.lock, DVC takes finished stages from
# its run cache.
TORN = {
    "join() argument must be str, bytes, or os.PathLike object": ".dvc/cache/runs",
    "Unable to read RWLock-file": ".dvc/tmp/rwlock",
    "'./dvc.lock' validation failed": "dvc.lock",
    "dvc.lock' is invalid": "dvc.lock",
}


@dataclass(frozen=True)
class Kill:
    """A signal: what ran, for how many seconds, which signal, and who got it."""

    stage: str
    after: float
    signal: str
    victim: str


@dataclass
class Campaign:
    """What a campaign of kills met.

    Attributes:
        seconds: of each stage of the undisturbed run.
        kills: all of them.
        rounds: how often the pipeline came to its end.
        seen: how often a run resumed, waited for an orphan, and needed which file removed.
        stage: the stage that is killed; None for any.
    """

    seconds: dict[str, float]
    kills: list[Kill] = field(default_factory=list)
    rounds: int = 0
    seen: collections.Counter[str] = field(default_factory=collections.Counter)
    stage: str | None = None


class Pipeline:
    """A running `dvc repro`; `stage` is the name of the stage it runs, `began` when that began."""

    def __init__(self, project: Path):
        self.output: list[str] = []
        self.stage, self.began = "", time.monotonic()
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=project,
            env={**environment(), "PYTHONUNBUFFERED": "1"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output.append(line)
            if line.startswith("Running stage"):
                with self.changed:
                    self.stage, self.began = line.split("'")[1], time.monotonic()
                    self.changed.notify_all()

    def wait_for_stage(self, other_than: str) -> bool:
        """Wait until another stage runs; False where `dvc` ends before."""
        with self.changed:
            while self.stage == other_than and self.process.poll() is None:
                self.changed.wait(0.1)
        return self.stage != other_than

    def processes(self) -> dict[str, list[psutil.Process]]:
        """The processes that can be killed now: `dvc`, and those of `stage` where one runs."""
        found: dict[str, list[psutil.Process]] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            dvc_process = psutil.Process(self.process.pid)
            found["dvc"] = [dvc_process]
            for child in dvc_process.children(recursive=True):
                if any(part.startswith("stages.") for part in child.cmdline()):
                    found.setdefault("stage", []).append(child)
        return found

    def kill(self, victim: str, number: signal.Signals, generator: random.Random) -> str:
        """Send the signal; return who got it (there may be no stage at this moment)."""
        found = self.processes()
        wanted = [name for name in ("stage", "dvc") if victim in (name, "both") and name in found]
        victims = wanted or list(found)[:1]
        for name in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                generator.choice(found[name]).send_signal(number)
        return "+".join(victims)


def state(project: Path) -> dict[str, bytes]:
    """Everything that must be the same: dvc.lock (hashes of all outputs) and the metrics."""
    paths = [project / layout.LOCK, *(project / "metrics").iterdir()]
    return {path.name: path.read_bytes() for path in paths}


def undisturbed(project: Path) -> dict[str, float]:
    """Run the pipeline once; return the seconds of each stage."""
    pipeline = Pipeline(project)
    began: dict[str, float] = {}
    while pipeline.wait_for_stage(other_than=next(reversed(began), "")):
        began[pipeline.stage] = pipeline.began
    if pipeline.process.wait():
        raise SystemExit("the undisturbed run failed:\n" + "".join(pipeline.output[-30:]))
    starts = [*began.values(), time.monotonic()]
    lengths = [end - start for start, end in itertools.pairwise(starts)]
    return dict(zip(began, lengths, strict=True))


def disturbed(
    project: Path, campaign: Campaign, generator: random.Random, budget: int
) -> list[Kill]:
    """Run the pipeline to its end with at most `budget` kills, which are returned.

    Raises:
        RuntimeError: a run that was not killed failed, or took longer than PATIENCE.
    """
    kills: list[Kill] = []
    while True:
        pipeline = Pipeline(project)
        mine = kill_some(pipeline, campaign, generator, budget - len(kills))
        try:
            pipeline.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            end = "".join(pipeline.output[-30:])
            raise RuntimeError(f"no end in sight:\n{end}") from None
        output = "".join(pipeline.output)
        campaign.seen["resumed from a checkpoint"] += "resuming from" in output
        campaign.seen["waited for an orphan"] += "waiting for it" in output
        for kill in mine:
            kills.append(kill)
            who = f"{kill.signal:7} to {kill.victim:9} in {kill.stage:18}"
            print(f"{len(kills):3} {who} after {kill.after:4.1f} s", flush=True)
        if pipeline.process.returncode == 0:
            return kills
        if mine:
            continue
        if torn := [file for message, file in TORN.items() if message in output]:
            mend(project / torn[0])
            campaign.seen[f"needed {torn[0]} mended"] += 1
        else:
            last = kills[-1] if kills else "no kill"
            raise RuntimeError(f"after {last}, a run that was not killed failed:\n{output[-3000:]}")


def mend(torn: Path) -> None:
    """Remove a file that a killed DVC left, or the empty folders in a folder."""
    if not torn.is_dir():
        torn.unlink()
        return
    for path in sorted(torn.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def kill_some(
    pipeline: Pipeline, campaign: Campaign, generator: random.Random, budget: int
) -> list[Kill]:
    """Kill until the pipeline ends.

    That can take several: `dvc` ignores Ctrl-C while a stage runs. A stage that ends before its
    moment is let through.
    """
    kills: list[Kill] = []
    stage = ""
    while len(kills) < budget and pipeline.wait_for_stage(other_than=stage):
        stage = pipeline.stage
        if campaign.stage not in (None, stage):
            continue
        moment = pipeline.began + generator.uniform(0, BEYOND * campaign.seconds[stage])
        with pipeline.changed:
            while pipeline.stage == stage and (left := moment - time.monotonic()) > 0:
                if pipeline.process.poll() is not None:
                    break
                pipeline.changed.wait(min(left, 0.05))
        if time.monotonic() >= moment and pipeline.process.poll() is None:
            victim, number = generator.choice(VICTIMS), generator.choice(SIGNALS)
            stage, after = pipeline.stage, time.monotonic() - pipeline.began
            kills.append(Kill(stage, after, number.name, pipeline.kill(victim, number, generator)))
    return kills


def check(project: Path, expected: dict[str, bytes], untracked: str) -> None:
    """Compare what is there with the undisturbed run.

    Raises:
        RuntimeError: names what differs.
    """
    found = state(project)
    names = expected.keys() | found.keys()
    if different := [name for name in names if expected.get(name) != found.get(name)]:
        raise RuntimeError(f"not what the undisturbed run gave: {different}")
    status = output_of([sys.executable, "-m", "dvc", "status"], project)
    if "up to date" not in status:
        raise RuntimeError(f"dvc status: {status}")
    if (status := output_of(["git", "status", "--short"], project)) != untracked:
        raise RuntimeError(f"files left over:\n{status}")
    left = [*(project / layout.CHECKPOINTS).glob("*"), *project.glob("*/.*.tmp")]
    if left or list(project.glob(".*.tmp")):
        raise RuntimeError("checkpoints or half-written files are left over")


def kill_and_compare(
    folder: Path, kills: int, seed: int, processes: int, stage: str | None
) -> Campaign:
    """Rounds of killed pipelines in `folder` until there were `kills` of them."""
    launcher = f"torchrun --standalone --nproc-per-node {processes}" if processes > 1 else "python"
    generator = random.Random(seed)
    start, calm, wild = folder / "start", folder / "calm", folder / "wild"
    make_project(start, make_encoder(folder / "encoder"), {**TRAIN, "launcher": launcher})
    shutil.copytree(start, calm)
    campaign = Campaign(undisturbed(calm), stage=stage)
    expected, untracked = state(calm), output_of(["git", "status", "--short"], calm)
    times = ", ".join(f"{name} {value:.1f} s" for name, value in campaign.seconds.items())
    print(f"undisturbed: {times}", flush=True)
    while len(campaign.kills) < kills:
        shutil.copytree(start, wild)
        done = disturbed(wild, campaign, generator, kills - len(campaign.kills))
        check(wild, expected, untracked)
        campaign.kills += done
        campaign.rounds += 1
        print(f"round {campaign.rounds}: {len(done)} kills, the bytes are the same", flush=True)
        shutil.rmtree(wild)
    return campaign


def table(kills: list[Kill]) -> str:
    """Kills by stage and signal, as a Markdown table."""
    names = sorted({kill.signal for kill in kills})
    counts = collections.Counter((kill.stage, kill.signal) for kill in kills)
    stages = list(dict.fromkeys(kill.stage for kill in kills))
    rows: list[list[Any]] = [[stage, *(counts[stage, name] for name in names)] for stage in stages]
    rows.append(["all", *(sum(counts[stage, name] for stage in stages) for name in names)])
    lines = [f"| stage | {' | '.join(names)} | all |", "|---|" + "---:|" * (len(names) + 1)]
    for row in rows:
        lines.append(f"| {' | '.join(map(str, [*row, sum(row[1:])]))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="kills over all rounds (100)")
    parser.add_argument("--seed", type=int, default=0, help="of moments, signals and victims (0)")
    parser.add_argument("--processes", type=int, default=1, help="that train together (1)")
    parser.add_argument("--stage", help="kill in this stage alone")
    parser.add_argument("--json", type=Path, help="write the kills to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-") as folder:
        result = kill_and_compare(
            Path(folder), arguments.kills, arguments.seed, arguments.processes, arguments.stage
        )
    print(table(result.kills))
    victims = collections.Counter(kill.victim for kill in result.kills)
    print("victims: " + ", ".join(f"{name} {count}" for name, count in victims.items()))
    print("runs that " + ", ".join(f"{name}: {count}" for name, count in result.seen.items()))
    print(f"{result.rounds} rounds ended with the bytes of the undisturbed run")
    if arguments.json:
        figures = {
            "seconds": result.seconds,
            "kills": [asdict(kill) for kill in result.kills],
            "rounds": result.rounds,
            "seen": dict(result.seen),
        }
        write(
            arguments.json,
            {
                "seed": arguments.seed,
                "processes": arguments.processes,
                "machine": machine(),
                **figures,
            },
        )


if __name__ == "__main__":
    main()
