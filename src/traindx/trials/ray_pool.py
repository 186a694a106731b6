"""Jobs of a trial on a Ray cluster: one actor a worker, which builds the case once and runs jobs until it is freed.

The trainings are those of :class:`~traindx.trials.executor.Pool`, seed for seed and thread for thread, so the figures
are the same. An actor that dies is replaced and its job tried once more.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindx import extras
from traindx.errors import CaseError, UsageError
from traindx.trials.executor import MayStart, Report, died, late, shared_out, unbuildable
from traindx.trials.jobs import Job, JobResult, describe_error, run_job
from traindx.trials.reference import CaseReference

if TYPE_CHECKING:
    from traindx.case import Case

__all__ = ["RayPool", "address_of", "join_cluster"]

PREFIX = "ray"
POLL_SECONDS = 1.0
START_SECONDS = 120.0  # for a worker to import torch and build the case


def address_of(executor: str) -> str | None:
    """Address of the cluster that ``ray`` (a local one, empty) or ``ray:ADDRESS`` names; None for ``processes``.

    Raises:
        UsageError: It is neither.
    """
    name, _, address = executor.partition(":")
    if executor == "processes":
        return None
    if name != PREFIX:
        raise UsageError(f"--executor {executor!r} is not known", expected="processes, ray or ray:ADDRESS")
    return address


def join_cluster(ray: Any, address: str, processors: int, environment: dict[str, Any] | None) -> bool:
    """Join a cluster, or start one on this machine.

    Args:
        ray: The library.
        address: Of the cluster; empty for a local one.
        processors: Of a local one.
        environment: What workers need beside what is installed; see Ray's documentation of runtime environments.

    Returns:
        Whether it is for the caller to leave: False where this process had joined one before.

    Raises:
        UsageError: There is none.
    """
    if ray.is_initialized():
        return False
    local = {} if address else {"num_cpus": processors, "include_dashboard": False}
    try:
        ray.init(
            address=address or "local", log_to_driver=False, logging_level="ERROR", runtime_env=environment, **local
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"no Ray cluster at {address or 'this machine'}: {error}", expected="the address of its head"
        ) from error
    return True


class Server:
    """What an actor does; its methods are called from the trial."""

    def __init__(self, reference: CaseReference, threads: int) -> None:
        self.reference, self.threads = reference, threads
        self.case: Case | None = None
        self.step = 0

    def build(self) -> tuple[int, str]:
        """Build the case: the process it is in, and why it cannot be built, or empty."""
        try:
            self.case = self.reference.build()
        except Exception as error:
            return os.getpid(), describe_error(error)
        return os.getpid(), ""

    def progress(self) -> int:
        """Optimiser steps of the training that is running."""
        return self.step

    def run(self, job: Job) -> JobResult:
        """Run one job."""
        import torch

        assert self.case is not None
        torch.set_num_threads(self.threads)  # of the thread that runs it, which need not be the one that built the case
        self.step = 0

        def on_step(step: int, _: float) -> None:
            self.step = step

        return run_job(self.case, job, on_step=on_step)


@dataclass
class _Worker:
    actor: Any
    process: int
    job: Job | None = None
    result: Any = None


class RayPool:
    """Runs jobs in the actors of a Ray cluster.

    Args:
        reference: How a worker builds the case.
        workers: Number of actors.
        address: Of the cluster; empty for a local one, which lives as long as the pool. The nodes of another need this
            version of traindx and what the case imports; the folder of a case that is a file is sent there.
        threads: Torch threads of a worker, which asks the cluster for as many processors.
        accelerators: Each worker asks for one, too.
        grace: Seconds that one optimiser step or one batch of sampling may overrun a deadline before it is killed.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(
        self,
        reference: CaseReference,
        workers: int,
        address: str = "",
        threads: int = 1,
        grace: float = 5.0,
        accelerators: bool = False,
    ) -> None:
        extras.require("cluster", "--executor ray")
        import ray

        self.workers = workers
        self._ray: Any = ray
        self._address, self._threads, self._grace = address, threads, grace
        self._accelerators = int(accelerators)
        self._reference = reference
        self._environment: dict[str, Any] | None = None
        if address:
            self._reference, self._environment = sent(reference)
        self._running: list[_Worker] = []
        self._ours = False

    def start(self) -> None:
        """Join the cluster, and start the workers.

        Raises:
            CaseError: A worker cannot build the case, or the cluster gives none.
            UsageError: There is no such cluster.
        """
        self._ours = self._ours or join_cluster(
            self._ray, self._address, self.workers * self._threads, self._environment
        )
        waiting = [self._actor() for _ in range(self.workers - len(self._running))]
        self._running += [self._built(actor) for actor in waiting]

    def run(self, jobs: Sequence[Job], report: Report, may_start: MayStart) -> Iterator[tuple[Job, JobResult]]:
        """Run jobs in order; those that ``may_start`` refuses are left out.

        Raises:
            CaseError: A worker cannot build the case.
        """
        self.start()
        deaths: dict[str, int] = {}
        for worker, waiting in shared_out(self._running, jobs, may_start, self._give, self._wait):
            yield from self._hear(worker, report, waiting, deaths)

    @staticmethod
    def _give(worker: _Worker, job: Job) -> None:
        worker.result = worker.actor.run.remote(job)

    def _wait(self, busy: Sequence[_Worker]) -> None:
        self._ray.wait([worker.result for worker in busy], timeout=POLL_SECONDS)

    def _hear(
        self, worker: _Worker, report: Report, waiting: deque[Job], deaths: dict[str, int]
    ) -> Iterator[tuple[Job, JobResult]]:
        job = worker.job
        assert job is not None
        try:
            if self._ray.wait([worker.result], timeout=0)[0]:
                result = self._ray.get(worker.result)
                worker.job = None
                yield job, result
                return
            report(job, self._ray.get(worker.actor.progress.remote(), timeout=POLL_SECONDS), job.steps)
        except self._ray.exceptions.GetTimeoutError:
            pass  # it is at something that lets nobody else speak
        except self._ray.exceptions.RayActorError:
            self._replace(worker)
            again = died(job, deaths, "its actor died")
            if again is None:
                waiting.appendleft(job)
            else:
                yield job, again
            return
        if time.time() > job.deadline + self._grace:
            self._replace(worker)
            yield job, late(job)

    def processes(self) -> tuple[int, ...]:
        """Process ids of the workers, each on its node."""
        return tuple(worker.process for worker in self._running)

    def close(self) -> None:
        """Free all actors, and end a cluster of our own."""
        for worker in self._running:
            self._kill(worker)
        self._running.clear()
        if self._ours:
            self._ray.shutdown()
            self._ours = False

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _actor(self) -> Any:
        # a second thread answers how far the training is
        asked = {"num_cpus": self._threads, "num_gpus": self._accelerators}
        made = self._ray.remote(**asked, max_restarts=0, max_concurrency=2)(Server)
        return made.remote(self._reference, self._threads)

    def _built(self, actor: Any) -> _Worker:
        try:
            process, why = self._ray.get(actor.build.remote(), timeout=START_SECONDS)
        except self._ray.exceptions.GetTimeoutError as error:
            raise CaseError(
                f"the cluster gave no worker of {self._threads} processors within {START_SECONDS:.0f} s",
                expected="a cluster with free processors",
            ) from error
        except self._ray.exceptions.RayActorError as error:
            raise unbuildable(self._reference, str(error).splitlines()[0]) from error
        if why:
            raise unbuildable(self._reference, why)
        return _Worker(actor, process)

    def _replace(self, worker: _Worker) -> None:
        self._kill(worker)
        fresh = self._built(self._actor())
        worker.actor, worker.process, worker.job, worker.result = fresh.actor, fresh.process, None, None

    def _kill(self, worker: _Worker) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(worker.actor, no_restart=True)


def sent(reference: CaseReference) -> tuple[CaseReference, dict[str, Any]]:
    """A reference as another machine sees it, and the environment that it needs there.

    The folder of a case that is a file is sent along and becomes the working folder.
    """
    variables = {name: value for name, value in os.environ.items() if name.startswith("TRAINDX_")}
    environment: dict[str, Any] = {"env_vars": variables}
    where, _, name = reference.loader.rpartition(":")
    if not where.endswith(".py"):
        return reference, environment
    path = Path(where).resolve()
    environment["working_dir"] = str(path.parent)
    return CaseReference(f"{path.name}:{name}", reference.arguments), environment
