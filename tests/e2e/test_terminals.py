"""The command `saga` copes with every kind of output, and with Ctrl-C at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embedded import state
from tests.support.ports import OFFSET
from tests.support.stack import Stack, dead_letters, publish, terminal
from tests.support.waiting import until

SAGA = str(Path(sys.executable).parent / "saga")
FOREIGN = "poison: ü€😀"
# Commands one after the other in one process, as a terminal shows them.
ALL_IN_ONE = """
import json, sys
from cli.app import app
for arguments in json.loads(sys.argv[1]):
    app(arguments, standalone_mode=False)
"""


@pytest.fixture(scope="module")
def paid(stack: Stack) -> str:
    created = stack.json("order", "create", "--total", "7", "--payment-method", "pm_card_visa", "--wait", "20")
    return str(created["id"])


@pytest.fixture(scope="module")
def foreign(stack: Stack) -> Iterator[str]:
    """The id of a dead letter whose body no old encoding can write."""
    publish(stack, "payment.approved", FOREIGN.encode())
    ids = until(lambda: [letter["id"] for letter in dead_letters(stack) if letter["body"] == FOREIGN])
    yield ids[0]
    stack.saga("dead-letters", "discard", "--all", "--yes")


def shell(command: str, stack: Stack, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line in bash, with `saga` as a function and `$data` as the options for the stack."""
    prelude = f"set -o pipefail; saga() {{ {SAGA} \"$@\"; }}; data='--data {stack.data}'; "
    return subprocess.run(
        ["bash", "-c", prelude + command], capture_output=True, timeout=60, env={**os.environ, **environ}, check=False
    )


OLD = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


@pytest.mark.parametrize("columns", ["0", "1", "-5", "wide", "99999999", "9" * 5000])
def test_a_terminal_of_absurd_width_is_written_to_at_once(stack: Stack, columns: str) -> None:
    shown = shell("saga --help && saga status $data", stack, COLUMNS=columns)
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert len(shown.stdout) < 1_000_000


@pytest.mark.parametrize("environ", OLD, ids=lambda environ: " ".join(environ.values()))
def test_everything_is_written_in_every_encoding(stack: Stack, foreign: str, environ: dict[str, str]) -> None:
    commands = [
        ("saga --help", 0),
        (f"saga doctor $data --port-offset {stack.offset}", 0),
        ("saga order create --total 1 --currency €€€ $data", 1),
        (f"saga dead-letters show {foreign} $data", 0),
        ("saga status --data $'/nowhere/€\\xff'", 1),
        ("saga --nosuch €", 2),
    ]
    encoding = environ.get("PYTHONIOENCODING", "ascii")
    with ThreadPoolExecutor(max_workers=3) as pool:
        for (command, code), done in zip(
            commands, pool.map(lambda each: shell(each[0], stack, **environ), commands), strict=True
        ):
            said = done.stdout.decode(encoding) + done.stderr.decode(encoding)
            assert (done.returncode, "Traceback" in said) == (code, False), (command, said)


@pytest.mark.parametrize("environ", OLD, ids=lambda environ: " ".join(environ.values()))
def test_json_keeps_what_the_encoding_lacks(stack: Stack, foreign: str, environ: dict[str, str]) -> None:
    shown = shell(f"saga dead-letters show {foreign} --json $data", stack, **environ).stdout
    assert json.loads(shown.decode(environ.get("PYTHONIOENCODING", "ascii")))["body"] == FOREIGN


@pytest.mark.parametrize(
    ("command", "code", "complaint"),
    [
        ("saga events list --limit 1000 $data | true", 141, ""),
        ("saga --help | true", 141, ""),
        ("saga status $data > /dev/full", 74, "saga: Standard output cannot be written: No space left on device\n"),
        ("saga audit $data > /dev/full", 74, "saga: Standard output cannot be written: No space left on device\n"),
        ("saga --version > /dev/full", 74, "saga: Standard output cannot be written: No space left on device\n"),
        ("saga order list $data >&-", 74, "saga: Standard output cannot be written: it is closed\n"),
        ("saga dead-letters list $data <&- >&- 2>&-", 74, ""),
        ("saga order get 12 2> /dev/full", 1, ""),
    ],
)
def test_an_output_that_is_full_or_closed_is_told_without_a_traceback(
    stack: Stack, command: str, code: int, complaint: str
) -> None:
    done = shell(command, stack)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (code, b"", complaint)


