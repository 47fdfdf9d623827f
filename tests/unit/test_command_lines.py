"""Every command of `saga` and every option has a test that runs it on a real stack."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from cli.app import app
from tests.support.stack import FINDERS

TESTS = Path(__file__).parent.parent
# What runs `saga` on real stacks.
SUPPORT = [TESTS / "support" / f"{name}.py" for name in ("operating", "stack", "world")]
FILES = [*TESTS.glob("e2e/*.py"), TESTS / "contrast" / "test_saga_contrast.py", *SUPPORT]

ROOT: Any = typer.main.get_command(app)


def commands(command: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command by its path; that of the program itself is empty."""
    if not path or not hasattr(command, "commands"):
        yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*path, name))


def written() -> Iterator[list[str]]:
    """The texts of every call and list in the tests, in their order."""
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call | ast.List):
                parts = node.args if isinstance(node, ast.Call) else node.elts
                yield [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def exercised() -> set[tuple[tuple[str, ...], str]]:
    """Each command with each option that a command line in the tests gives it, and with "" for itself."""
    known = {path for path, _ in commands()}
    found: set[tuple[tuple[str, ...], str]] = set()
    for words in [*written(), *([*each, "--data", "--port-offset"] for each in FINDERS)]:
        for start in range(len(words)):
            for length in (0, 1, 2):
                path, rest = tuple(words[start : start + length]), words[start + length :]
                if path in known and (path or rest[:1] == ["--version"]):
                    found |= {(path, ""), *((path, word) for word in rest if word.startswith("-"))}
    return found


def test_every_command_and_option_is_run_on_a_real_stack() -> None:
    done = exercised()
    left_out = []
    for path, command in commands():
        wanted = [option.opts for option in command.params if option.param_type_name == "option"]
        left_out += [(path, names[0]) for names in wanted if not any((path, name) in done for name in names)]
        left_out += [(path, "")] if path and (path, "") not in done else []
    assert left_out == []


def test_a_command_line_that_is_missing_is_noticed() -> None:
    done = exercised()
    assert (("order", "list"), "--page") in done
    assert (("order", "list"), "--nosuch") not in done
    assert (("order", "nosuch"), "") not in done
