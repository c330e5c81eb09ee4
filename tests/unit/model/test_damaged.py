"""Model folders after accidents: a model, or one message that names the folder.

benchmarks/fuzz.py feeds thousands of them.
"""

import json
import shutil
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_sts.errors import UserError
from splade_sts.model.splade import load_splade

VALUES = [
    *(None, True, 0, -1, 3, 10**12, 1e300, "", "x", "../x", [], [1], {}, {"a": 1}, [None]),
    *("bert", "t5", "evil.Evil", "relu", "max", ["BertForMaskedLM"], "x" * 5000),
]


@st.composite
def accidents(draw: st.DrawFn, files: list[Path]) -> tuple[Path, bytes]:
    """One of the files, with other content: another value in JSON, or bytes lost or changed."""
    path = draw(st.sampled_from(files))
    data = path.read_bytes()
    if path.suffix == ".json" and draw(st.booleans()):
        content = json.loads(data)
        place = content
        while True:
            keys = sorted(place) if isinstance(place, dict) else range(len(place))
            key = draw(st.sampled_from(list(keys)))
            if not place[key] or not isinstance(place[key], (dict, list)) or draw(st.booleans()):
                place[key] = draw(st.sampled_from(VALUES))
                return path, json.dumps(content).encode()
            place = place[key]
    start = draw(st.integers(0, len(data)))
    lost = draw(st.sampled_from([0, 1, 8, len(data)]))
    return path, data[:start] + draw(st.binary(max_size=4)) + data[start + lost :]


def test_damaged_folders(tiny_splade: Path, tmp_path: Path) -> None:
    """No other exception than a `UserError`."""
    files = sorted(path for path in tiny_splade.rglob("*") if path.is_file())
    outcomes = {"loaded": 0, "refused": 0}

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(accident=accidents(files))
    def load(accident: tuple[Path, bytes]) -> None:
        path, data = accident
        folder = tmp_path / "model"
        shutil.copytree(tiny_splade, folder)
        (folder / path.relative_to(tiny_splade)).write_bytes(data)
        said = ""
        try:
            load_splade(folder, 32)
        except UserError as error:
            said = str(error)
        finally:
            shutil.rmtree(folder)
        outcomes["refused" if said else "loaded"] += 1
        assert not said or str(folder) in said

    load()
    assert min(outcomes.values()) > 0, outcomes
