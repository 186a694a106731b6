"""Runs the trials that findings propose, within a budget, and puts what they are worth back onto the findings."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from traindx.diagnosis import Baseline, TrialTable, Variant
from traindx.durations import format_duration
from traindx.errors import CaseError, TraindxError
from traindx.finding import Finding, Verdict
from traindx.progress import Listener, Progress, silent
from traindx.trials.arms import Company, Design
from traindx.trials.baselines import trivial_baselines
from traindx.trials.clock import Deadline, OutOfTime
from traindx.trials.context import sound_context
from traindx.trials.control import threads, trial_threads, worker_count
from traindx.trials.effects import Judgement, judge, results
from traindx.trials.executor import Executor, InProcess, Pool
from traindx.trials.jobs import Job, JobResult, describe_error, run_job
from traindx.trials.planning import Costs, fit
from traindx.trials.reference import CaseReference
from traindx.trials.results import Results
from traindx.trials.resume_log import ResumeLog, fingerprint
from traindx.trials.scoring_metric import Units
from traindx.trials.shortlist import Shortlist
from traindx.trials.statistics import LEVEL, look_level
from traindx.trials.training import Trained, train

if TYPE_CHECKING:
    from traindx.case import Case

# steps after which most treatments that change the weights at all have changed them
SCREENING_STEPS = 3
# work in hand may overrun the budget by this share before it is dropped, and by as much again before it is killed
OVERRUN = 0.05


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

    Returns:
        The table. ``complete`` is False where the budget ended first, and ``notes`` say what was left out.

    Raises:
        CaseError: The case cannot be trained or scored as it is.
        KeyboardInterrupt: Passed on; finished jobs are kept in the directory, and no worker outlives it.
    """
    count = worker_count(reference, workers, case.device)
    with threads(trial_threads(count)):
        executor: Executor
        if reference is not None and count > 1:
            log = directory / "trials.log" if directory is not None else None
            pool = Pool(reference, count, log, grace=max(1.0, OVERRUN * budget))
            executor = pool
            if directory is not None:
                directory.mkdir(parents=True, exist_ok=True)
            if budget > 0 and any(finding.proposals for finding in findings):
                pool.start()
        else:
            executor = InProcess(case)
        try:
            trial = _Trial(case, findings, budget, seeds, steps, executor, directory, progress or silent, control)
            return trial.run()
        finally:
            executor.close()


