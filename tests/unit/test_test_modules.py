"""Test modules import no other test module: what they share is in tests/support."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, and the names that it imports from modules, since these may be modules."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively, which this test does not follow"
            yield str(node.module)
            yield from (f"{node.module}.{each.name}" for each in node.names)


def is_loaded_by_pytest(module: str) -> bool:
    """Whether pytest alone may load it: a test module, or a conftest."""
    name = module.rpartition(".")[2]
    return module.startswith("tests.") and (name.startswith("test_") or name == "conftest")


def pytest_modules_of(path: Path) -> list[str]:
    modules = {".".join(module.split(".")[:depth]) for module in imported(path) for depth in (2, 3, 4)}
    return sorted(module for module in modules if is_loaded_by_pytest(module))


def test_no_module_imports_a_test_module_or_a_conftest() -> None:
    found = {str(path): pytest_modules_of(path) for path in TESTS.rglob("*.py")}
    assert {path: modules for path, modules in found.items() if modules} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import tests.unit.test_order",
        "from tests.unit.test_order import TABLE",
        "from tests.unit import test_order",
        "from tests.conftest import servers",
        "from tests import conftest",
    ],
)
def test_an_import_of_a_test_module_is_noticed_in_every_form(line: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(line)
    assert len(pytest_modules_of(module)) == 1


def test_helpers_that_no_folder_of_tests_owns_are_in_support() -> None:
    assert {path.name for path in TESTS.glob("*.py")} == {"__init__.py", "conftest.py"}
