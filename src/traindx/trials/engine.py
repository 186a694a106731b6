"""The engine of all trials: within a budget it runs none, each alone, all, all but each, paired over seeds.

It knows nothing of how an arm is run: a :class:`Backend` does that, one for described cases and one for scripts. What
is planned, paired, settled early, left out and judged is decided here, once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, islice

from traindx.diagnosis import TreatmentResult, TrialTable, Variant
from traindx.durations import format_duration
from traindx.finding import Verdict
from traindx.progress import Listener, Progress, silent
from traindx.trials.arms import Design, TreatmentSet
from traindx.trials.backend import Backend
from traindx.trials.clock import Deadline
from traindx.trials.context import sound_context
from traindx.trials.effects import Judgement, judge, results
from traindx.trials.jobs import Job, JobResult
from traindx.trials.planning import MARGIN, Costs, fit, needed
from traindx.trials.results import Results
from traindx.trials.shortlist import Shortlist
from traindx.trials.statistics import look_level, told_by_ratio
from traindx.trials.tabling import seeds_wanted, spared, variants

# Seeds that runs are made shorter for, and the share of a run that must be left. Student's distribution decides: with
# three pairs an effect must be 2.5 standard deviations of its differences to have an interval without zero, with six 1.
SHORTENED = ((6, 0.5), (5, 0.4), (4, 0.3), (3, 0.25), (2, 0.0))
# work in hand may overrun the budget by this share before it is dropped, and by as much again before it is killed
OVERRUN = 0.05
OUT_OF_TIME = "not tried: the budget ended first"


class Trial:
    """One trial: the design, what is known so far, and what to do next.

    Args:
        shortlist: What is tried.
        backend: How arms are run.
        budget: Seconds.
        seeds: Numbers of the pairs, in the order in which they are run.
        most_seeds: Seeds are added up to this number while time is left and something is not settled.
        progress: Told about progress.
        deadline: End of the budget, where it began before.
    """

    def __init__(
        self,
        shortlist: Shortlist,
        backend: Backend,
        *,
        budget: float,
        seeds: Sequence[int],
        most_seeds: int = 0,
        progress: Listener = silent,
        deadline: Deadline | None = None,
    ) -> None:
        self.list, self.backend, self.listen = shortlist, backend, progress
        self.begun = time.monotonic()
        self.deadline = deadline or Deadline.after(budget)
        self.budget, self.asked = budget, tuple(seeds)
        further = (seed for seed in count() if seed not in self.asked)
        self.seeds = (*self.asked, *islice(further, max(0, most_seeds - len(self.asked))))
        self.notes: list[str] = []
        self.settled: set[str] = set()
        self.levels: dict[str, float] = {}  # at which an early look settled a treatment
        self.tried: list[int] = []
        self.complete = True
        self.shortage = ""  # what the budget does not allow, as long as that is so
        self.results, self.costs = Results(), Costs()
        self.design = Design.of(shortlist.treatments)
        if backend.moved:
            self.design = replace(self.design, everything=self.design.everything - set(backend.moved))

    # -- the order of things -------------------------------------------------------------------------------------

    def run(self) -> TrialTable:
        """Run what fits into the budget.

        Raises:
            CaseError: A described case does not run as it is.
            KeyboardInterrupt: The arms that were finished are in :meth:`table`.
        """
        if not self.backend.idle:
            if self.design.treatments and self.budget <= 0:
                self.refuse_all("the budget is zero")
            if not self.design.treatments:
                return self.table()
        expected_inert = self.backend.screened(self.seeds[0], self.deadline)
        for result in self.backend.known():
            self._enter(result)
        seeds = list(self._plan(expected_inert))
        for index, seed in enumerate(seeds):  # which may grow on the way
            if seed not in self.tried:
                self.tried.append(seed)
            ahead = seeds[1] if index == 0 and len(seeds) > 1 and self.backend.workers > 1 else None
            if not self._round(seed, ahead):
                break
            if index == 0 and not self._after_first(seed):
                break
            if index == 1 and self._one_seed(seeds[0], seed):
                break
            if index + 1 == len(seeds):  # before anything is looked at, so that the last look is chosen by time alone
                seeds += self._one_more(index + 1)
            if index + 1 < max(len(seeds), len(self.asked)):
                self._look(index + 1, len(seeds))
                if self._all_settled:
                    break
        return self.table()

    @property
    def _all_settled(self) -> bool:
        return bool(self.design.treatments) and self.settled >= set(self.design.treatments)

    def _after_first(self, seed: int) -> bool:
        """What the first seed says of the context and of what needs no further run; False where time ran out."""
        if self._leave_out_spoilers(seed) and not self._round(seed):
            return False
        self._learn_from_first_round(seed)
        return True

    def _one_more(self, index: int) -> tuple[int, ...]:
        """The next seed that was asked for, where there is time for it after all.

        The plan rests on the time of one run, the first, which is often the slowest.
        """
        further = self.seeds[index : index + 1]
        if not further or not self.design.treatments or not self.costs.known:
            return ()
        seconds = MARGIN * needed(self.design, further, self.costs, self.results.has) / self.backend.workers
        return further if seconds <= self.deadline.left else ()

    def _look(self, look: int, seeds: int) -> None:
        """Settle what more seeds would not change."""
        metric = self.backend.metric()
        level = self._level(look, seeds)
        if look >= 2 and metric is not None and level > 0:
            self._settle(judge(self.design, self.results, self.tried, *metric, level), level)

    def _level(self, look: int, seeds: int, *, last: bool = False) -> float:
        """Level of a look; the number of seeds is known beforehand where none are added."""
        if len(self.seeds) > len(self.asked):
            return look_level(look, look if last else max(seeds, look + 1), len(self.asked))
        total = max(seeds, len(self.asked))
        return look_level(total if last else look, total)

    def _plan(self, expected_inert: frozenset[str]) -> tuple[int, ...]:
        """Run the control, learn what everything costs, and choose what fits: the seeds to be run."""
        empty: TreatmentSet = frozenset()
        first = self.seeds[0]
        alone = [arm for arm in self.design.arms() if self.design.training(arm) == empty]
        if not self.results.has(first, empty):
            result = self.backend.control(first, alone)
            if result is not None:
                self._enter(result, self._job(first, alone))
        if not self.results.has(first, empty):
            # without a treatment there is nothing to pair the control with; with one, no worker need be idle
            pair = self.seeds[: self.backend.workers] if self.design.treatments else (first,)
            self._execute([self._job(seed, alone) for seed in pair if not self.results.has(seed, empty)])
        why = self.results.failed(empty)
        if why:
            self.refuse_all(self.backend.refused(why))
            return ()
        if not self.design.treatments:
            return self.seeds[:1]
        if not self.results.has(first, empty):
            self.complete = False
            left = f"one training did not fit into the budget of {format_duration(self.budget)}"
            self.notes.append(left if self.budget > 0 else "no time was left for trials")
            return self.seeds[:1]
        self._shorten(first, alone)
        if not self.results.has(first, empty):  # the shorter control did not come to its end
            self.complete = False
            self.notes.append(self._ended())
            return self.seeds[:1]
        whole = self.design
        self.design, fitting = fit(
            self.design,
            self.seeds,
            self.costs,
            self.deadline.left,
            self.backend.workers,
            self.results.has,
            expected_inert,
        )
        self._tell_plan(fitting, whole)
        return self.seeds[:fitting]

    def _shorten(self, first: int, alone: Sequence[TreatmentSet]) -> None:
        """Make runs shorter where too few seeds fit: a little for six, much for two."""
        for wanted, least in SHORTENED:
            if wanted > max(3, len(self.seeds)):
                continue
            count = min(wanted, len(self.seeds))
            if self._needed(self.design, count) <= self.deadline.left:
                return
            arms = len(self.design.arms()) * count
            seconds = self.backend.shorten(self.deadline.left / MARGIN / arms, least)
            if seconds:
                self.results.forget(first)
                self.costs = Costs(train=[seconds])
                self._execute([self._job(first, alone)])
                return

    def _needed(self, design: Design, count: int) -> float:
        """Seconds for what is still to be run of some seeds."""
        return MARGIN * needed(design, self.seeds[:count], self.costs, self.results.has) / self.backend.workers

    def _would_do(self, design: Design, count: int) -> str:
        """A budget that would have allowed so many seeds."""
        return spared(self.budget - self.deadline.left + self._needed(design, count))

    def _ended(self) -> str:
        text = f"the budget of {format_duration(self.budget)} ended before every arm was run"
        if not self.costs.known:
            return text
        return f"{text}; about {self._would_do(self.design, len(self.asked))} would do"

    def _tell_plan(self, count: int, whole: Design) -> None:
        asked = len(self.asked)
        if count < asked:
            how = "one seed, which decides nothing but bit-identity" if count == 1 else f"{count} seeds"
            would = f"about {self._would_do(whole, asked)} would allow all"
            self.shortage = f"the budget allows {how} of {asked}; {would}"
        if self.design.dropped:
            self.complete = False
            labels = self.list.labels
            left_out = [key for key in self.design.treatments if not self.design.comparisons(key)]
            parts = [key for key, _ in sorted(self.design.dropped) if key not in left_out]
            told = [labels[key] for key in left_out] + [f"{labels[key]} alone" for key in dict.fromkeys(parts)]
            self.notes.append(f"left out for lack of time: {', '.join(told)}")

    def refuse_all(self, why: str) -> None:
        """Nothing is tried."""
        self.complete = False
        self.notes.append(why)
        self.list.not_run += [self.list.row(key, why) for key in self.design.treatments]
        self.design = Design.of({})

    def interrupted(self) -> None:
        """The user ended it: what was finished is in the table."""
        self.complete = False
        self.notes.append("interrupted: arms that were not finished are left out")

    # -- rounds --------------------------------------------------------------------------------------------------

    def _round(self, seed: int, ahead: int | None = None) -> bool:
        """All arms of one seed; False where time ran out.

        Workers that would be idle at the end of the round begin with what the next seed, ``ahead``, needs in any case.
        """
        while True:
            active = [key for key in self.design.treatments if key not in self.settled]
            arms = [arm for arm in self.design.arms(active) if not self.results.has(seed, arm)]
            if not self.backend.shares_training:
                arms = [arm for arm in arms if not self._hopeless(arm)]
            if not arms:
                return True
            jobs = [self._job(seed, group) for group in self._groups(arms)]
            if ahead is not None:
                sure = self.design.groups([arm for arm in self.design.arms() if not self.results.has(ahead, arm)])
                trainings: tuple[TreatmentSet, ...] = (frozenset(), self.design.training(self.design.everything))
                jobs += [self._job(ahead, sure[one]) for one in dict.fromkeys(trainings) if one in sure]
            if not self._execute(jobs):
                if seed in self.asked:
                    self.complete = False
                    self.notes.append(self._ended())
                return False
            self._leave_out_broken()

    def _groups(self, arms: Sequence[TreatmentSet]) -> list[list[TreatmentSet]]:
        """Arms by the training that they share; of scripts every arm is a run of its own."""
        if self.backend.shares_training:
            return list(self.design.groups(arms).values())
        return [[arm] for arm in arms]

    def _hopeless(self, arm: TreatmentSet) -> bool:
        """A context that holds a treatment which breaks the program by itself breaks as well."""
        return len(arm) > 1 and any(self.results.failed(frozenset({key})) for key in arm)

    def _leave_out_broken(self) -> None:
        """Take treatments that break the program by themselves out of the context of the others."""
        broken = {
            key
            for key in self.design.everything
            if self.results.failed(frozenset({key})) and len(self.design.treatments) > 1
        }
        if broken:
            context = self.design.everything - broken
            self.design = replace(self.design, everything=context)
            told = ", ".join(sorted(self.list.labels[key] for key in broken))
            self.notes.append(f"tried by themselves only, because it broke by itself: {told}")

    def _leave_out_spoilers(self, seed: int) -> bool:
        """Take treatments that undo what another one gains out of the context of the others; True if there are any."""
        metric = self.backend.metric()
        if metric is None:
            return False
        name, kind = metric
        sign = 1.0 if kind.higher_is_better else -1.0

        def value(arm: TreatmentSet) -> float:
            if not self.results.has(seed, arm) and not self._execute([self._job(seed, [arm])]):
                return math.nan
            return sign * self.results.value(seed, arm, name)

        context = sound_context(self.design, value)
        left_out = self.design.everything - context
        if left_out:
            self.design = replace(self.design, everything=context)
            told = ", ".join(sorted(self.list.labels[key] for key in left_out))
            self.notes.append(f"tried by themselves only, because it undoes what they gain: {told}")
        return bool(left_out)

    def _learn_from_first_round(self, seed: int) -> None:
        """Bit-identity rules out at once; a treatment that leaves the weights alone needs no training of its own."""
        metric = self.backend.metric()
        if metric is None:
            return
        judged = judge(self.design, self.results, [seed], *metric)
        self._settle({key: one for key, one in judged.items() if one.verdict is Verdict.NO_EFFECT})
        inert = {
            key
            for key, one in judged.items()
            if self.design.treatments[key].retrains and one.identity.weights and key not in self.backend.moved
        }
        if inert and self.backend.shares_training:
            self.design = replace(self.design, inert=frozenset(inert))

    def _settle(self, judged: Mapping[str, Judgement], level: float | None = None) -> None:
        fresh = {key for key, one in judged.items() if one.settled} - self.settled
        self.settled |= fresh
        if level is not None:
            self.levels |= dict.fromkeys(fresh, level)

    def _one_seed(self, first: int, second: int) -> bool:
        """Two seeds that give the very same run are one seed."""
        why = self.backend.one_seed(first, second)
        if not why:
            return False
        self.notes.append(why)
        self.complete = False
        self.results.forget(second)
        self.tried = [first]
        return True

    # -- jobs ----------------------------------------------------------------------------------------------------

    def _job(self, seed: int, arms: Sequence[TreatmentSet]) -> Job:
        names = sorted({key for arm in arms for key in arm})
        training = self.design.training(arms[0]) if self.backend.shares_training else arms[0]
        return self.backend.job(
            Job(
                seed=seed,
                steps=self.backend.steps,
                proposals={key: self.list.proposals[key] for key in names},
                training=tuple(sorted(training)),
                arms=tuple(tuple(sorted(arm)) for arm in arms),
                deadline=self.deadline.at + OVERRUN * self.budget,
            )
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
            fits = left > 0 and (not self.costs.known or self.costs.of_job(job) <= left * self.backend.slack)
            complete = complete and fits
            return fits

        def report(job: Job, step: int, steps: int) -> None:
            running[job.key] = min(1.0, step / max(1, steps))
            done = finished + sum(running.values())
            share = done / max(1, len(jobs))
            expected = self.costs.of(len(jobs), sum(len(one.arms) for one in jobs)) / self.backend.workers
            left = min(self.deadline.left, expected * (1 - share)) if self.costs.known else None
            what = " + ".join(self.list.labels[key] for key in job.training) or "the program as it is"
            self.listen(Progress("trials", f"seed {job.seed}: {what}", done, len(jobs), left))

        for job, result in self.backend.run(jobs, report, may_start):
            running.pop(job.key, None)
            finished += 1
            self._enter(result, job)
            if result.unfinished:
                complete = False
            report(job, 0, 1)
        return complete

    def _enter(self, result: JobResult, asked: Job | None = None) -> None:
        if result.seed not in self.seeds:
            return
        arms = asked.arms if asked is not None else (result.training,)
        self.results.enter(result, [frozenset(arm) for arm in arms])
        self.costs.learn(result)
        if asked is not None and not result.unfinished and not result.died:
            self.backend.keep(result, asked)

    # -- what is known now ---------------------------------------------------------------------------------------

    def _tell_seeds(self, judged: Mapping[str, Judgement]) -> None:
        """How many seeds, and what budget, would settle what is open, if the effects are what they seem."""
        open_still = {
            key: one for key, one in judged.items() if key not in self.backend.moved and not self.results.refused(key)
        }
        wanted = {self.list.labels[key]: number for key, number in seeds_wanted(open_still).items()}
        if wanted and self.costs.known:
            told = ", ".join(f"{label}: about {number}" for label, number in wanted.items())
            runs = max(wanted.values()) * len(self.design.arms())
            self.notes.append(
                f"seeds that would settle it, if the effect is what it seems: {told} "
                f"(a budget of about {spared(MARGIN * runs * self.costs.of(1, 1) / self.backend.workers)})"
            )

    def table(self) -> TrialTable:
        """What is known now."""
        if self.shortage and len(self.tried) < len(self.asked) and not self._all_settled:
            self.complete = False
            self.notes.append(self.shortage)
        metric = self.backend.metric()
        seeds = self.tried or list(self.seeds[:1])
        level = self._level(len(seeds), len(seeds), last=True)
        rows: tuple[TreatmentResult, ...] = ()
        arms: list[Variant] = []
        if metric is not None:
            judged = judge(self.design, self.results, seeds, *metric, level, self.levels)
            rows = results(
                self.design,
                self.results,
                judged,
                seeds,
                metric[1].unit,
                labels=self.list.labels,
                codes=self.list.codes,
                moved=self.backend.moved,
            )
            arms = variants(
                self.design,
                self.results,
                seeds,
                metric[0],
                labels=self.list.labels,
                settled=self.settled,
                asked=len(self.asked),
            )
            self._tell_seeds(judged)
            effects = [effect for one in judged.values() for effect in one.effects.values()]
            self.notes += filter(None, [told_by_ratio(metric[0], effects)])
            inert = [self.list.labels[key] for key in sorted(self.design.inert) if not judged[key].identity.predictions]
            if inert:
                told = ", ".join(inert)
                self.notes.append(f"trained once, because the weights were bit-identical with and without it: {told}")
        return TrialTable(
            metric=metric[0] if metric is not None else "none",
            unit=metric[1].unit if metric is not None else "",
            higher_is_better=metric is None or metric[1].higher_is_better,
            seeds=tuple(seeds),
            steps=self.backend.steps,
            arms=tuple(arms),
            results=(*rows, *self.list.not_run),
            baselines=self.backend.baselines,
            seconds=round(time.monotonic() - self.begun, 2),
            complete=self.complete,
            notes=tuple(dict.fromkeys([*self.backend.notes, *self.notes])),
        )
