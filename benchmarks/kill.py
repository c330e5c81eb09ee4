"""Kill the pipeline at random moments, run it again until it is done, and compare with an undisturbed run, byte by byte.

    python -m benchmarks.kill [--kills 100] [--seed 0] [--json FILE]

Works on the tests' tiny project (requirements-dev.txt), with a training of 80 steps and a checkpoint every 7. A kill
comes at a random moment between the start of a stage and a little after its usual end, and takes the stage, `dvc`, or
both; `dvc repro` follows at once, also beside a stage that outlived its `dvc`. After as many kills as the pipeline
takes to finish, the next round begins from nothing.
"""

import argparse
import collections
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from tests.conftest import dvc, make_bert, make_pairs, make_project, run, user_environment

SIGNALS = [signal.SIGKILL] * 2 + [signal.SIGTERM, signal.SIGINT]
VICTIMS = ["stage"] * 3 + ["dvc", "both"]
PARAMS = {
    "train__batch_size": 4, "train__epochs": 10.0, "train__eval_steps": 10, "train__logging_steps": 3,
    "train__checkpoint_steps": 7,
}
BEYOND = 1.15  # how far beyond the usual end of a stage a kill may come
PATIENCE = 600.0
# Files that DVC writes in place, so that killing it can leave them empty, by its message then. The way out is that of
# docs/reliability.md; without dvc.lock, DVC takes finished stages from its run cache.
TORN = {
    "Unable to read RWLock-file": ".dvc/tmp/rwlock", "'./dvc.lock' validation failed": "dvc.lock",
    "dvc.lock' is invalid": "dvc.lock",
}


class Pipeline:
    """A running `dvc repro`; `stage` is the name of the stage it runs, `began` when that began."""

    def __init__(self, project: Path):
        self.output: list[str] = []
        self.stage, self.began = "", time.monotonic()
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"], cwd=project, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, env={**user_environment(), "PYTHONUNBUFFERED": "1"},
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
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

    def processes(self) -> dict[str, psutil.Process]:
        """The processes that can be killed now: `dvc`, and `stage` where one runs."""
        found = {}
        try:
            found["dvc"] = dvc_process = psutil.Process(self.process.pid)
            for child in dvc_process.children(recursive=True):
                if any(part.startswith("stages.") for part in child.cmdline()):
                    found["stage"] = child
        except psutil.NoSuchProcess:
            pass
        return found

    def kill(self, victim: str, number: signal.Signals) -> str:
        """Send the signal; return who got it (there may be no stage at this moment)."""
        found = self.processes()
        victims = [name for name in ("stage", "dvc") if victim in (name, "both") and name in found] or list(found)[:1]
        for name in victims:
            try:
                found[name].send_signal(number)
            except psutil.NoSuchProcess:
                pass
        return "+".join(victims)


def state(project: Path) -> dict[str, bytes]:
    """Everything that must be the same: dvc.lock (which has the hashes of all outputs) and the metrics."""
    names = ["dvc.lock", *(f"metrics/{path.name}" for path in (project / "metrics").iterdir())]
    return {name: (project / name).read_bytes() for name in names}


def undisturbed(project: Path) -> dict[str, float]:
    """Run the pipeline once; return the seconds of each stage."""
    pipeline, seconds, last = Pipeline(project), {}, None
    while pipeline.process.poll() is None:
        time.sleep(0.02)
        if pipeline.stage and pipeline.stage != last:
            seconds[pipeline.stage], last = pipeline.began, pipeline.stage
    if pipeline.process.returncode:
        raise SystemExit("the undisturbed run failed:\n" + "".join(pipeline.output[-30:]))
    starts = [*seconds.values(), time.monotonic()]
    return {name: end - start for name, start, end in zip(seconds, starts, starts[1:])}


def disturbed(project: Path, seconds: dict[str, float], generator: random.Random, budget: int) -> tuple[list[dict], dict[str, int]]:
    """Run the pipeline to its end with at most `budget` kills; return them, and how often a run met what.

    Raises:
        RuntimeError: a run that was not killed failed, or took longer than PATIENCE.
    """
    kills: list[dict] = []
    seen: collections.Counter[str] = collections.Counter()
    while True:
        pipeline = Pipeline(project)
        mine: list[dict] = []  # several, where a kill had no effect: dvc ignores Ctrl-C while a stage runs
        stage = ""  # a stage that ends before its moment is let through
        while len(kills) + len(mine) < budget and pipeline.wait_for_stage(other_than=stage):
            stage = pipeline.stage
            moment = pipeline.began + generator.uniform(0, BEYOND * seconds[stage])
            while time.monotonic() < moment and pipeline.stage == stage and pipeline.process.poll() is None:
                time.sleep(0.01)
            if time.monotonic() >= moment and pipeline.process.poll() is None:
                victim, number = generator.choice(VICTIMS), generator.choice(SIGNALS)
                stage, after = pipeline.stage, time.monotonic() - pipeline.began
                mine.append({"stage": stage, "after": after, "signal": number.name, "victim": pipeline.kill(victim, number)})
        try:
            pipeline.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise RuntimeError("no end in sight:\n" + "".join(pipeline.output[-30:])) from None
        output = "".join(pipeline.output)
        seen["resumed from a checkpoint"] += "resuming from" in output
        seen["waited for an orphan"] += "waiting for it" in output
        for kill in mine:
            kills.append(kill)
            who = f"{kill['signal']:7} to {kill['victim']:9} in {kill['stage']:18}"
            print(f"{len(kills):3} {who} after {kill['after']:4.1f} s", flush=True)
        if pipeline.process.returncode == 0:
            return kills, seen
        if mine:
            continue
        if torn := [file for message, file in TORN.items() if message in output]:
            (project / torn[0]).unlink()
            seen[f"needed rm {torn[0]}"] += 1
        else:
            raise RuntimeError(f"after {kills[-1] if kills else 'no kill'}, a run that was not killed failed:\n{output[-3000:]}")


