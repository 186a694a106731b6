"""Runs the trials that findings propose for a case, within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from traindx.diagnosis import TrialTable
from traindx.errors import UsageError
from traindx.finding import Finding
from traindx.progress import Listener, silent
from traindx.trials.case.backend import CaseBackend, binding
from traindx.trials.clock import Deadline
from traindx.trials.control import threads, trial_threads, worker_count
from traindx.trials.engine import OVERRUN, Trial
from traindx.trials.executor import Executor, InProcess, Pool
from traindx.trials.ray_pool import RayPool, address_of
from traindx.trials.reference import CaseReference
from traindx.trials.shortlist import Shortlist
from traindx.trials.training import Trained

if TYPE_CHECKING:
    from traindx.case import Case


def run_trials(
    case: Case,
    findings: Sequence[Finding],
    *,
    budget: float,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int | None = None,
    workers: int | None = None,
    reference: CaseReference | None = None,
    directory: Path | None = None,
    progress: Listener | None = None,
    control: Trained | None = None,
    executor: str = "processes",
) -> TrialTable:
    """Try the treatments that findings propose: none, each alone, all, all but each; paired over seeds.

    Args:
        case: The case as it is.
        findings: What was found; their proposals are tried, those of the best established and most severe first.
        budget: Seconds.
        seeds: Seeds of the pairs, in the order in which they are run.
        steps: Optimiser steps of every training; the case's own by default.
        workers: Worker processes, as many as there are cores by default; they need ``reference``.
        reference: How a worker builds the same case; without it everything runs in this process.
        directory: Where ``trials.jsonl`` is kept, from which an interrupted trial goes on.
        progress: Called while working.
        control: The case as it is, trained before on the first seed by :func:`~traindx.trials.control.train_control`
            with the same ``reference``, ``workers`` and ``steps``.
        executor: ``processes`` of this machine, ``ray`` for a local Ray cluster, or ``ray:ADDRESS``.

    Returns:
        The table. ``complete`` is False where the budget ended first, and ``notes`` say what was left out.

    Raises:
        CaseError: The case cannot be trained or scored as it is.
        UsageError: There is no such executor, or a cluster was asked for without a ``reference``.
        KeyboardInterrupt: Passed on; finished jobs are kept in the directory, and no worker outlives it.
    """
    deadline = Deadline.after(budget)
    count = worker_count(reference, workers, case.device)
    address = address_of(executor)
    if address is not None and reference is None:
        raise UsageError("a cluster cannot build this case", expected="a reference by which a worker builds it")
    with threads(trial_threads(count) if address is None else 1):
        where: Executor
        if reference is not None and (count > 1 or address is not None):
            pool: Pool | RayPool
            grace = max(1.0, OVERRUN * budget)
            if address is not None:
                pool = RayPool(reference, count, address, accelerators=case.device.startswith("cuda"), grace=grace)
            else:
                log = directory / "trials.log" if directory is not None else None
                pool = Pool(reference, count, log, grace=grace)
            where = pool
            if directory is not None:
                directory.mkdir(parents=True, exist_ok=True)
            if budget > 0 and any(finding.proposals for finding in findings):
                pool.start()
        else:
            where = InProcess(case)
        try:
            shortlist = Shortlist.of(findings, binding(case))
            backend = CaseBackend(
                case, shortlist, where, seeds=seeds, steps=steps, directory=directory, control=control
            )
            trial = Trial(
                shortlist, backend, budget=budget, seeds=seeds, progress=progress or silent, deadline=deadline
            )
            return trial.run()
        finally:
            where.close()
