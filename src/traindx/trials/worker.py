"""What a worker process does: build the case once, run jobs until told to stop, end when the parent is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection

from traindx.trials.jobs import Job, describe_error, run_job
from traindx.trials.reference import CaseReference

# often enough for a smooth progress bar, seldom enough to cost nothing
REPORT_SECONDS = 0.5


def serve(connection: Connection, reference: CaseReference, threads: int, log: str | None, parent: int) -> None:
    """Serve jobs over a connection.

    Messages out: ``("step", n)``, ``("done", JobResult)``, ``("failed", why)``. Messages in: a :class:`Job`, or None to
    end.

    Args:
        connection: Pipe to the parent.
        reference: How to build the case.
        threads: Torch threads.
        log: File that takes what the user's code prints; it must not mix with the parent's standard output.
        parent: Process id of the parent.
    """
    _detach(log)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    try:
        case = reference.build()
    except Exception as error:
        connection.send(("failed", describe_error(error)))
        return
    while True:
        try:
            job: Job | None = connection.recv()
        except (EOFError, OSError):
            return
        if job is None:
            return
        last = time.monotonic()

        def on_step(step: int, _: float) -> None:
            nonlocal last
            if time.monotonic() - last > REPORT_SECONDS:
                last = time.monotonic()
                connection.send(("step", step))

        connection.send(("done", run_job(case, job, on_step=on_step)))


def _detach(log: str | None) -> None:
    """Leave the terminal alone: no Ctrl-C (the parent decides), no output, a process group of our own."""
    with contextlib.suppress(AttributeError, OSError):
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdout.flush()
    for stream in (1, 2):
        os.dup2(target, stream)


def _end_with(parent: int) -> None:
    """End this process, and whatever it started, when the parent is gone: no orphans after a kill."""
    while True:
        if os.getppid() != parent:
            with contextlib.suppress(AttributeError, OSError):
                os.killpg(os.getpgrp(), signal.SIGKILL)
            os._exit(1)
        time.sleep(0.5)