def check(project: Path, expected: dict[str, bytes], untracked: str) -> None:
    """Compare what is there with the undisturbed run.

    Raises:
        RuntimeError: names what differs.
    """
    found = state(project)
    different = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
    if different:
        raise RuntimeError(f"not what the undisturbed run gave: {different}")
    if "up to date" not in dvc(project, "status").stdout:
        raise RuntimeError("dvc status: " + dvc(project, "status").stdout)
    if (status := run(["git", "status", "--short"], project).stdout) != untracked:
        raise RuntimeError(f"files left over:\n{status}")
    if list((project / "checkpoints").glob("*")) or list(project.glob("*/.*.tmp")) or list(project.glob(".*.tmp")):
        raise RuntimeError("checkpoints or half-written files are left over")


def kill_and_compare(folder: Path, kills: int, seed: int) -> dict:
    """Rounds of killed pipelines in `folder` until there were `kills` of them.

    Returns:
        `kills` (each with stage, seconds after its start, signal and victim), `rounds`, `seen` (how often a run resumed,
        and waited for an orphan) and the `seconds` of the undisturbed stages.
    """
    generator = random.Random(seed)
    bert = folder / "bert"
    bert.mkdir()
    make_bert(bert)
    start, calm, wild = folder / "start", folder / "calm", folder / "wild"
    start.mkdir()
    make_project(start, bert, make_pairs(), **PARAMS)
    shutil.copytree(start, calm)
    seconds = undisturbed(calm)
    expected, untracked = state(calm), run(["git", "status", "--short"], calm).stdout
    print("undisturbed: " + ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items()), flush=True)
    result = {"kills": [], "rounds": 0, "seen": collections.Counter(), "seconds": seconds}
    while len(result["kills"]) < kills:
        shutil.copytree(start, wild)
        done, seen = disturbed(wild, seconds, generator, kills - len(result["kills"]))
        check(wild, expected, untracked)
        result["kills"] += done
        result["seen"] += seen
        result["rounds"] += 1
        print(f"round {result['rounds']}: {len(done)} kills, the same bytes as undisturbed", flush=True)
        shutil.rmtree(wild)
    return result


def table(kills: list[dict]) -> str:
    """Kills by stage and signal."""
    names = sorted({kill["signal"] for kill in kills})
    counts = collections.Counter((kill["stage"], kill["signal"]) for kill in kills)
    stages = list(dict.fromkeys(kill["stage"] for kill in kills))
    lines = ["| stage | " + " | ".join(names) + " | all |", "|---|" + "---:|" * (len(names) + 1)]
    for stage in stages:
        row = [counts[stage, name] for name in names]
        lines.append(f"| {stage} | " + " | ".join(map(str, [*row, sum(row)])) + " |")
    totals = [sum(counts[stage, name] for stage in stages) for name in names]
    return "\n".join([*lines, "| all | " + " | ".join(map(str, [*totals, sum(totals)])) + " |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="kills over all rounds (100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of moments, signals and victims (0)")
    parser.add_argument("--json", type=Path, help="write the kills to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-") as folder:
        result = kill_and_compare(Path(folder), arguments.kills, arguments.seed)
    print(table(result["kills"]))
    victims = collections.Counter(kill["victim"] for kill in result["kills"])
    print("victims: " + ", ".join(f"{name} {count}" for name, count in victims.items()))
    print("runs that " + ", ".join(f"{name}: {count}" for name, count in result["seen"].items()))
    print(f"{result['rounds']} rounds ended with the bytes of the undisturbed run")
    if arguments.json:
        machine = {"seed": arguments.seed, "cpu_count": os.cpu_count(), "python": platform.python_version()}
        arguments.json.write_text(json.dumps({**result, **machine}, indent=2) + "\n")


if __name__ == "__main__":
    main()