def in_terminal(columns: int, arguments: list[str]) -> str:
    """The output of a program in a terminal of this width."""
    ours, theirs = terminal(columns)
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        arguments, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env={**environ, "NO_COLOR": "1"}
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            seen += os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return seen.decode().replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\r", "")


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_tables_fit_the_terminal_and_split_no_word(stack: Stack, paid: str, foreign: str, columns: int) -> None:
    where = ["--data", str(stack.data)]
    commands = [
        ["order", "list", *where],
        ["order", "timeline", paid, *where],
        ["events", "list", "--order", paid, *where],
        ["dead-letters", "list", *where],
        ["status", *where],
    ]
    program = [sys.executable, "-c", ALL_IN_ONE, json.dumps(commands)]
    piped = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True).stdout

    shown = in_terminal(columns, program)

    assert max(map(len, shown.splitlines())) <= columns
    whole = {*piped.split(), "event", "logs)", "workflow)"}  # a timeline may be told by either
    times = {word[5:10] for word in whole} | {f"{word[11:19]}Z" for word in whole}
    ids = {word[:8] for word in whole}  # of dead letters
    split = {word for word in shown.split() if word not in whole | times | ids and not word.endswith("…")}
    assert {word for word in split if not set(word) <= {"─"}} == set()
    assert paid in shown


def test_following_an_order_fits_a_narrow_terminal(stack: Stack, paid: str) -> None:
    shown = in_terminal(60, [SAGA, "order", "watch", paid, "--data", str(stack.data)])
    assert "OrderPaid" in shown
    assert "Order paid." in shown


# Ctrl-C

INTERRUPTED = """
import os, signal, sys, threading
import cli.__main__
threading.Timer({after}, os.kill, (os.getpid(), signal.SIGINT)).start()
cli.__main__.main()
"""


@pytest.mark.parametrize("arguments", [["audit"], ["dead-letters", "list"]], ids=" ".join)
def test_ctrl_c_is_never_a_traceback(stack: Stack, arguments: list[str]) -> None:
    """Ctrl-C may come while the program is loaded, while it runs, or while it ends."""

    def interrupted(after: float) -> tuple[int, str]:
        program = [sys.executable, "-c", INTERRUPTED.format(after=after), *arguments, "--data", str(stack.data)]
        done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    with ThreadPoolExecutor(max_workers=3) as pool:
        ends = set(pool.map(interrupted, (0.0, 0.1, 0.2, 0.4, 0.7)))
    assert ends <= {(0, ""), (130, ""), (-signal.SIGINT, "")}
    assert ends != {(0, "")}


def test_ctrl_c_ends_a_watch_and_leaves_the_order_alone(stack: Stack) -> None:
    created = stack.json("order", "create", "--total", "7", "--payment-method", "pm_slow")
    watch = subprocess.Popen(
        [SAGA, "order", "watch", created["orderId"], "--data", str(stack.data)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watch.stdout is not None
    assert "OrderCreated" in watch.stdout.readline()
    watch.send_signal(signal.SIGINT)
    _, errors = watch.communicate(timeout=30)
    assert (watch.returncode, errors) == (130, "")
    assert stack.json("order", "get", created["orderId"])["status"] != "CANCELLED"


def test_ctrl_c_stops_what_a_detached_start_has_begun(tmp_path: Path) -> None:
    start = subprocess.Popen(
        [SAGA, "up", "--detach", "--data", str(tmp_path), "--port-offset", str(OFFSET + 400)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: state.running(tmp_path), within=60, what="its first server is started")
    start.send_signal(signal.SIGINT)
    _, errors = start.communicate(timeout=60)
    assert (start.returncode, errors) == (130, "")
    assert state.running(tmp_path) is None
