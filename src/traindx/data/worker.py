"""``python -m traindx.data.worker``: inspects files until its input closes. Started by "
":mod:`traindx.data.pool`."""

from __future__ import annotations

import os
import signal
import sys

from traindx.data.pool import work

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which closes the pipe
    # Answers go to a private copy of the pipe: a library that prints must not break the protocol.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    work(sys.stdin.buffer, answers)
