"""Raise the limits that the system sets for a process."""

from __future__ import annotations

import resource


def raise_file_limit(at_most: int | None = None) -> int:
    """Allow this process and its children as many open files as the system permits. Returns the number.

    Each connection is an open file. `at_most` bounds the number: the system's own limit may be a thousand million, and
    some servers reserve memory for all of them.
    """
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most if at_most is None else max(now, min(most, at_most))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted
