"""What the system lets a process have."""

from __future__ import annotations

import resource


def raise_file_limit(at_most: int | None = None) -> int:
    """Allow this process, and those that it starts, as many open files as the system lets it have, and say how many.

    Each connection is one. `at_most` is for whom the system's own limit, which may be a thousand million, is too much.
    """
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most if at_most is None else max(now, min(most, at_most))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted
