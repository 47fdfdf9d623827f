"""A message is added step by step, as docs/guide.md has it: type checker and unit tests name all that is left to do."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

HERE = Path(__file__).parent.parent.parent
COPIED = shutil.ignore_patterns(".*", "build", "deploy", "*.egg-info", "__pycache__")

# 1. The message itself.
CLASS = '''
@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentDisputed:
    """Event: the customer has called back what was captured."""

    order_id: OrderId
    reason: str


'''
# 2. Its name.
NAME = {
    "models/message_types.py type_of": """
        case PaymentDisputed():
            return EventType.PAYMENT_DISPUTED
""",
}
# 3. Whatever tells events apart.
TOLD_APART = {
    "models/message_types.py _class_and_route": """
        case EventType.PAYMENT_DISPUTED:
            return PaymentDisputed, Route(PAYMENTS_EXCHANGE, "payment.disputed")
""",
    "models/lifecycle.py stage_of": """
        case EventType.PAYMENT_DISPUTED:
            return Stage(PaymentStatus.REFUNDED, 1)
""",
    "models/lifecycle.py command_behind": """
        case EventType.PAYMENT_DISPUTED:
            return None
""",
    "choreography/topology.py _queues_of_reader": """
        case EventType.PAYMENT_DISPUTED:
            return (ORDER_QUEUE,)
""",
    "workflows/saga_steps.py _settling": """
        case EventType.PAYMENT_DISPUTED:
            return None
""",
    "stack/asyncapi.py sender_of": """
        case EventType.PAYMENT_DISPUTED:
            return "payment service"
""",
    "workflows/summaries.py summary": """
        case EventType.PAYMENT_DISPUTED:
            return f"Payment disputed{_because(payload.get('reason'))}."
""",
}
# 4. The order reacts to it.
DECIDED = {
    "models/order.py decide": """
        case PaymentDisputed():
            return _stale(order, OrderStatus.CANCELLED)
""",
}
# 5. What no type checker sees, but these tests do.
TESTED = {
    "test_message_types.py": {
        "test_the_specification_has_every_message_with_its_route",
        "test_the_order_service_reacts_to_what_an_order_decides_on",
        "test_a_service_hears_exactly_what_it_reacts_to",
        "test_the_audit_makes_lives_of_every_message_that_is_decided_on",
    },
    "test_messages.py": {"test_every_message_has_an_original_document_here"},
    "test_order.py": {"test_the_table_names_every_message_and_status"},
}


class Tree:
    """A copy of the sources, to be changed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def replace(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text()
        assert text.count(old) == 1, f"{path} has {text.count(old)} times {old!r}"
        (self.root / path).write_text(text.replace(old, new))

    def add_cases(self, cases: dict[str, str]) -> None:
        """Add each to the last `match` of the function that is named, before what must never happen."""
        for place, case in cases.items():
            path, function = place.split()
            lines = (self.root / path).read_text().splitlines()
            [node] = [each for each in self._functions(path) if each.name == function]
            never = max(n for n in range(node.lineno, node.end_lineno or 0) if "case _ as never" in lines[n])
            lines[never:never] = case.strip("\n").splitlines()
            (self.root / path).write_text("\n".join(lines) + "\n")

    def unchecked(self) -> set[str]:
        """The functions that the type checker complains of, each as `path name`."""
        found = subprocess.run(
            [sys.executable, "-m", "mypy", "--no-error-summary"], cwd=self.root, capture_output=True, text=True
        )
        assert found.returncode in (0, 1), found.stderr
        named = re.findall(r"^(.+?):(\d+): error: ", found.stdout, re.MULTILINE)
        return {f"{path} {self._function_at(path, int(line))}" for path, line in named}

    def failing(self, module: str) -> set[str]:
        """The unit tests of a module that fail."""
        found = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", f"tests/unit/{module}"],
            cwd=self.root,
            capture_output=True,
            text=True,
        )
        assert found.returncode in (0, 1), found.stdout
        return set(re.findall(r"^FAILED tests/unit/\w+\.py::(\w+)", found.stdout, re.MULTILINE))

    def _functions(self, path: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        tree = ast.parse((self.root / path).read_text())
        return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    def _function_at(self, path: str, line: int) -> str:
        around = [node for node in self._functions(path) if node.lineno <= line <= (node.end_lineno or 0)]
        return max(around, key=lambda node: node.lineno).name if around else f"line {line}"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    shutil.copytree(HERE, tmp_path / "copy", ignore=COPIED)
    if (cache := HERE / ".mypy_cache").is_dir():  # without it every check begins with all modules
        shutil.copytree(cache, tmp_path / "copy" / ".mypy_cache")
    return Tree(tmp_path / "copy")


def test_every_place_that_must_know_a_new_message_is_named(tree: Tree) -> None:
    assert tree.unchecked() == set()

    tree.replace("models/saga.py", "\nOrderEvent: TypeAlias", f"{CLASS}\nOrderEvent: TypeAlias".lstrip("\n"))
    tree.replace("models/saga.py", " | PaymentRefunded\nEvent:", " | PaymentRefunded | PaymentDisputed\nEvent:")
    assert tree.unchecked() == NAME.keys()

    tree.replace("models/message_types.py", "    PaymentDeclined,\n", "    PaymentDeclined,\n    PaymentDisputed,\n")
    refunded = '    PAYMENT_REFUNDED = "PaymentRefunded"\n'
    tree.replace("models/message_types.py", refunded, f'{refunded}    PAYMENT_DISPUTED = "PaymentDisputed"\n')
    tree.add_cases(NAME)
    assert tree.unchecked() == TOLD_APART.keys()

    tree.add_cases(TOLD_APART)
    assert tree.unchecked() == set()

    tree.replace("models/order.py", "    PaymentDeclined,\n", "    PaymentDeclined,\n    PaymentDisputed,\n")
    tree.replace("models/order.py", " | PaymentFailed\n)", " | PaymentFailed | PaymentDisputed\n)")
    assert tree.unchecked() == DECIDED.keys()

    tree.add_cases(DECIDED)
    assert tree.unchecked() == set()
    assert {module: tree.failing(module) for module in TESTED} == TESTED
