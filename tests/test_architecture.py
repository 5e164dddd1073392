"""The package's rooms, and which may know which: a module imports only what stands to its left."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from spotify_ml.utils.paths import PACKAGE

ORDER = (
    "utils",
    "config",
    "data",
    "features",
    "models",
    "scoring",
    "evaluation",
    "comparison",
    "reports",
    "backends",
    "pipeline",
    "tracking",
    "tuning",
    "live",
    "cli",
    "commands",
)
# Only these may import a library, wherever in a module.
LIBRARIES = {
    "mlflow": {"tracking", "live", "cli", "commands"},
    "dask": {"backends"},
    "distributed": {"backends"},
    "optuna": {"tuning"},
    "hydra": {"cli", "config", "commands", "tracking", "tuning"},
    "jinja2": {"reports"},
    "lightgbm": {"models"},
    "catboost": {"models"},
    "starlette": {"tracking", "live"},
    "uvicorn": {"tracking"},
    "fastapi": {"live"},
    "prometheus_client": {"live"},
    "statsmodels": {"live"},
}
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def room(module: str) -> str:
    """The first folder of a module; those beside the folders, but the pipeline, are commands, and so is `__main__`."""
    if module.endswith(".__main__"):
        return "commands"
    first = module.removeprefix("spotify_ml").strip(".").partition(".")[0]
    return first if first in ORDER else "commands"


def imported(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, within functions as well, but for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                full = f"{node.module}.{each.name}"
                yield full if full in MODULES else node.module


@cache
def graph() -> dict[str, set[str]]:
    return {module: set(imported(path)) for module, path in MODULES.items()}


@pytest.mark.parametrize("module", [name for name in MODULES if name != "spotify_ml"])
def test_a_module_imports_only_what_stands_to_its_left(module: str):
    own = ORDER.index(room(module))
    # The package itself offers what users import, and imports that when it is asked for.
    known = {each for each in graph()[module] if each in MODULES and each != "spotify_ml"}
    assert {each for each in known if ORDER.index(room(each)) > own} == set()
    assert "spotify_ml" not in graph()[module]


def test_no_module_imports_itself_by_way_of_others():
    within = {module: {each for each in names if each in MODULES} for module, names in graph().items()}
    try:
        TopologicalSorter(within).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_known_to_its_rooms_alone(library: str):
    knowing = {room(module) for module, names in graph().items() if any(n.partition(".")[0] == library for n in names)}
    assert knowing <= LIBRARIES[library]


def test_no_file_is_too_long_to_be_read():
    longest = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: lines for module, lines in longest.items() if lines > 400} == {}


def test_no_function_is_too_long_to_be_read():
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    trees = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}
    lengths = {
        f"{module}.{node.name}": node.end_lineno - node.lineno + 1
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, kinds) and node.end_lineno is not None
    }
    assert {name: lines for name, lines in lengths.items() if lines > 60} == {}


# What Python documents as settings of a process.
SETTINGS = {
    "sys.dont_write_bytecode",
    "sys.pycache_prefix",
    "sys.stderr",
    "sys.stdout",
    "sys.unraisablehook",
    "tempfile.tempdir",
}


def changed_libraries(source: str) -> set[str]:
    """Return the attributes of imported modules and classes that a source sets or deletes."""
    tree = ast.parse(source)
    foreign = {
        each.asname or each.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        or (isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("spotify_ml"))
        for each in node.names
    }
    changed = {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del)
    }
    calls = {
        ast.unparse(node.args[0]) + ".…"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("setattr", "delattr") and node.args
    }
    return {name for name in changed | calls if name.partition(".")[0] in foreign} - SETTINGS


@pytest.mark.parametrize("module", MODULES)
def test_no_library_is_changed_at_run_time_but_in_compat(module: str):
    if module != "spotify_ml.tracking.compat":
        assert changed_libraries(MODULES[module].read_text(encoding="utf-8")) == set()


def test_a_change_of_a_library_is_seen():
    planted = "import mlflow.models\nfrom xgboost import Booster\nmlflow.models.x = 1\nsetattr(Booster, 'f', None)"
    assert changed_libraries(planted) == {"mlflow.models.x", "Booster.…"}
