"""Worker processes that survive what files do to them.

Workers are plain subprocesses that talk over pipes: the caller's main module is not imported again (a script that calls
:func:`traindx.data.verify` needs no ``__main__`` guard), no lock of the caller is inherited, and a decoder that
crashes on a broken file takes only its own process down: the portion is tried again file by file, and the culprit is
reported as unreadable.
"""

from __future__ import annotations

import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import IO, Any

import numpy as np

from traindx.data import limits
from traindx.data.facts import Report
from traindx.data.inspect import inspect_file
from traindx.data.layout.naming import Naming
from traindx.data.reading import printable
from traindx.errors import TraindxError

READY = "traindx worker"

Portion = list[str]
Result = tuple[list[Report], dict[str, Any]]


PATIENCE = 300.0
"""Seconds for which a worker may be silent over a portion, and over one file when it is tried alone."""

SLOWEST = 1 << 20
"""Bytes a second that a reader must make on top: a large file on a slow disk is not a hang."""


def inspect_all(root: str, portions: Iterable[Portion], workers: int, naming: Naming | None = None) -> Iterator[Result]:
    """Inspect portions of files in worker processes.

    Args:
        root: The data folder.
        portions: Lists of paths relative to it.
        workers: Number of processes; 0 works in this one.
        naming: Roles that a layout or the user gives to files.

    Yields:
        Reports and grey-value histograms by set, a portion at a time, in the order in which they are done.
    """
    if workers <= 0:
        for portion in portions:
            yield _inspect_portion(root, portion, naming)
        return
    # Short queues: at most two portions a worker wait in memory, whatever the number of files.
    todo: queue.Queue[Portion | None] = queue.Queue(maxsize=workers)
    done: queue.Queue[Result | BaseException | None] = queue.Queue(maxsize=2 * workers)
    stop = threading.Event()
    threads = [
        threading.Thread(
            target=_serve, args=(root, naming, workers, todo, done, stop), daemon=True, name=f"traindx-data-{number}"
        )
        for number in range(workers)
    ]
    feeder = threading.Thread(target=_feed, args=(portions, todo, done, workers, stop), daemon=True)
    for thread in (*threads, feeder):
        thread.start()
    running = workers
    try:
        while running:
            result = done.get()
            if result is None:
                running -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result
    finally:
        stop.set()
        _drain(todo)
        _drain(done)
        for thread in threads:
            thread.join(timeout=10)


def _feed(
    portions: Iterable[Portion],
    todo: queue.Queue[Portion | None],
    done: queue.Queue[Any],
    workers: int,
    stop: threading.Event,
) -> None:
    try:
        for portion in portions:
            if not _put(todo, portion, stop):
                return
    except BaseException as error:
        _put(done, error, stop)
    for _ in range(workers):
        _put(todo, None, stop)


def _put(target: queue.Queue[Any], item: Any, stop: threading.Event) -> bool:
    """Put, but give up when the reader has gone."""
    while not stop.is_set():
        try:
            target.put(item, timeout=0.2)
        except queue.Full:
            continue
        return True
    return False


def _drain(source: queue.Queue[Any]) -> None:
    while True:
        try:
            source.get_nowait()
        except queue.Empty:
            return


def _serve(
    root: str,
    naming: Naming | None,
    processes: int,
    todo: queue.Queue[Portion | None],
    done: queue.Queue[Any],
    stop: threading.Event,
) -> None:
    """One thread: hands portions to its own process, replaces the process when it dies."""
    worker = _Worker(root, naming, processes)
    try:
        while not stop.is_set():
            try:
                portion = todo.get(timeout=0.2)
            except queue.Empty:
                continue
            if portion is None:
                break
            result = worker.ask(portion)
            if result is None:
                result = _one_by_one(worker, portion)
            _put(done, result, stop)
    except BaseException as error:
        _put(done, error, stop)
    finally:
        worker.close()
        _put(done, None, stop)


