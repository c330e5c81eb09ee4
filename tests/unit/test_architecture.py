"""dvc.yaml and CONTRIBUTING.md say what the code does: imports, parameters read, private APIs used.

Everything here reads source text; no stage runs. Which way imports may go is a contract of
import-linter in pyproject.toml.
"""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import grimp
import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from splade_sts import params
from tests.support.commands import ROOT

PACKAGES = ("splade_sts", "stages")
PIPELINE: dict[str, dict[str, Any]] = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]

# What a stage imports without depending on it, files and folders: none of it can change an output.
CANNOT_CHANGE_AN_OUTPUT = {
    "stages/__init__.py": "says how threads wait, which changes no byte",
    "splade_sts/errors.py": "words messages",
    "splade_sts/files.py": "writes what it is given; refuses to leave anything half-written",
    "splade_sts/layout.py": "names paths; DVC misses an output that moved",
    "splade_sts/locks.py": "makes a process wait",
    "splade_sts/process.py": "ends a process; refuses packages other than pinned; starts threads",
    "splade_sts/params.py": "reads the parameters, whose values are dependencies, or refuses them",
}
# The same for one stage alone.
KNOWN = {"splade_sts/known.py": "the stages that use its values depend on it"}
OF_ONE_STAGE = {
    **dict.fromkeys(("evaluate", "compare"), KNOWN),
    "controls": {
        "splade_sts/comparison/jackknife.py": "for intervals, of which this stage makes none",
    },
    "train": {
        **KNOWN,
        "splade_sts/git.py": "says in MLflow where the run stands",
        "splade_sts/runs/": "says in MLflow which run it is",
        "splade_sts/tracking/": "shows the training in MLflow while it runs",
    },
    "track": {
        **KNOWN,
        "splade_sts/comparison/": "reads what compare wrote",
        "splade_sts/controls/scores.py": "names of controls, in types of what compare wrote",
        "splade_sts/data/linked.py": "groups pairs for intervals, which compare has made",
        "splade_sts/data/pairs.py": "types of what compare wrote",
        "splade_sts/evaluation/results.py": "types of what compare wrote",
        "splade_sts/git.py": "says in MLflow where the run stands",
        "splade_sts/report/verdict.py": "says it in MLflow",
        "splade_sts/report/named.py": "names the run in MLflow's copy of the report",
        "splade_sts/report/names.py": "what the verdict says it with",
        "splade_sts/runs/experiments.py": "finds what `sync` writes to MLflow",
        "splade_sts/runs/naming.py": "names groups of runs in MLflow",
        "splade_sts/text.py": "counts words for slices, which compare has cut",
        "splade_sts/tracking/": "shows the record in MLflow",
        "splade_sts/training/checkpoints.py": "removes what nothing asks for any more",
        "splade_sts/training/curves.py": "reads what train wrote",
    },
}
# What lies in a folder that a stage depends on without being imported by it.
NOT_IMPORTED = {
    "compare": {"splade_sts/report/named.py": "names the run in MLflow's copy of the report"}
}


def source_file(module: str) -> str:
    """Path of a module's source, relative to the root."""
    path = Path(*module.split("."))
    return str(
        path.with_suffix(".py")
        if (ROOT / path).with_suffix(".py").is_file()
        else path / "__init__.py"
    )


@cache
def has_code(path: str) -> bool:
    """Whether a file holds more than a docstring: most `__init__.py` do not."""
    body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    return any(not isinstance(part, ast.Expr) for part in body)


@cache
def imports() -> grimp.ImportGraph:
    """All imports of ours, those within functions too, but not those for type checkers alone."""
    return grimp.build_graph(*PACKAGES, cache_dir=None, exclude_type_checking_imports=True)


@cache
def closure(stage: str) -> frozenset[str]:
    """Every file with code that running a stage may execute."""
    graph = imports()
    modules = {f"stages.{stage}"}
    while True:
        found = set(modules)
        for module in modules:
            found |= graph.find_upstream_modules(module)
            found |= {module.rsplit(".", depth)[0] for depth in range(1, module.count(".") + 1)}
        if found == modules:
            break
        modules = found
    return frozenset(filter(has_code, map(source_file, modules)))


def code_dependencies(stage: str) -> set[str]:
    """The files with code below the `deps` of a stage in dvc.yaml."""
    found: set[Path] = set()
    for dependency in PIPELINE[stage]["deps"]:
        if dependency.startswith(tuple(f"{package}/" for package in PACKAGES)):
            path = ROOT / dependency
            assert path.exists(), f"{stage} depends on {dependency}, which is not there"
            found |= set(path.rglob("*.py")) if path.is_dir() else {path}
    return set(filter(has_code, (str(path.relative_to(ROOT)) for path in found)))


