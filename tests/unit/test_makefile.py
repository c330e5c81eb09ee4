"""What `make` starts."""

import itertools
import re
import shlex
from typing import Any

from ruamel.yaml import YAML

from splade_sts import layout, params
from splade_sts.data.sample import sample_file
from splade_sts.model.source import locate
from tests.support.commands import ROOT

TEXT = (ROOT / "Makefile").read_text(encoding="utf-8")


def recipe(target: str) -> str:
    """The commands of a target."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", TEXT, re.MULTILINE)
    assert found, target
    return found[1].replace("\\\n", " ")


def test_the_demo(monkeypatch):
    """Its parameters fit the schema, and what they name is there without a network, whatever else
    the workspace's params.yaml says.
    """
    words = shlex.split(recipe("demo").splitlines()[0])
    settings = [word for before, word in itertools.pairwise(words) if before == "-S"]
    content: dict[str, Any] = YAML(typ="safe").load((ROOT / layout.PARAMS).read_text())
    for setting in settings:
        name, value = setting.split("=", 1)
        assert name in content
        content[name] = YAML(typ="safe").load(value)
    found = params.parse(content)
    assert found.data.source == "sample"
    assert found.base_model.wanted_active_dims
    monkeypatch.chdir(ROOT)
    for split in layout.SPLITS:
        assert sample_file(split).is_file()
    folder = locate(found.base_model.source, found.base_model.revision).folder
    assert (folder / "model.safetensors").is_file()


def test_it_lists_itself():
    """Every target of its own says what it is for."""
    targets = re.findall(r"^([a-z]+):.*", TEXT, re.MULTILINE)
    explained = re.findall(r"^([a-z]+):.*## ", TEXT, re.MULTILINE)
    assert targets == explained
    phony = re.search(r"^\.PHONY: (.*)$", TEXT, re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == set(targets)
