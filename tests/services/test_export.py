"""Exports of the tiny model by the real packages: its vectors, and code beside them that runs."""

import importlib.util
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from splade_sts.comparison.statistics import Bootstrap
from splade_sts.errors import UserError
from splade_sts.export.folder import Export, export
from splade_sts.export.formats import FORMATS
from splade_sts.model.encoder import load_encoder

PACKAGES = ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf")
pytestmark = [
    pytest.mark.export,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, PACKAGES)), reason="needs requirements-export.txt"
    ),
]
BOOTSTRAP = Bootstrap(resamples=200, confidence=0.95, seed=0)
SENTENCES = ["A plane is taking off.", "An air plane is taking off."]


@pytest.fixture
def data(tmp_path, pairs):
    """A folder of normalized splits."""
    made = tmp_path / "data"
    made.mkdir()
    for split in ("train", "validation"):
        pairs.write(made / f"{split}.parquet")
    return made


@pytest.mark.parametrize("name", FORMATS)
def test_a_float_export(name, tiny_splade, data, tmp_path):
    """Within the bounds, and the README's code, run beside it, gives the model's vectors."""
    wanted = Export(tiny_splade, name, int8=False, data=data, loss=0.0)
    output = tmp_path / "export"
    found = export(wanted, output, BOOTSTRAP)
    assert found.largest_weight < 1e-4 > found.largest_in_batch
    assert found.longest_tokens == 32
    record = json.loads((output / "export.json").read_text())
    assert record["check"]["spearman"] == found.spearman
    assert str(tmp_path) not in json.dumps(record)
    (code,) = re.findall(r"```python\n(.*?)```", (output / "README.md").read_text(), re.DOTALL)
    code += '\nnp.save("vectors.npy", vectors)\n'
    subprocess.run([sys.executable, "-c", code], cwd=output, check=True, capture_output=True)
    expected = load_encoder(tiny_splade, "cpu").encode(SENTENCES).to_dense().numpy()
    assert np.abs(np.load(output / "vectors.npy") - expected).max() < 1e-4


@pytest.mark.parametrize("name", FORMATS)
def test_an_int8_export(name, tiny_splade, data, tmp_path):
    """Its loss is measured; where it may lose nothing, nothing is left. A sentence's vector does
    not depend on its batch.
    """
    output = tmp_path / "export"
    with pytest.raises(UserError, match="or allow more with --max-loss"):
        export(Export(tiny_splade, name, True, data, loss=1e-9), output, BOOTSTRAP)
    assert not output.exists()
    found = export(Export(tiny_splade, name, True, data, loss=0.5), output, BOOTSTRAP)
    assert found.largest_in_batch < 0.01
    assert found.largest_weight > 1e-4
    assert found.gain.low <= found.gain.value <= found.gain.high
    assert (output / FORMATS[name].file).is_file()