def excused(files: Collection[str], *excuses: Mapping[str, str]) -> set[str]:
    """Those of `files` that one of the excuses names, or whose folder it names."""
    names = tuple(name for excuse in excuses for name in excuse)
    return {file for file in files if file.startswith(names)}


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_stage_depends_on_what_it_imports(stage: str) -> None:
    missing = closure(stage) - code_dependencies(stage)
    missing -= excused(missing, CANNOT_CHANGE_AN_OUTPUT, OF_ONE_STAGE.get(stage, {}))
    assert not missing, f"imported, but neither a dependency nor excused: {sorted(missing)}"


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_stage_imports_what_it_depends_on(stage: str) -> None:
    idle = code_dependencies(stage) - closure(stage) - NOT_IMPORTED.get(stage, {}).keys()
    assert not idle, f"never imported; a change of it would run the stage for nothing: {idle}"


def test_no_excuse_is_left_over() -> None:
    def unused(names: Collection[str], files: Collection[str]) -> list[str]:
        return [name for name in names if not any(file.startswith(name) for file in files)]

    for stage, excuses in OF_ONE_STAGE.items():
        assert not unused(excuses, closure(stage) - code_dependencies(stage)), stage
    for stage, excuses in NOT_IMPORTED.items():
        assert not unused(excuses, code_dependencies(stage) - closure(stage)), stage
    assert not unused(CANNOT_CHANGE_AN_OUTPUT, set().union(*map(closure, PIPELINE)))


# Parameters, or sections, that the code of a stage reads without the stage depending on them.
NO_DEPENDENCY: dict[str, dict[str, str]] = {
    "train": {
        "train.checkpoint_steps": "says how often to save; no result depends on it",
        "evaluate.min_sparsity_ratio": "refuses a base model; no result depends on it",
    },
    "track": {"train.checkpoint_steps": "the same"},
    "controls": {"compare": "read by Bootstrap.of, beside the correlation that this stage takes"},
}
# No stage depends on these.
CHANGES_NO_RESULT = {"train.checkpoint_steps"}


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The full names of all parameters below a section of the schema."""
    for name, field in model.model_fields.items():
        if section := as_section(field.annotation):
            yield from leaves(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def as_section(annotation: object) -> type[BaseModel] | None:
    return (
        annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    )


SECTIONS = {name: value for name, value in vars(params).items() if as_section(value)}


def below(prefix: str) -> set[str]:
    return {
        leaf for leaf in leaves(params.Params) if f"{leaf}.".startswith(prefix and f"{prefix}.")
    }


# Parameters that map names to sections: each is one parameter.
MAPPINGS: dict[str, type[BaseModel]] = {"data.test_sets": params.SetParams}

# Functions that read all of a section they are given but what is under `without`, and the number of
# that argument. Their own file says nothing about a stage: what counts is how the stage calls them.
READ_ALL = {"public_params": 0, "scrub": 1, "getattr": 0}
READ_ALL_FILES = {"splade_sts/runs/public.py", "splade_sts/params.py"}
LOADS = ("params.load", "params.parse", "load", "parse")

Names = dict[str, set[type[BaseModel]]]


def sections(node: ast.expr, names: Names) -> set[type[BaseModel]]:
    """The sections that an expression may hold."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) in LOADS:
        return {params.Params}
    found = set(names.get(ast.unparse(node), ()))
    if isinstance(node, ast.Attribute):
        fields = [outer.model_fields.get(node.attr) for outer in sections(node.value, names)]
        found |= {
            section for field in fields if field and (section := as_section(field.annotation))
        }
    return found


def names_of_sections(tree: ast.Module) -> Names:
    """What each name of a module may hold: the sections that its annotations say, or that were
    assigned to it. A name that holds different ones in different functions may hold any of them.
    """
    names: Names = defaultdict(set)
    nodes = [*ast.walk(tree)]
    for node in nodes:
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
            last = ast.unparse(node.annotation).split(".")[-1].strip("'\"")
            if section := SECTIONS.get(last):
                names[name].add(section)
                names[f"self.{name}"].add(section)  # should it be an attribute of a class
    assignments = [node for node in nodes if isinstance(node, ast.Assign)]
    for node in sorted(assignments, key=lambda node: node.lineno):
        pairs = [(target, node.value) for target in node.targets]
        if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(node.targets[0].elts, node.value.elts, strict=True))
        for target, value in pairs:
            names[ast.unparse(target)] |= sections(value, names)
    return names


