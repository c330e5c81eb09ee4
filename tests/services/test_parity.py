"""MTEB's own evaluation of the same folder on the same pairs gives our numbers."""

import importlib.util
import sys

import pytest

from tests.support.commands import ROOT, run

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(
        importlib.util.find_spec("mteb") is None, reason="needs requirements-parity.txt"
    ),
]


def test_the_same_numbers(tiny_splade, tiny_bert, pairs, tmp_path):
    """Of a sparse and of a dense model; the benchmark fails where they differ by more than 1e-4."""
    pairs.table().assign(score=pairs.score * 5).to_csv(tmp_path / "pairs.csv", index=False)
    models = ["--model", str(tiny_splade), "--dense", str(tiny_bert)]
    command = [sys.executable, "-m", "benchmarks.parity", *models]
    done = run([*command, "--set", f"STS15={tmp_path / 'pairs.csv'}"], ROOT)
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| STS15")]
    assert len(rows) == 2
    assert all(float(row[-3]) <= 1e-4 for row in rows)  # difference of six decimals
