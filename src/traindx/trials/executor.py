"""Where the jobs of a trial run: in this process, or in several that each rebuild the case.

Workers are spawned, hold one torch thread each, and are gone when the trial ends, however it ends: they are killed
with their whole process group when the pool closes, and end by themselves when their parent disappears.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from traindx.errors import CaseError
from traindx.trials.jobs import Job, JobResult, OnStep, run_job
from traindx.trials.reference import CaseReference
from traindx.trials.worker import serve

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from traindx.case import Case

__all__ = ["CaseReference", "Executor", "InProcess", "Pool"]

Report = Callable[[Job, int, int], None]
MayStart = Callable[[Job], bool]

ATTEMPTS = 2


class Executor(Protocol):
    """Runs jobs, yields their results as they come."""

    workers: int

    def run(self, jobs: Sequence[Job], report: Report, may_start: MayStart) -> Iterator[tuple[Job, JobResult]]:
        """Run jobs in order; those that ``may_start`` refuses are left out."""
        ...

    def close(self) -> None:
        """Free everything; safe to call twice."""
        ...


class Busy(Protocol):
    """A worker, and the job that it has."""

    job: Job | None


W = TypeVar("W", bound=Busy)


def shared_out(
    workers: Sequence[W],
    jobs: Sequence[Job],
    may_start: MayStart,
    give: Callable[[W, Job], None],
    wait_for: Callable[[Sequence[W]], None],
) -> Iterator[tuple[W, deque[Job]]]:
    """Give jobs in order to workers that have none, until all are done: each worker that is to be heard next.

    Args:
        workers: All of them; whoever hears one takes its job off it, or puts the job back among those that wait.
        jobs: In the order in which they are given; those that ``may_start`` refuses are left out.
        may_start: Asked when a worker is free.
        give: Starts a job on a worker.
        wait_for: Returns when a worker that has a job may have something to say.
    """
    waiting = deque(jobs)
    while True:
        for worker in workers:
            while worker.job is None and waiting:
                job = waiting.popleft()
                if may_start(job):
                    worker.job = job
                    give(worker, job)
        busy = [worker for worker in workers if worker.job is not None]
        if not busy:
            return
        wait_for(busy)
        for worker in busy:
            yield worker, waiting


def late(job: Job) -> JobResult:
    """The end of a job that was stopped after its deadline."""
    return JobResult(seed=job.seed, steps=job.steps, training=job.training, unfinished=True)


def died(job: Job, deaths: dict[str, int], how: str) -> JobResult | None:
    """What becomes of a job whose worker died: None if it is to be tried again, else its end.

    Args:
        job: The job.
        deaths: How many workers died of which job; counted up.
        how: What is known of the death.
    """
    deaths[job.key] = deaths.get(job.key, 0) + 1
    if deaths[job.key] < ATTEMPTS and time.time() < job.deadline:
        return None
    broke = f"the worker process died {deaths[job.key]} times, {how}"
    return JobResult(seed=job.seed, steps=job.steps, training=job.training, broke=broke, died=True)


def unbuildable(reference: CaseReference, why: str) -> CaseError:
    """A worker cannot build the case."""
    return CaseError(
        f"a worker process cannot build the case from {reference.loader}: {why}",
        expected="the reference builds the same case in a fresh process",
    )


class InProcess:
    """Runs jobs one after the other in this process, with the threads that it has."""

    workers = 1

    def __init__(self, case: Case) -> None:
        self._case = case

    def run(self, jobs: Sequence[Job], report: Report, may_start: MayStart) -> Iterator[tuple[Job, JobResult]]:
        """Run jobs in order; those that ``may_start`` refuses are left out."""
        for job in jobs:
            if may_start(job):
                yield job, run_job(self._case, job, on_step=_reporting(report, job))

    def close(self) -> None:
        """Nothing to free."""


def _reporting(report: Report, job: Job) -> OnStep:
    return lambda step, _: report(job, step, job.steps)


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    job: Job | None = None


class Pool:
    """Runs jobs in spawned processes.

    Args:
        reference: How a worker builds the case.
        workers: Number of processes.
        log: File that takes what workers print; nothing is kept without it.
        threads: Torch threads of a worker.
        grace: Seconds that one optimiser step or one batch of sampling may overrun a deadline before it is killed.
    """

    def __init__(
        self,
        reference: CaseReference,
        workers: int,
        log: Path | None = None,
        threads: int = 1,
        grace: float = 5.0,
    ) -> None:
        self.workers = workers
        self._reference = reference
        self._log = log
        self._threads = threads
        self._grace = grace
        self._context = multiprocessing.get_context("spawn")
        self._running: list[_Worker] = []

    def start(self) -> None:
        """Start the workers, so that they import torch and build the case while this process does other things."""
        while len(self._running) < self.workers:
            self._running.append(self._spawn())

    def run(self, jobs: Sequence[Job], report: Report, may_start: MayStart) -> Iterator[tuple[Job, JobResult]]:
        """Run jobs in order; those that ``may_start`` refuses are left out.

        A worker that dies is replaced and its job is tried once more; if that dies too the job is reported as broken.

        Raises:
            CaseError: A worker cannot build the case.
        """
        self.start()
        deaths: dict[str, int] = {}
        for worker, waiting in shared_out(self._running, jobs, may_start, self._give, self._wait):
            yield from self._hear(worker, report, waiting, deaths)

    @staticmethod
    def _give(worker: _Worker, job: Job) -> None:
        with contextlib.suppress(OSError):  # it died idle: found out when it is heard
            worker.connection.send(job)

    @staticmethod
    def _wait(busy: Sequence[_Worker]) -> None:
        wait([worker.connection for worker in busy], timeout=1.0)

    def _hear(
        self, worker: _Worker, report: Report, waiting: deque[Job], deaths: dict[str, int]
    ) -> Iterator[tuple[Job, JobResult]]:
        job = worker.job
        assert job is not None
        try:
            while worker.connection.poll():
                kind, content = worker.connection.recv()
                if kind == "step":
                    report(job, content, job.steps)
                elif kind == "failed":
                    raise unbuildable(self._reference, content)
                elif kind == "done":
                    worker.job = None
                    yield job, content
                    return
        except (EOFError, OSError):
            yield from self._mourn(worker, job, waiting, deaths)
            return
        if time.time() > job.deadline + self._grace:
            self._replace(worker)
            yield job, late(job)

    def _mourn(
        self, worker: _Worker, job: Job, waiting: deque[Job], deaths: dict[str, int]
    ) -> Iterator[tuple[Job, JobResult]]:
        worker.process.join(timeout=5)
        code = worker.process.exitcode or 0
        how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
        self._replace(worker)
        hint = "; out of memory?" if code == -signal.SIGKILL else ""
        again = died(job, deaths, f"last by {how}{hint}")
        if again is None:
            waiting.appendleft(job)
        else:
            yield job, again

    def close(self) -> None:
        """End all workers and whatever they started."""
        for worker in self._running:
            _kill(worker)
        self._running.clear()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _replace(self, worker: _Worker) -> None:
        _kill(worker)
        fresh = self._spawn()
        worker.process, worker.connection, worker.job = fresh.process, fresh.connection, None

    def _spawn(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=serve,
            args=(theirs, self._reference, self._threads, str(self._log) if self._log else None, os.getpid()),
            name="traindx-trial",
        )
        with _uninterrupted():  # inherited: a Ctrl-C while it imports must not print a traceback of its own
            process.start()
        theirs.close()  # so that the end of the worker closes the pipe
        return _Worker(process, ours)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let processes that are started in the block ignore Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _kill(worker: _Worker) -> None:
    """End a worker and its process group (its data loaders, for example)."""
    process = worker.process
    with contextlib.suppress(OSError):
        worker.connection.close()
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        if process.pid is not None:
            _signal(process.pid, number)
        process.join(timeout=2)
        if process.exitcode is not None and number != signal.SIGTERM:
            return


def _signal(pid: int, number: Any) -> None:
    """Signal a worker's own process group where it has one, else the worker."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg") and os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
