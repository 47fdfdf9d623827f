"""Run the program `saga`. Ctrl-C ends it silently, also while it is still being loaded."""

import signal

_AT_FIRST = signal.getsignal(signal.SIGINT)
if _AT_FIRST is signal.default_int_handler:  # a script's background job ignores the signal, which must stay so
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> None:
    """Load the command line and run it."""
    from cli import app
    from cli.interrupts import lose_none

    lose_none()
    signal.signal(signal.SIGINT, _AT_FIRST)
    app.main()


if __name__ == "__main__":
    main()
