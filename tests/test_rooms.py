"""The house rules that a machine can keep: who may import whom, how long a file may be, what a file may be called."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("gateway", "lua", "reconciler", "deploy", "tests")
LINES_MAX = 400
FUNCTION_LINES_MAX = 70
HEADER_LABELS = ("Returns", "Writes", "Cost")
NAMES_NOT_UNDERSTOOD = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "base",
    "manager",
    "service",
}
SPELLS_KEYS = "lua/keys.py"


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository; those not yet committed too, those ignored not."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        found = [ROOT / line for line in listed.stdout.splitlines()]
    else:
        suffixes = tuple(pattern.lstrip("*") for pattern in patterns)
        found = [path for room in ROOMS for path in (ROOT / room).rglob("*")]
        found = [path for path in found if path.name.endswith(suffixes)]
    return sorted(path for path in found if path.exists())


PYTHON = tracked("*.py")
NAMES = [str(path.relative_to(ROOT)) for path in PYTHON]
PARSED: dict[str, ast.Module] = {}


def tree_of(name: str) -> ast.Module:
    if name not in PARSED:
        PARSED[name] = ast.parse((ROOT / name).read_text())
    return PARSED[name]


def imports_of(name: str) -> Iterator[str]:
    """The dotted names a file imports, however deep inside it."""
    package = Path(name).parent.parts
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, node.module or "")).strip(".")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def within(imported: str, *packages: str) -> bool:
    return any(imported == package or imported.startswith(f"{package}.") for package in packages)


def room_files(*folders: str) -> list[str]:
    return [name for name in NAMES if name.startswith(tuple(f"{folder}/" for folder in folders))]


@pytest.mark.parametrize("name", room_files("gateway/pricing"))
def test_pricing_imports_the_standard_library_and_itself(name: str) -> None:
    for imported in imports_of(name):
        allowed = imported.split(".")[0] in sys.stdlib_module_names
        assert allowed or within(imported, "gateway.pricing"), f"{name} imports {imported}"


@pytest.mark.parametrize("name", room_files("lua"))
def test_lua_imports_the_standard_library_and_itself(name: str) -> None:
    for imported in imports_of(name):
        allowed = imported.split(".")[0] in sys.stdlib_module_names
        assert allowed or within(imported, "lua"), f"{name} imports {imported}"


@pytest.mark.parametrize("name", room_files("gateway"))
def test_the_gateway_knows_neither_postgres_nor_the_reconciler(name: str) -> None:
    for imported in imports_of(name):
        assert not within(imported, "psycopg", "psycopg_pool", "reconciler", "deploy"), (
            f"{name} imports {imported}"
        )


@pytest.mark.parametrize("name", room_files("reconciler"))
def test_the_reconciler_knows_nothing_of_the_gateway_but_pricing(name: str) -> None:
    for imported in imports_of(name):
        assert not within(imported, "deploy"), f"{name} imports {imported}"
        if within(imported, "gateway"):
            assert within(imported, "gateway.pricing") or imported == "gateway", (
                f"{name} imports {imported}"
            )


@pytest.mark.parametrize("name", room_files("gateway", "lua", "reconciler", "deploy"))
def test_nothing_that_runs_imports_the_tests(name: str) -> None:
    assert not any(within(imported, "tests", "pytest") for imported in imports_of(name))


@pytest.mark.parametrize(
    "path", [str(p.relative_to(ROOT)) for p in tracked("*.py", "*.lua") if "tests" not in p.parts]
)
def test_a_file_tells_one_story_of_at_most_400_lines(path: str) -> None:
    assert len((ROOT / path).read_text().splitlines()) <= LINES_MAX


@pytest.mark.parametrize("name", room_files("gateway", "lua", "reconciler", "deploy"))
def test_a_function_has_at_most_70_lines(name: str) -> None:
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{name}: {node.name} has {length} lines"


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_named_by_a_noun_of_the_domain(name: str) -> None:
    assert not NAMES_NOT_UNDERSTOOD & set(Path(name).with_suffix("").parts)


@pytest.mark.parametrize("name", room_files("gateway", "reconciler", "deploy"))
def test_only_keys_py_spells_a_redis_key(name: str) -> None:
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            spelled = re.match(r"tg:[a-z{]", node.value)
            assert spelled is None, f"{name}:{node.lineno} spells a key; {SPELLS_KEYS} does that"


@pytest.mark.parametrize("name", room_files("gateway/pricing"))
def test_no_float_comes_near_a_quantity_or_an_amount(name: str) -> None:
    tree = tree_of(name)
    # How alike two words must be is a number, but neither a quantity nor an amount.
    likeness = {
        id(word.value)
        for word in ast.walk(tree)
        if isinstance(word, ast.keyword) and word.arg == "cutoff"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            assert id(node) in likeness, f"{name}:{node.lineno} has a float"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "float", f"{name}:{node.lineno} makes a float"


@pytest.mark.parametrize(
    "path", [str(p.relative_to(ROOT)) for p in tracked("*.lua") if "lib" not in p.parts]
)
def test_a_script_says_what_it_returns_writes_and_costs(path: str) -> None:
    text = (ROOT / path).read_text()
    name = Path(path).stem
    assert re.match(rf"-- {name}: \S", text), f"{path} must begin with `-- {name}: one sentence`"
    for label in HEADER_LABELS:
        assert re.search(rf"^-- {label}\b", text, re.M), f"{path} does not say what it {label}"


@pytest.mark.parametrize("path", [str(p.relative_to(ROOT)) for p in tracked("*.lua")])
def test_a_script_keeps_numbers_exact(path: str) -> None:
    code = re.sub(r"--.*", "", (ROOT / path).read_text())
    found = re.search(r"\b(cjson|cmsgpack|tostring|struct)\b", code)
    assert found is None, f"{path} uses {found[0] if found else ''}"


def test_sql_is_written_in_sql_files() -> None:
    statement = re.compile(
        r"\s*(SELECT\s.*\sFROM|INSERT\s+INTO|UPDATE\s.*\sSET|DELETE\s+FROM|CREATE\s+TABLE)\s",
        re.I | re.S,
    )
    for name in room_files("gateway", "reconciler"):
        for node in ast.walk(tree_of(name)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not statement.match(node.value), f"{name}:{node.lineno} has SQL in it"
