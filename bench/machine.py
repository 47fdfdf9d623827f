"""Describe the machine of a measurement, and nothing that tells it from others like it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

import psutil


def machine(busy: float) -> Mapping[str, str | int | float]:
    """Its usable cores, memory and versions. `busy` is the load average before the measurement began."""
    kernel = ".".join(platform.release().split(".")[:2])
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average_before": round(busy, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {kernel}",
    }
