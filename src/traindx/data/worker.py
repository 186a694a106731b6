"""``python -m traindx.data.worker``: inspects files until its input closes. Started by "
":mod:`traindx.data.pool`."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import warnings
from contextlib import suppress

from traindx.data import limits
from traindx.data.pool import work


def die_with_parent() -> None:
    """End when the parent does, however it ends (Linux): a decoder that hangs must not be left behind."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG, linux/prctl.h


def limit_memory() -> None:
    """A decoder that asks for more than three images of the largest size gets a MemoryError instead of the machine."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm", encoding="ascii") as pages:
            now = int(pages.read().split()[0]) * resource.getpagesize()
        most = now + 3 * limits.allowed() + (1 << 30)
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        if soft == resource.RLIM_INFINITY or soft > most:
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))


if __name__ == "__main__":
    die_with_parent()
    limit_memory()
    warnings.simplefilter("ignore")  # what is wrong with a file is in its report, once
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which closes the pipe
    # Answers go to a private copy of the pipe: a library that prints must not break the protocol.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    work(sys.stdin.buffer, answers)
