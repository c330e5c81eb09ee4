"""The finished run of a workspace that is what dvc.lock says: nothing else is released."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from splade_sts import layout, params
from splade_sts.comparison.evidence import Comparison
from splade_sts.data.provenance import Provenance
from splade_sts.errors import UserError
from splade_sts.evaluation.results import Evaluation
from splade_sts.files import read_json
from splade_sts.git import git, resolve
from splade_sts.report.setting import Setting
from splade_sts.runs.public import public_params, short_path
from splade_sts.runs.record import OUTPUT_TAG, TRAINING, Record, collect, not_in_cache
from splade_sts.runs.source import RunFiles

SHOWN = 5  # differences from dvc.lock that a message names


@dataclass(frozen=True)
class Run:
    """What a release says of its run.

    Attributes:
        name: of the model: `track.experiment`.
        record: all that is recorded of the run.
        comparison: base against fine-tuned.
        evaluation: of the fine-tuned model.
        setting: what was compared.
        commit: the workspace's: 40 hexadecimal digits.
        changed: files that differ from that commit, or that it does not hold.
    """

    name: str
    record: Record
    comparison: Comparison
    evaluation: Evaluation
    setting: Setting
    commit: str
    changed: tuple[str, ...]

    @property
    def facts(self) -> dict[str, str]:
        """Which run it is, for its report."""
        changed = {"changed since": ", ".join(self.changed)} if self.changed else {}
        return {"model": self.name, "commit": self.commit, **changed}

    @property
    def outputs(self) -> dict[str, str]:
        """DVC's hash of every output under data and models, by path."""
        return {
            tag.removeprefix(OUTPUT_TAG): md5
            for tag, md5 in self.record.tags.items()
            if tag.startswith(OUTPUT_TAG)
        }


def read_finished(root: Path, without: Path) -> Run:
    """Read the run of a workspace.

    Args:
        root: the project's root.
        without: a path that does not count among the changed files: where the release goes.

    Raises:
        UserError: the pipeline has not run to its end there, the workspace is not what dvc.lock
            says, or Git knows no commit.
    """
    try:
        record = collect(RunFiles.workspace(root))
    except FileNotFoundError as error:
        raise UserError(
            f"there is no finished run here ({error.filename} is missing): run dvc repro, or "
            "dvc exp apply NAME"
        ) from None
    check_workspace(root)
    if record.missing or record.comparison is None:
        raise UserError(not_in_cache(record.missing))
    settings = params.load(root / layout.PARAMS)
    evidence = {
        stage: record.artifacts[str(layout.evidence(stage))] for stage in ("data", "finetuned")
    }
    base = read_json(root / layout.BASE_SOURCE)
    setting = Setting(
        base=base | {"source": short_path(base["source"]) or base["source"]},
        data=json.loads(evidence["data"]),
        provenance=TypeAdapter(Provenance).validate_python(read_json(root / layout.PROVENANCE)),
        training=json.loads(record.artifacts[str(TRAINING)]),
        params=public_params(settings),
        score_range=settings.data.known_range,
    )
    commit = resolve(root, "HEAD")
    if commit is None:
        raise UserError("there is no commit yet: a release names the commit that made it")
    return Run(
        name=settings.track.experiment,
        record=record,
        comparison=record.comparison,
        evaluation=TypeAdapter(Evaluation).validate_json(evidence["finetuned"]),
        setting=setting,
        commit=commit,
        changed=_changed(root, without),
    )


def check_workspace(root: Path) -> None:
    """Check that parameters, code, data and outputs are those of dvc.lock.

    Raises:
        UserError: names what is not, or DVC cannot say.
    """
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"dvc status: {done.stderr.strip()}")
    found = differences(json.loads(done.stdout))
    if found:
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UserError(
            f"the workspace is not what {layout.LOCK} says: {'; '.join(found[:SHOWN])}{more}. "
            "dvc repro runs what has changed; dvc checkout brings back the outputs of dvc.lock"
        )


def differences(status: dict[str, Any]) -> list[str]:
    """What `dvc status --json` names, in words: `train: params.yaml: train.seed modified`."""
    found = []
    for stage, changes in status.items():
        for change in changes:
            if isinstance(change, str):
                found.append(f"{stage}: {change}")
                continue
            for paths in change.values():
                for path, state in paths.items():
                    parts = state if isinstance(state, dict) else {"": state}
                    found += [
                        f"{stage}: {path}{name and f': {name}'} {how}"
                        for name, how in parts.items()
                    ]
    return list(dict.fromkeys(found))


def _changed(root: Path, without: Path) -> tuple[str, ...]:
    """The files that differ from HEAD, or that it does not hold."""
    left_out = [f":!{without.relative_to(root)}"] if without.is_relative_to(root) else []
    found = git(root, "status", "--porcelain", "-z", "--no-renames", "--", ".", *left_out)
    return tuple(line[3:] for line in found.split("\0") if line)