class _Trial:
    """One run of the trials: the design, what is known so far, and what to do next."""

    def __init__(
        self,
        case: Case,
        findings: Sequence[Finding],
        budget: float,
        seeds: Sequence[int],
        steps: int | None,
        executor: Executor,
        directory: Path | None,
        listen: Listener,
        control: Trained | None,
    ) -> None:
        self.case, self.executor, self.listen = case, executor, listen
        self.begun = time.monotonic()
        self.deadline = Deadline.after(budget)
        self.budget = budget
        self.seeds = tuple(seeds)
        self.steps = case.steps if steps is None else steps
        self.name, self.metric = case.metric()
        self.list = Shortlist.of(case, findings)
        self.labels, self.notes = self.list.labels, self.list.notes
        self.settled: set[str] = set()
        self.complete = True
        self.level = LEVEL
        self.ledger, self.costs = Results(), Costs()
        self.scoring_metric = self.list.scoring_metric
        self.baselines = self._baselines()
        self.design = Design.of(self.list.treatments)
        if self.list.moved:
            self.design = replace(self.design, everything=self.design.everything - set(self.list.moved))
        self.expected_inert = self._screen()
        own_threads = torch.get_num_threads()
        if control is not None and (control.steps != self.steps or control.threads != own_threads or control.diverged):
            control = None  # trained otherwise: not bit-identical to what the arms would be compared with
        self.control = control
        self.resume_log = ResumeLog(directory, fingerprint(case, self.steps, self.scoring_metric.units, own_threads))
        for result in self.resume_log:
            self._enter(result, remember=False)

    def _screen(self) -> frozenset[str]:
        """Treatments that leave the weights alone for a few steps: an expectation, used for planning only."""
        suspects = [key for key, one in self.list.treatments.items() if one.retrains and "data" not in one.touches]
        if len(suspects) < 2:  # the plan would not differ
            return frozenset()
        found = set()
        try:
            plain = train(self.case, self.seeds[0], SCREENING_STEPS, deadline=self.deadline)
            for key in suspects:
                treated = self.list.treatments[key].apply(self.case)
                if train(treated, self.seeds[0], SCREENING_STEPS, deadline=self.deadline).weights == plain.weights:
                    found.add(key)
        except (TraindxError, OutOfTime):
            pass  # whatever it is, the trial itself will meet it and report it
        return frozenset(found)

    def run(self) -> TrialTable:
        """All rounds, and the table."""
        seeds = self._control_first()
        self.level = look_level(len(seeds), len(seeds))
        begun: list[int] = []
        for index, seed in enumerate(seeds):
            begun.append(seed)
            ahead = seeds[1] if index == 0 and len(seeds) > 1 and self.executor.workers > 1 else None
            if not self._round(seed, ahead):
                break
            if index == 0 and self._leave_out_spoilers(seed) and not self._round(seed):
                break
            if index == 0:
                self._learn_from_first_round(seed)
            last = index + 1 >= len(seeds)
            if not last and index + 1 >= 2:
                level = look_level(len(begun), len(seeds))
                self._settle(judge(self.design, self.ledger, begun, self.name, self.metric, level))
            if not last and self.design.treatments and self.settled >= set(self.design.treatments):
                break
        return self._table(begun)

    def _control_first(self) -> tuple[int, ...]:
        """Run the control, measure what everything costs, and choose what fits."""
        empty: Company = frozenset()
        first = self.seeds[0]
        alone = [arm for arm in self.design.arms() if self.design.training(arm) == empty]
        if self.control is not None and not self.ledger.has(first, empty):
            result = run_job(self.case, self._job(first, alone), self.control)
            self._enter(result, remember=not result.unfinished)
        if not self.ledger.has(first, empty):
            # without a treatment there is nothing to pair the control with; with one, no worker need be idle
            pair = self.seeds[: self.executor.workers] if self.design.treatments else (first,)
            self._execute([self._job(seed, alone) for seed in pair if not self.ledger.has(seed, empty)])
        why = self.ledger.failed(empty)
        if why:
            raise CaseError(f"the case cannot be trained and scored as it is: {why}", expected="one that runs")
        if not self.design.treatments:
            return self.seeds[:1]
        if not self.ledger.has(first, empty):
            self.complete = False
            left = f"one training did not fit into the budget of {format_duration(self.budget)}"
            self.notes.append(left if self.budget > 0 else "no time was left for trials")
            return self.seeds[:1]
        self.design, count = fit(
            self.design,
            self.seeds,
            self.costs,
            self.deadline.left,
            self.executor.workers,
            self.ledger.has,
            self.expected_inert,
        )
        self._tell_plan(count)
        return self.seeds[:count]

    def _tell_plan(self, count: int) -> None:
        if count < len(self.seeds):
            self.complete = False
            how = "one seed, which decides nothing but bit-identity" if count == 1 else f"{count} seeds"
            self.notes.append(f"the budget allows {how} of {len(self.seeds)}")
        if self.design.dropped:
            self.complete = False
            whole = [key for key in self.design.treatments if not self.design.comparisons(key)]
            parts = [key for key, _ in sorted(self.design.dropped) if key not in whole]
            told = [self.labels[key] for key in whole] + [f"{self.labels[key]} alone" for key in dict.fromkeys(parts)]
            self.notes.append(f"left out for lack of time: {', '.join(told)}")

    def _round(self, seed: int, ahead: int | None = None) -> bool:
        """All arms of one seed; False where time ran out.

        Workers that would be idle at the end of the round begin with what the next seed, ``ahead``, needs in any case.
        """
        while True:
            active = [key for key in self.design.treatments if key not in self.settled]
            arms = [arm for arm in self.design.arms(active) if not self.ledger.has(seed, arm)]
            if not arms:
                return True
            jobs = [self._job(seed, group) for group in self.design.groups(arms).values()]
            if ahead is not None:
                sure = self.design.groups([arm for arm in self.design.arms() if not self.ledger.has(ahead, arm)])
                trainings: tuple[Company, ...] = (frozenset(), self.design.training(self.design.everything))
                jobs += [self._job(ahead, sure[one]) for one in dict.fromkeys(trainings) if one in sure]
            if not self._execute(jobs):
                self.complete = False
                self.notes.append(f"the budget of {format_duration(self.budget)} ended before every arm was run")
                return False
            self._leave_out_broken()

    def _leave_out_broken(self) -> None:
        """Take treatments that break the case by themselves out of the context of the others."""
        broken = {
            key
            for key in self.design.everything
            if self.ledger.failed(frozenset({key})) and len(self.design.treatments) > 1
        }
        if broken:
            context = self.design.everything - broken
            self.design = replace(self.design, everything=context)
            told = ", ".join(sorted(self.labels[key] for key in broken))
            self.notes.append(f"tried by themselves only, because it broke by itself: {told}")

    def _leave_out_spoilers(self, seed: int) -> bool:
        """Take treatments that undo what another one gains out of the context of the others; True if there are any."""
        sign = 1.0 if self.metric.higher_is_better else -1.0

        def value(arm: Company) -> float:
            if not self.ledger.has(seed, arm) and not self._execute([self._job(seed, [arm])]):
                return math.nan
            return sign * self.ledger.value(seed, arm, self.name)

        context = sound_context(self.design, value)
        left_out = self.design.everything - context
        if left_out:
            self.design = replace(self.design, everything=context)
            told = ", ".join(sorted(self.labels[key] for key in left_out))
            self.notes.append(f"tried by themselves only, because it undoes what they gain: {told}")
        return bool(left_out)

    def _learn_from_first_round(self, seed: int) -> None:
        """Bit-identity rule out at once, and a treatment that leaves the weights alone needs no training of its own."""
        judged = judge(self.design, self.ledger, [seed], self.name, self.metric)
        self._settle({key: one for key, one in judged.items() if one.verdict is Verdict.NO_EFFECT})
        inert = {
            key
            for key, one in judged.items()
            if self.design.treatments[key].retrains and one.identity.weights and key not in self.list.moved
        }
        if inert:
            self.design = replace(self.design, inert=frozenset(inert))

    def _settle(self, judged: Mapping[str, Judgement]) -> None:
        self.settled |= {key for key, one in judged.items() if one.settled}

    def _job(self, seed: int, arms: Sequence[Company]) -> Job:
        names = sorted({key for arm in arms for key in arm})
        return Job(
            seed=seed,
            steps=self.steps,
            proposals={key: self.list.proposals[key] for key in names},
            training=tuple(sorted(self.design.training(arms[0]))),
            arms=tuple(tuple(sorted(arm)) for arm in arms),
            units=self.scoring_metric.units,
            deadline=self.deadline.at + OVERRUN * self.budget,
        )

    def _execute(self, jobs: Sequence[Job]) -> bool:
        """Run jobs; False where some were not begun or not finished for lack of time."""
        complete = True
        finished = 0.0
        running: dict[str, float] = {}

        def may_start(job: Job) -> bool:
            nonlocal complete
            left = self.deadline.left
            # the first training has nothing to be judged by, and without it there is nothing at all
            fits = left > 0 and (not self.costs.known or self.costs.of_job(job) <= left)
            complete = complete and fits
            return fits

        def report(job: Job, step: int, steps: int) -> None:
            running[job.key] = min(1.0, step / max(1, steps))
            done = finished + sum(running.values())
            share = done / max(1, len(jobs))
            expected = self.costs.of(len(jobs), sum(len(one.arms) for one in jobs)) / self.executor.workers
            left = min(self.deadline.left, expected * (1 - share)) if self.costs.known else None
            what = " + ".join(self.labels[key] for key in job.training) or "the case as it is"
            self.listen(Progress("trials", f"seed {job.seed}: training {what}", done, len(jobs), left))

        for job, result in self.executor.run(jobs, report, may_start):
            running.pop(job.key, None)
            finished += 1
            self._enter(result, asked=job)
            if result.unfinished:
                complete = False
            report(job, 0, 1)
        return complete

    def _enter(self, result: JobResult, asked: Job | None = None, remember: bool = True) -> None:
        if result.steps != self.steps or result.seed not in self.seeds:
            return
        arms = asked.arms if asked is not None else (result.training,)
        self.ledger.enter(result, [frozenset(arm) for arm in arms])
        self.costs.learn(result)
        if remember and not result.unfinished and not result.died:
            self.resume_log.add(_with_arms(result, asked) if result.broke and asked is not None else result)

    def _table(self, begun: Sequence[int]) -> TrialTable:
        judged = judge(self.design, self.ledger, begun, self.name, self.metric, self.level)
        rows = results(
            self.design,
            self.ledger,
            judged,
            begun,
            self.metric.unit,
            labels=self.labels,
            codes=self.list.codes,
            moved=self.list.moved,
        )
        settled_arms = set(self.design.arms(self.settled)) - set(
            self.design.arms([key for key in self.design.treatments if key not in self.settled])
        )
        arms = []
        for context in self.design.arms():
            values = [self.ledger.value(seed, context, self.name) for seed in begun if self.ledger.has(seed, context)]
            if (begun[0], context) in self.ledger.scores:
                arms.append(
                    Variant(
                        name=self._arm_name(context),
                        treatments=tuple(self.labels[key] for key in sorted(context)),
                        values=tuple(values),
                        settled=context in settled_arms and len(values) < len(self.seeds),
                    )
                )
        inert = [self.labels[key] for key in sorted(self.design.inert) if not judged[key].identity.predictions]
        if inert:
            told = ", ".join(inert)
            self.notes.append(f"trained once, because the weights were bit-identical with and without it: {told}")
        if self.scoring_metric.units is not Units.NETWORK:
            self.notes.append(f"all arms are scored in {self.scoring_metric.units}")
        if self.case.val is None:
            self.notes.append("the case has no validation batches, so arms are scored on training batches")
        return TrialTable(
            metric=self.name,
            unit=self.metric.unit,
            higher_is_better=self.metric.higher_is_better,
            seeds=tuple(begun),
            steps=self.steps,
            arms=tuple(arms),
            results=(*rows, *self.list.not_run),
            baselines=self.baselines,
            seconds=round(time.monotonic() - self.begun, 2),
            complete=self.complete,
            notes=tuple(dict.fromkeys(self.notes)),
        )

    def _arm_name(self, context: Company) -> str:
        name = self.design.name(context)
        for key in sorted(context, key=len, reverse=True):
            name = name.replace(key, self.labels[key])
        for key in sorted(self.labels, key=len, reverse=True):
            name = name.replace(f"all but {key}", f"all but {self.labels[key]}")
        return name

    def _baselines(self) -> tuple[Baseline, ...]:
        try:
            return trivial_baselines(self.case, self.scoring_metric, self.name)
        except Exception as error:
            self.notes.append(f"trivial baselines could not be scored: {describe_error(error)}")
            return ()


def _with_arms(result: JobResult, job: Job) -> JobResult:
    """A broken job with the arms that it was asked for, so that the resume log knows what broke."""
    from traindx.trials.jobs import ArmScore

    arms = tuple(ArmScore(arm=arm, broke=result.broke) for arm in job.arms)
    return result.model_copy(update={"arms": arms, "broke": ""})
