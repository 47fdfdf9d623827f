"""Ctrl-C ends a command, whatever Python is doing at that moment."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import signal, time, weakref
from cli.interrupts import lose_none

class Thing: pass

lose_none()
thing = Thing()
watch = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
began = time.monotonic()
try:
    del thing
    time.sleep(50)
except KeyboardInterrupt:
    print("interrupted", "at once" if time.monotonic() - began < 25 else "late")
"""


def test_an_interrupt_in_a_callback_comes_again_without_a_traceback() -> None:
    ran = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "interrupted at once\n", "")


def test_any_other_error_in_a_callback_is_told() -> None:
    code = CODE.replace("signal.raise_signal(signal.SIGINT)", "1 / 0").replace("time.sleep(50)", "pass")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "ZeroDivisionError" in ran.stderr
