"""Heed a Ctrl-C that comes while Python runs a callback of its own, such as that of a weak reference."""

from __future__ import annotations

import signal
import sys
import threading

_A_MOMENT = 0.01  # seconds, in which the callback ends


def lose_none() -> None:
    """Have such a Ctrl-C come again a moment later. Python would print a traceback, and go on."""
    sys.unraisablehook = _come_again


def _come_again(unraisable: sys.UnraisableHookArgs) -> None:
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    again = threading.Timer(_A_MOMENT, _interrupt)
    again.daemon = True
    again.start()


def _interrupt() -> None:
    """Send the signal anew, which also ends a sleep of the main thread. Nothing happens if nobody handles it by now."""
    main = threading.main_thread().ident
    if main is not None and callable(signal.getsignal(signal.SIGINT)):
        signal.pthread_kill(main, signal.SIGINT)
