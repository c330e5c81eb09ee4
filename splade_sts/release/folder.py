"""The release: one folder that holds the model of a finished run and all that is to be said of it.

README.md        the card
model.safetensors, modules.json, …   the model, as `SparseEncoder` loads it
report/          the comparison, for people
pipeline/        params.yaml and dvc.lock
release.json     what the folder is (`Release`)
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from splade_sts import layout
from splade_sts.errors import UserError
from splade_sts.files import check_outside, read_json, replacing_folder, sha256, write_json
from splade_sts.release.card import release_card
from splade_sts.release.run import Run, read_finished
from splade_sts.report.named import name_run

CARD, MANIFEST = "README.md", "release.json"
# A file of these names may run code when it is read.
PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl")


@dataclass(frozen=True)
class Release:
    """What a release holds.

    Attributes:
        name: of the model.
        base: its base model: source, revision, licence (`license`).
        data: what it was trained on: source, revision.
        commit: 40 hexadecimal digits.
        changed: files that differed from that commit.
        record: `splade_sts.runs.record.Record.id` of the run.
        outputs: DVC's hash of every output under data and models, by path.
        files: SHA-256 of each file but the card, which people may go on writing, by path.
    """

    name: str
    base: dict[str, str | None]
    data: dict[str, str | None]
    commit: str
    changed: tuple[str, ...]
    record: str
    outputs: dict[str, str]
    files: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> "Release":
        """Read what `make_release` wrote, and check that all of it is there.

        Raises:
            UserError: the folder is no release, or a file is missing or another one.
        """
        if not (folder / MANIFEST).is_file() or not (folder / CARD).is_file():
            raise UserError(
                f"{folder} is no release (no {MANIFEST} with a {CARD}); make one: "
                "python -m splade_sts release"
            )
        try:
            found = TypeAdapter(cls).validate_python(read_json(folder / MANIFEST))
        except (ValidationError, ValueError) as error:
            raise UserError(f"{folder / MANIFEST} is not what a release has: {error}") from error
        for name, digest in found.files.items():
            path = folder / name
            if not path.is_file() or path.is_symlink() or sha256(path) != digest:
                what = "not the file that was released" if path.is_file() else "missing"
                raise UserError(
                    f"{path} is {what}; make the release again: python -m splade_sts release"
                )
        return found


def make_release(root: Path, target: Path) -> Release:
    """Make the release of the run in the workspace; one that is there gives way.

    Args:
        root: the project's root.
        target: the folder.

    Raises:
        UserError: `target` is something else or lies in the model, there is no finished run, the
            workspace is not what dvc.lock says, or the model is none that is to be handed on.
    """
    check_target(target)
    model = root / layout.model("finetuned")
    check_outside(target, model)
    run = read_finished(root, target.resolve())
    check_model(model)
    with replacing_folder(target) as folder:
        shutil.copytree(model, folder, dirs_exist_ok=True)
        for path, content in _papers(run).items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(content)
        (folder / CARD).write_text(release_card(run), encoding="utf-8")
        release = _release(run, folder)
        write_json(folder / MANIFEST, asdict(release))
    return release


def check_target(target: Path) -> None:
    """Check that a release may be written to `target`.

    Raises:
        UserError: something else is there.
    """
    if target.is_symlink() or (target.exists() and not (target / MANIFEST).is_file()):
        raise UserError(
            f"{target} is there and is no release; name a folder that is not there yet: "
            "python -m splade_sts release --output FOLDER"
        )


def check_model(folder: Path) -> None:
    """Check that a model's folder is one to hand on: it loads, its head is there, and no file of it
    may run code.

    Raises:
        UserError: says what is wrong.
    """
    if pickled := [path.name for kind in PICKLED for path in folder.rglob(kind)]:
        raise UserError(
            f"{folder} holds {', '.join(pickled)}, which may run code when it is read; a release "
            "holds safetensors alone: dvc repro -f train writes them"
        )
    from splade_sts.model.encoder import load_encoder, read_config
    from splade_sts.model.source import has_mlm_head

    config = read_config(folder)
    if not has_mlm_head(config):
        raise UserError(
            f"{folder} has no masked-language-model head (architectures in config.json: "
            f"{', '.join(config.architectures or []) or 'none'}), so it gives no sparse vectors; "
            "release a model that stage train has written"
        )
    load_encoder(folder, device="cpu")


def _papers(run: Run) -> dict[str, bytes]:
    """What stands beside the model, by path: the report, the parameters, dvc.lock."""
    found = {}
    for path, content in run.record.artifacts.items():
        name = Path(path)
        if name == layout.REPORTS / "comparison.html":
            found[f"report/{name.name}"] = name_run(content, run.facts)
        elif name.parent == layout.REPORTS and name.name != "model_card.md":
            found[f"report/{name.name}"] = content
        elif name in (layout.PARAMS, layout.LOCK):
            found[f"pipeline/{name.name}"] = content
    return found


def _release(run: Run, folder: Path) -> Release:
    base, data = run.setting.base, run.setting.provenance
    origin: dict[str, Any] = {key: base[key] for key in ("source", "revision", "license")}
    return Release(
        name=run.name,
        base=origin,
        data={"source": data.source, "revision": data.revision},
        commit=run.commit,
        changed=run.changed,
        record=run.record.id,
        outputs=run.outputs,
        files={
            path.relative_to(folder).as_posix(): sha256(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path != folder / CARD
        },
    )