def reads(tree: ast.Module) -> set[str]:
    """The parameters that a module reads, as far as names hold sections (`names_of_sections`)."""
    names, places = names_of_sections(tree), dict(section_places())
    constants = {
        ast.unparse(target): node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            for section in sections(node.value, names):
                for field in fields_read(section, node.attr):
                    place = places[section]
                    # what stands under a name of a mapping is no parameter by itself
                    leaf = place if place in MAPPINGS else f"{place}.{field}"
                    found.add(leaf.removeprefix("."))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).split(".")[-1]
            if name == "model_dump" and isinstance(node.func, ast.Attribute):
                whole, keyword = node.func.value, "exclude"
            elif name in READ_ALL:
                whole, keyword = node.args[READ_ALL[name]], "without"
            else:
                continue
            left_out = [
                ast.literal_eval(constants.get(ast.unparse(argument.value), argument.value))
                for argument in node.keywords
                if argument.arg == keyword
            ]
            for section in sections(whole, names):
                place = places[section]
                found |= below(place).difference(
                    *(
                        below(f"{place}.{name}".removeprefix("."))
                        for content in left_out
                        for name in excluded(content)
                    )
                )
    return found


def fields_read(section: type[BaseModel], name: str) -> set[str]:
    """The parameters right in a section that an attribute of it reads: itself, or those that a
    property reads in turn.
    """
    if name in section.model_fields:
        return set() if as_section(section.model_fields[name].annotation) else {name}
    tree = ast.parse((ROOT / "splade_sts/params.py").read_text(encoding="utf-8"))
    return {
        part.attr
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == section.__name__
        for function in node.body
        if isinstance(function, ast.FunctionDef) and function.name == name
        for part in ast.walk(function)
        if isinstance(part, ast.Attribute) and part.attr in section.model_fields
    }


def excluded(content: Any, prefix: str = "") -> Iterator[str]:
    """The full names in an `exclude` of pydantic: a set, or a mapping of sections to such."""
    for name in content:
        if isinstance(content, dict) and not isinstance(content[name], bool):
            yield from excluded(content[name], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def section_places(
    model: type[BaseModel] = params.Params, place: str = ""
) -> Iterator[tuple[type[BaseModel], str]]:
    yield model, place
    for name, field in model.model_fields.items():
        inner = f"{place}.{name}".removeprefix(".")
        if section := as_section(field.annotation):
            yield from section_places(section, inner)
        elif inner in MAPPINGS:
            yield MAPPINGS[inner], inner


def parameters_read(stage: str) -> set[str]:
    """The full names of the parameters that a stage and what it depends on read."""
    found: set[str] = set()
    for path in (closure(stage) & code_dependencies(stage)) - READ_ALL_FILES:
        found |= reads(ast.parse((ROOT / path).read_text(encoding="utf-8")))
    if found & params.flatten(params.OFFLINE).keys():
        found.add("offline")  # it decides what the schema gives for these
    return found


def parameters_declared(stage: str) -> set[str]:
    declared = set()
    for name in PIPELINE[stage].get("params", []):
        assert below(name), f"{stage}: {name} is no parameter"
        declared |= below(name)
    return declared


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_stage_depends_on_the_parameters_it_reads(stage: str) -> None:
    read = parameters_read(stage)
    for name in NO_DEPENDENCY.get(stage, {}):
        assert read & below(name), f"{name}: an excuse that is not needed"
        read -= below(name)
    assert parameters_declared(stage) == read


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f(a: TrainParams, b):\n    b.seed, c.epochs\n    return a.epochs", {"train.epochs"}),
        ("def f(a: 'params.TrainParams'):\n    return getattr(a, name)", {"train"}),
        ("def f():\n    return params.load().train.epochs", {"train.epochs"}),
        ("def f():\n    a, b = load().train, 1\n    c = a\n    return c.epochs", {"train.epochs"}),
        (
            "class A:\n    a: TrainParams\n    def f(self):\n        return self.a.epochs",
            {"train.epochs"},
        ),
        ("def f(a: DataParams):\n    return a.known_range", {"data.score_range", "data.source"}),
        ("def f(a: SetParams):\n    return a.known_range", {"data.test_sets"}),
        ("def f(a: CompareParams):\n    return a.model_dump()", {"compare"}),
    ],
)
def test_what_counts_as_reading(code: str, expected: set[str]) -> None:
    """Fields and properties of what is annotated, loaded or assigned, and whole sections."""
    assert reads(ast.parse(code)) == set().union(*map(below, expected))


@pytest.mark.parametrize(
    ("code", "section", "left_out"),
    [
        (
            "def f(a: CompareParams):\n    return a.model_dump(exclude={'seed'})",
            "compare",
            {"compare.seed"},
        ),
        (
            "OUT = 'data', 'track.enabled'\ndef f(a: Params): public_params(a, without=OUT)",
            "",
            {"data", "track.enabled"},
        ),
    ],
)
def test_what_is_left_out_is_not_read(code: str, section: str, left_out: set[str]) -> None:
    """Of a whole section, in the call or in a constant."""
    assert reads(ast.parse(code)) == below(section).difference(*map(below, left_out))


