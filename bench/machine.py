"""Say on what machine something was measured, and nothing that would tell it from others like it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

import psutil


def machine(busy: float) -> Mapping[str, str | int | float]:
    """Cores that may be used, memory, versions; `busy` is the load average before anything began."""
    kernel = ".".join(platform.release().split(".")[:2])
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average_before": round(busy, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {kernel}",
    }