def _one_by_one(worker: _Worker, portion: Portion) -> Result:
    """Find the file that kills the process."""
    reports: list[Report] = []
    histograms: dict[str, Any] = {}
    for name in portion:
        result = worker.ask([name])
        if result is None:
            reason = f"the decoder crashed on it ({worker.last_words})"
            reports.append(Report(printable(name), "unreadable", reason=reason))
            continue
        reports += result[0]
        for key, counts in result[1].items():
            histograms[key] = counts if key not in histograms else histograms[key] + counts
    return reports, histograms


class _Worker:
    """A process that inspects portions; it is started again when it has died."""

    def __init__(self, root: str, naming: Naming | None = None, processes: int = 1) -> None:
        self.root = root
        self.naming = naming
        self.processes = processes
        self.last_words = ""
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, portion: Portion) -> Result | None:
        """Reports on a portion, or None where the process died of it.

        Raises:
            TraindxError: A process cannot even be started.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump((self.root, portion, self.naming), process.stdin, protocol=5)
            process.stdin.flush()
            late = not _answers(process.stdout, self._patience(portion))
            result: Result = plain_load(process.stdout) if not late else ([], {})
        except (EOFError, OSError, pickle.UnpicklingError):
            code = process.wait()
            self._process = None
            self.last_words = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return None
        if late:
            process.kill()
            process.wait()
            self._process = None
            self.last_words = f"no answer for {PATIENCE:.0f} s"
            return None
        reports, counts = result
        return reports, {name: np.asarray(values) for name, values in counts.items()}

    def _patience(self, portion: Portion) -> float:
        size = 0
        for name in portion:
            with suppress(OSError):
                size += os.path.getsize(os.path.join(self.root, name) if name != "." else self.root)
        return PATIENCE + size / SLOWEST

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            assert self._process.stdin is not None
            try:
                self._process.stdin.close()
                self._process.wait(timeout=5)
            except (OSError, subprocess.TimeoutExpired):
                self._process.kill()
                self._process.wait()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[variable] = "1"  # the processes are the parallelism
        environment[limits.PROCESSES] = str(self.processes)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "traindx.data.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
            assert process.stdout is not None
            ready = plain_load(process.stdout) == READY
        except (OSError, EOFError, pickle.UnpicklingError):
            ready = False
        if not ready:
            raise TraindxError("a worker process cannot be started", do="read its message above, or use `--workers 0`")
        self._process = process
        return process


def _inspect_portion(root: str, portion: Portion, naming: Naming | None = None) -> Result:
    histograms: dict[str, Any] = {}
    root_name = os.path.basename(os.path.abspath(root))
    reports = [
        report
        for name in portion
        for report in inspect_file(root, name, histograms, root_name=root_name, naming=naming)
    ]
    return reports, {name: [int(count) for count in counts] for name, counts in histograms.items()}


class _Plain(pickle.Unpickler):
    """Unpickles numbers, text, lists, reports and namings, and nothing that could run code.

    A decoder that a hostile file has taken over writes into the pipe what it likes.
    """

    def find_class(self, module: str, name: str) -> Any:
        for kind in (Report, Naming):
            if (module, name) == (kind.__module__, kind.__name__):
                return kind
        raise pickle.UnpicklingError(f"{module}.{name} does not belong here")


def plain_load(stream: IO[bytes]) -> Any:
    """One object of plain data from a pipe."""
    return _Plain(stream).load()


def _answers(stream: IO[bytes], seconds: float) -> bool:
    """True once there is something to read (Windows cannot wait for a pipe: always true there)."""
    if os.name == "nt":
        return True
    ready, _, _ = select.select([stream], [], [], seconds)
    return bool(ready)


def work(source: IO[bytes], target: IO[bytes]) -> None:
    """Say that the process is up, then answer requests until the pipe closes."""
    pickle.dump(READY, target, protocol=5)
    target.flush()
    while True:
        try:
            root, portion, naming = plain_load(source)
        except EOFError:
            return
        pickle.dump(_inspect_portion(root, portion, naming), target, protocol=5)
        target.flush()