def test_every_parameter_is_a_dependency() -> None:
    declared = set().union(*map(parameters_declared, PIPELINE))
    assert below("") - declared == CHANGES_NO_RESULT


def tree() -> set[str]:
    """The files below folders of code in the tree of docs/architecture.md."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    block = text.split("## The tree")[1].split("```")[1]
    found, folders = set(), [""]
    for line in filter(None, block.splitlines()):
        depth, name = (len(line) - len(line.lstrip())) // 4, line.split()[0]
        folders[depth + 1 :] = [f"{folders[depth]}{name}"]
        if not name.endswith("/"):
            found.add(f"{folders[depth]}{name}")
    return {name for name in found if name.endswith((".py", ".html"))}


def test_the_tree_is_that_of_the_documentation() -> None:
    files = [path for folder in (*PACKAGES, "benchmarks") for path in (ROOT / folder).rglob("*.*")]
    names = {str(path.relative_to(ROOT)) for path in files if path.suffix in (".py", ".html")}
    assert tree() == {name for name in names if not name.endswith("__init__.py")}


MARK = re.compile(r"# private: ([\w-]+)")
PRIVATE_NAME = re.compile(r"(?<!\w)_[A-Za-z]\w*")
ROW = re.compile(r"^\| ([\w-]+) +\| `([\w/.]+\.py)` +\| (.*) \|$", re.MULTILINE)


def our_files() -> list[str]:
    return sorted(
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    )


def marked_lines() -> Iterator[tuple[str, str, str]]:
    """Library, path and text of each line that is marked as using a private API."""
    for path in our_files():
        for line in (ROOT / path).read_text(encoding="utf-8").splitlines():
            for mark in MARK.finditer(line):
                yield mark[1], path, line


def test_private_apis_are_listed() -> None:
    """CONTRIBUTING.md has a row for each library and file with marked lines, and no other row."""
    rows = {
        (row[1], row[2]): row[3]
        for row in ROW.finditer((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    }
    assert rows.keys() == {(library, path) for library, path, _ in marked_lines()}
    for library, path, line in marked_lines():
        for name in PRIVATE_NAME.findall(line.split("#")[0]):
            assert name in rows[library, path], (
                f"{path} uses {name}, the row of {library} does not name it"
            )


@pytest.mark.parametrize("path", our_files())
def test_private_names_are_marked(path: str) -> None:
    """A line that uses a name with a leading underscore of another module says whose it is."""
    text = (ROOT / path).read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and re.match(r"_[a-zA-Z]", node.attr):
            # the standard library documents os._exit
            if ast.unparse(node.value) not in ("self", "cls") and ast.unparse(node) != "os._exit":
                assert MARK.search(lines[node.end_lineno - 1]), (
                    f"{path}:{node.end_lineno}: {ast.unparse(node)}"
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
            if any(re.match(r"_[a-zA-Z]", name) for name in names if name != "__future__"):
                assert MARK.search(lines[node.lineno - 1]), (
                    f"{path}:{node.lineno}: {ast.unparse(node)}"
                )


def test_tests_and_benchmarks_import_nothing_from_each_other() -> None:
    """Nor do packages and stages import from either."""
    outsiders = {
        "tests": "benchmarks",
        "benchmarks": "tests",
        **dict.fromkeys(PACKAGES, "tests|benchmarks"),
    }
    for folder, others in outsiders.items():
        pattern = re.compile(rf"^\s*(?:from|import) (?:{others})\b", re.MULTILINE)
        for path in (ROOT / folder).rglob("*.py"):
            assert not pattern.search(path.read_text(encoding="utf-8")), path


DOCUMENTS = [
    *("README.md", "SECURITY.md", "CONTRIBUTING.md"),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")),
]
CODE_PATH = re.compile(
    r"(?<![\w/.-])((?:tests|benchmarks|splade_sts|stages)/[\w/]+\.\w+)(?:::(\w+))?"
)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_and_tests_that_documents_name_are_there(document: str) -> None:
    for path, test in CODE_PATH.findall((ROOT / document).read_text(encoding="utf-8")):
        assert (ROOT / path).is_file(), f"{path} is not there"
        if test:
            assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{test}"


def test_mypy_reads_all_code() -> None:
    """Every folder of the project with code, but the tests."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    folders = {path.parent.name for path in ROOT.glob("*/*.py")}
    assert {*settings["files"]} == folders - {"tests"}
