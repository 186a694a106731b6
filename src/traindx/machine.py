"""What this machine gives a process."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Processors that this process may use; a container or a job scheduler often gives fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
