"""Shift the wall clock of a Python process by the seconds in the file CLOCK_SHIFT, again whenever that changes.

What the process then takes for the time is written beside it, for the test to see that it worked.
Python imports this module at start when its folder is on PYTHONPATH. Monotonic clocks go on as they are, as they do
when somebody sets a machine's time.
"""

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import time_machine

_EVERY = 0.02  # seconds


def _follow(file: Path) -> None:
    offset = time.time() - time.monotonic()
    traveller = time_machine.travel(time.time(), tick=True)
    coordinates = traveller.start()
    shift = 0.0
    while True:
        wanted = float(file.read_text() or 0)
        if wanted != shift:
            shift = wanted
            coordinates.move_to(offset + time.monotonic() + shift)
            draft = file.with_suffix(".draft")
            draft.write_text(datetime.now(UTC).isoformat())
            draft.rename(file.with_suffix(".seen"))
        time.sleep(_EVERY)


threading.Thread(target=_follow, args=[Path(os.environ["CLOCK_SHIFT"])], daemon=True).start()
