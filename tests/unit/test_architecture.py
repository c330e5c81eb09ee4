"""dvc.yaml and CONTRIBUTING.md say what the code does: imports, parameters read, private APIs used.

Everything here reads source text; no stage runs. Which way imports may go is a contract of
import-linter in pyproject.toml.
"""

import ast
import re
from collections.abc import Callable, Collection, Iterator, Mapping
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
    "splade_sts/errors.py": "words messages",
    "splade_sts/files.py": "writes what it is given; refuses to leave anything half-written",
    "splade_sts/layout.py": "names paths; DVC misses an output that moved",
    "splade_sts/locks.py": "makes a process wait",
    "splade_sts/process.py": "ends a process; refuses packages that are not as pinned",
    "splade_sts/params.py": "reads the parameters, whose values are dependencies, or refuses them",
}
# The same for one stage alone.
KNOWN = {"splade_sts/known.py": "the stages that use its values depend on it"}
OF_ONE_STAGE = {
    **dict.fromkeys(("download", "evaluate", "compare"), KNOWN),
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
        "splade_sts/data/pairs.py": "types of what compare wrote",
        "splade_sts/evaluation/results.py": "types of what compare wrote",
        "splade_sts/git.py": "says in MLflow where the run stands",
        "splade_sts/report/verdict.py": "says it in MLflow",
        "splade_sts/runs/experiments.py": "finds what `sync` writes to MLflow",
        "splade_sts/tracking/": "shows the record in MLflow",
        "splade_sts/training/checkpoints.py": "removes what nothing asks for any more",
        "splade_sts/training/curves.py": "reads what train wrote",
    },
}
# What lies in a folder that a stage depends on without being imported by it.
NOT_IMPORTED: dict[str, dict[str, str]] = {}


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
    "train": {"train.checkpoint_steps": "says how often to save; no result depends on it"},
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


# Functions that read all of the parameters they are given but those under `without`. Their own
# file says nothing about a stage: what counts is how the stage calls them.
READ_ALL: dict[str, Callable[[ast.Call], ast.expr]] = {
    "public_params": lambda call: call.args[0],
    "scrub": lambda call: call.args[1],
}
READ_ALL_FILES = {"splade_sts/runs/public.py", "splade_sts/params.py"}


class Reads(ast.NodeVisitor):
    """The parameters that a module reads, as far as its annotations say which section a name holds.

    A name holds a section if it is an argument or an attribute annotated with a class of the
    schema, or was assigned from `params.load()`, `params.parse(...)` or an attribute of those.
    """

    def __init__(self, places: dict[type[BaseModel], str]) -> None:
        self.places = places
        self.names: dict[str, type[BaseModel]] = {}
        self.constants: dict[str, ast.expr] = {}
        self.found: set[str] = set()

    def visit_Module(self, node: ast.Module) -> None:
        for part in node.body:
            if isinstance(part, ast.Assign):
                self.constants |= {ast.unparse(target): part.value for target in part.targets}
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = dict(self.names)
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            self.names.pop(argument.arg, None)
            if section := self.annotated(argument.annotation):
                self.names[argument.arg] = section
        self.generic_visit(node)
        self.names = outer

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer = dict(self.names)
        for statement in ast.walk(node):
            if isinstance(statement, ast.AnnAssign) and (
                section := self.annotated(statement.annotation)
            ):
                self.names[f"self.{ast.unparse(statement.target).removeprefix('self.')}"] = section
        self.generic_visit(node)
        self.names = outer

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        pairs = [(target, node.value) for target in node.targets]
        if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(node.targets[0].elts, node.value.elts, strict=True))
        for target, value in pairs:
            self.names.pop(ast.unparse(target), None)
            if section := self.section(value):
                self.names[ast.unparse(target)] = section

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        section = self.section(node.value)
        if section is None:
            return
        place = self.places[section]
        if node.attr in section.model_fields:
            if not as_section(section.model_fields[node.attr].annotation):
                self.found.add(f"{place}.{node.attr}".removeprefix("."))
        elif node.attr != "model_dump":  # a property: what it reads in turn
            self.found |= {f"{place}.{name}" for name in property_reads(section, node.attr)}

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        name = ast.unparse(node.func).split(".")[-1]
        if name == "model_dump" and isinstance(node.func, ast.Attribute):
            whole, left_out = node.func.value, "exclude"
        elif name in READ_ALL:
            whole, left_out = READ_ALL[name](node), "without"
        elif name == "getattr":
            whole, left_out = node.args[0], ""
        else:
            return
        if section := self.section(whole):
            place = self.places[section]
            without = [keyword.value for keyword in node.keywords if keyword.arg == left_out]
            contents = [self.constants.get(ast.unparse(value), value) for value in without]
            names = [name for value in contents for name in excluded(ast.literal_eval(value))]
            self.found |= below(place).difference(
                *(below(f"{place}.{name}".removeprefix(".")) for name in names)
            )

    def annotated(self, annotation: ast.expr | None) -> type[BaseModel] | None:
        return (
            SECTIONS.get(ast.unparse(annotation).split(".")[-1].strip("'\""))
            if annotation
            else None
        )

    def section(self, node: ast.expr) -> type[BaseModel] | None:
        """The section that an expression holds, None where it holds something else."""
        if isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "params.load",
            "params.parse",
            "load",
            "parse",
        ):
            return params.Params
        if (name := ast.unparse(node)) in self.names:
            return self.names[name]
        if isinstance(node, ast.Attribute) and (section := self.section(node.value)):
            field = section.model_fields.get(node.attr)
            return as_section(field.annotation) if field else None
        return None


def excluded(content: Any, prefix: str = "") -> Iterator[str]:
    """The full names in an `exclude` of pydantic: a set, or a mapping of sections to such."""
    for name in content:
        if isinstance(content, dict) and not isinstance(content[name], bool):
            yield from excluded(content[name], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


@cache
def property_reads(section: type[BaseModel], name: str) -> frozenset[str]:
    """The fields of a section that one of its properties reads."""
    tree = ast.parse((ROOT / "splade_sts/params.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == section.__name__:
            for function in node.body:
                if isinstance(function, ast.FunctionDef) and function.name == name:
                    read = {
                        part.attr for part in ast.walk(function) if isinstance(part, ast.Attribute)
                    }
                    return frozenset(read & section.model_fields.keys())
    return frozenset()


def section_places(
    model: type[BaseModel] = params.Params, place: str = ""
) -> Iterator[tuple[type[BaseModel], str]]:
    yield model, place
    for name, field in model.model_fields.items():
        if section := as_section(field.annotation):
            yield from section_places(section, f"{place}.{name}".removeprefix("."))


def parameters_read(stage: str) -> set[str]:
    """The full names of the parameters that a stage and what it depends on read."""
    found: set[str] = set()
    for path in (closure(stage) & code_dependencies(stage)) - READ_ALL_FILES:
        reads = Reads(dict(section_places()))
        reads.visit(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        found |= reads.found
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
            if ast.unparse(node.value) not in ("self", "cls"):
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
