"""Arms of a script: it is run again, as it is or with treatments, and its own validation figure is read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traindx.case import Metric
from traindx.diagnosis import Baseline
from traindx.durations import format_duration
from traindx.trials.arms import TreatmentSet
from traindx.trials.clock import Deadline
from traindx.trials.executor import MayStart, Report
from traindx.trials.jobs import ArmScore, Job, JobResult
from traindx.trials.script.cluster import ArmsOnRay
from traindx.trials.script.meaning import FIXED_TREATMENT, examine
from traindx.trials.script.pairing import ArmResult, run_arm, same_run
from traindx.trials.script.scoring_metric import (
    Choice,
    Chosen,
    choose,
    mean_of,
    read_at,
    readings_of,
    value_at,
    value_of,
)
from traindx.trials.script.suspects import Suspect
from traindx.trials.shortlist import Shortlist
from traindx.watch.runtime.settings import Settings

FOLDER = "arms"
CONTROL_SHARE = 6.0  # the first control may take a sixth of the budget: runs of half its length give six pairs
LONGEST_SHARE = 2.5  # and two fifths where it has not validated by then: without a figure nothing is known
LEAST_CUT = 0.5  # of the iterations that are compared must be left where one run is cut
LEAST_THE_SAME = 4  # runs that end with the same figure, two of each kind, before another reading is looked for
FIXED_SHARE = 0.1  # of the budget may be spent on what the figure means
FIXED_SHARE_ALL = 0.35  # and so much where no figure can judge otherwise, its direction being unknown
NO_FIGURE = math.nan
ONE_SEED = (
    "another seed gives bit-identical weights, so the script draws all its random numbers from generators of "
    "its own: there is one run to compare and nothing to tell chance by"
)


@dataclass(frozen=True)
class Length:
    """How long an arm goes on.

    Attributes:
        steps: Optimiser iterations, 0 for no limit.
        seconds: Seconds after the first iteration, 0 for no limit; holds for the first control only, all other arms
            make as many iterations as it did.
    """

    steps: int = 300
    seconds: float = 120.0


class ScriptBackend:
    """Runs the arms of a script, one after the other, or on a cluster.

    Args:
        settings: The script.
        shortlist: What is tried.
        directory: Evidence directory; arms get folders in it.
        budget: Seconds.
        metric: What the user named, or empty.
        length: How long an arm goes on.
        cluster: Where arms run, several at once; None for one after the other on this machine.
    """

    shares_training = False
    idle = False
    slack = 1.2  # runs of a script differ in length, and one that is late can still end in time
    baselines: tuple[Baseline, ...] = ()

    def __init__(
        self,
        settings: Settings,
        shortlist: Shortlist,
        directory: Path,
        budget: float,
        metric: str,
        length: Length,
        cluster: ArmsOnRay | None = None,
    ) -> None:
        self.settings, self.list, self.directory = settings, shortlist, directory
        self.budget, self.named, self.length = budget, metric, length
        self.cluster = cluster
        self.workers = cluster.workers if cluster is not None else 1
        self.notes: list[str] = []
        self.moved: dict[str, str] = {}
        self.controls: dict[int, ArmResult] = {}
        self.results: dict[tuple[int, TreatmentSet], ArmResult] = {}
        self.jobs: dict[tuple[int, TreatmentSet], Job] = {}
        self.first: ArmResult | None = None
        self.window = 0  # iterations of a run that was made shorter than the first control
        self.whole = False  # most runs end at the limit of the figure, so that the means over all readings are compared
        self.last = 0  # iteration at which runs are compared, where one of them was cut; 0 for the last reading of all
        self.first_seed = 0
        self.chosen: Chosen | None = None
        self.why_not = ""

    # -- what the engine asks ------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Iterations of the control."""
        return self.window or (self.first.iterations if self.first is not None else 0)

    @property
    def startup(self) -> float:
        """Seconds before the first iteration of a run."""
        return max(0.0, self.first.seconds - self.first.loop_seconds) if self.first is not None else 0.0

    def shorten(self, seconds: float, least: float) -> float:
        """End runs at an earlier reading of the figure, the last one for which they take at most so many seconds."""
        if self.first is None or self.chosen is None or self.window or not self.first.iterations:
            return 0.0
        each = self.first.loop_seconds / self.first.iterations
        fitting = [
            at + 1
            for at in read_at(self.first, self.chosen)
            if max(1.0, least * self.first.iterations) <= at + 1 < self.first.iterations
            and self.startup + (at + 1) * each <= seconds
        ]
        if not fitting:
            return 0.0
        self.window = max(fitting)
        self.notes.append(
            f"runs end at iteration {self.window} of the {self.first.iterations} that the first one made, so that more "
            "of them fit into the budget"
        )
        self.controls.clear()
        self.results.clear()
        return self.startup + self.window * each

    def metric(self) -> tuple[str, Metric] | None:
        """The figure that was chosen after the first control."""
        if self.chosen is None:
            return None
        return self.chosen.name, Metric(
            function=lambda prediction, target: NO_FIGURE, higher_is_better=self.chosen.higher_is_better
        )

    def known(self) -> Iterator[JobResult]:
        """Controls of an earlier trial of the same examination; others are not kept, as files may have changed."""
        for seed, control in list(self.controls.items()):
            if self.chosen is not None:
                yield self._read(seed, frozenset(), control)

    def begin(self, seed: int, deadline: Deadline) -> None:
        """Run the control of a seed, unless it is known, so that its figure and its length are."""
        if self.first is None:
            job = Job(seed=seed, steps=0, proposals={}, training=(), arms=((),), deadline=deadline.at)
            self._told(job, run_arm(self.settings, **self._asked(job, lambda job, step, steps: None)))

    def acting(self, suspects: Sequence[Suspect]) -> frozenset[str] | None:
        """Which suspects would change anything, seen in one run of all of them to the first reading.

        Args:
            suspects: None of which excludes another.

        Returns:
            Their texts; None where that is not known.
        """
        if self.first is None or self.chosen is None or not suspects:
            return None
        read = read_at(self.first, self.chosen)
        tried = run_arm(
            self.settings,
            directory=self.directory / FOLDER / "acting",
            pair=self.first_seed,
            treatments=[{**one.fields, "key": one.text} for one in suspects],
            iterations=(read[0] if read else 0) + 1,
            limit=max(5.0, 2 * self.first.seconds),
            control=self.first,
        )
        if tried.broke or tried.unfinished:
            return None
        return frozenset(key for key, did in tried.treatments.items() if _acted(did) and not did.get("refused"))

    def control(self, seed: int, arms: Sequence[TreatmentSet]) -> JobResult | None:
        """There is none."""
        return None

    def screened(self, seed: int, deadline: Deadline) -> frozenset[str]:
        """Every arm is a run of its own, so nothing is gained by an expectation."""
        return frozenset()

    def job(self, job: Job) -> Job:
        """Nothing to add."""
        return job

    def keep(self, result: JobResult, asked: Job) -> None:
        """Runs are not kept."""

    def refused(self, why: str) -> str:
        """Why nothing is tried."""
        return why

    def one_seed(self, first: int, second: int) -> str:
        """A script that draws all its random numbers from generators of its own does the same in every pair."""
        one, other = self.controls.get(first), self.controls.get(second)
        return ONE_SEED if one is not None and other is not None and same_run(one, other) else ""

    def run(self, jobs: Sequence[Job], report: Report, may_start: MayStart) -> Iterator[tuple[Job, JobResult]]:
        """Run jobs in order; those that ``may_start`` refuses are left out.

        Raises:
            KeyboardInterrupt: The script was ended, and its files were put back.
        """
        if self.cluster is not None and self.first is not None:
            yield from self._together(self.cluster, jobs, report, may_start)
            return
        for job in jobs:
            if may_start(job):
                report(job, 0, 1)
                yield from self._kept(job, run_arm(self.settings, **self._asked(job, report)))

    def _together(
        self, cluster: ArmsOnRay, jobs: Sequence[Job], report: Report, may_start: MayStart
    ) -> Iterator[tuple[Job, JobResult]]:
        """Run jobs on a cluster; an arm waits for the control of its seed, whose random numbers it takes."""
        waiting, running = list(jobs), dict[Any, Job]()
        while waiting or running:
            unknown = {job.seed for job in (*waiting, *running.values()) if not job.arms[0]}
            for job in [job for job in waiting if not job.arms[0] or job.seed not in unknown]:
                if len(running) >= cluster.workers:
                    break
                waiting.remove(job)
                if may_start(job):
                    report(job, 0, 1)
                    running[cluster.start(self.settings, self._asked(job, report))] = job
            for handle, result in cluster.ended(list(running)) if running else ():
                yield from self._kept(running.pop(handle), result)

    def _kept(self, job: Job, ran: ArmResult) -> Iterator[tuple[Job, JobResult]]:
        """What a run gave, and what all before it give now, where all are compared by another reading from now on."""
        before = self.last, self.whole
        result = self._told(job, ran)
        mine = job.seed, frozenset(job.arms[0])
        if mine in self.results and self._all_the_same():
            result = self._read(*mine, self.results[mine])
        if (self.last, self.whole) != before:
            for place, earlier in self.results.items():
                if place != mine:
                    yield self.jobs[place], self._read(*place, earlier).model_copy(update={"seconds": 0.0})
        yield job, result

    # -- one arm -------------------------------------------------------------------------------------------------

    def _asked(self, job: Job, report: Report) -> dict[str, Any]:
        """Arguments of :func:`run_arm` for a job."""
        first, arm = self.first, frozenset(job.arms[0])
        left = max(5.0, Deadline(job.deadline).left)
        longest = 0.0
        if first is None:
            iterations, seconds, longest = self.length.steps, self.budget / CONTROL_SHARE, self.budget / LONGEST_SHARE
            if self.length.seconds:
                seconds = min(seconds, self.length.seconds)
        else:  # a control that came to its own end lets the others come to theirs
            iterations = self.window or (first.iterations if first.stopped else 0)
            seconds = max(1.0, left - 1.3 * self.startup - 1.0)  # one that is late is cut, and tells what it has
        name = hashlib.sha256("\n".join(sorted(arm)).encode()).hexdigest()[:8] if arm else "control"
        expected = first.seconds if first is not None else left
        return {
            "directory": self.directory / FOLDER / f"{job.seed}-{name}",
            "pair": job.seed,
            "treatments": [{**self.list.treatments[key].runtime, "key": key} for key in sorted(arm)],
            "iterations": iterations,
            "seconds": seconds,
            "longest": longest,
            "limit": left,
            "control": self.controls.get(job.seed) if arm else None,
            "progress": lambda progress: report(job, round(progress.done), math.ceil(expected)),
        }

    def _told(self, job: Job, result: ArmResult) -> JobResult:
        """What the run of a job gave."""
        first, arm = self.first, frozenset(job.arms[0])
        if result.lost:
            self.notes.append(f"changed by the script and not put back, being too large: {', '.join(result.lost)}")
        if first is None:
            why = self._begin(result, job.seed)
            if why:
                return JobResult(seed=job.seed, steps=0, broke=why)
        elif result.unfinished or (self._is_cut(result) and not self._accept(result)):
            return JobResult(seed=job.seed, steps=result.iterations, unfinished=True)
        if not arm:
            self.controls[job.seed] = result
        self.results[job.seed, arm], self.jobs[job.seed, arm] = result, job
        return self._read(job.seed, arm, result)

    def _is_cut(self, result: ArmResult) -> bool:
        """It was ended before the iterations that it is compared over."""
        return result.stopped and not result.broke and result.iterations < self.steps

    def _accept(self, result: ArmResult) -> bool:
        """Compare at the last reading that a run which was cut has in common with the others, if it is late enough."""
        assert self.chosen is not None
        found = read_at(result, self.chosen)
        before = self.last or self.steps
        if not found or found[-1] < LEAST_CUT * before:
            return False
        self.last = found[-1]
        self.notes.append(f"compared at iteration {self.last}, the last one that all runs reached in time")
        return True

    def _begin(self, control: ArmResult, seed: int) -> str:
        """The script as it is, on the first seed: which figure judges, or why nothing can be judged."""
        if control.broke or control.unfinished:
            why = control.broke or f"it did not finish within {format_duration(self.budget)}"
            return f"the script did not run as it is: {why}"
        self.first, self.first_seed = control, seed
        choice = self._choose(control, seed)
        if choice.chosen is None:
            return choice.why_not
        self.chosen = choice.chosen
        self.notes += choice.notes
        self._tell_chosen(control, choice.chosen)
        return ""

    def _choose(self, control: ArmResult, seed: int) -> Choice:
        """The figure that judges, once its meaning was tried with outputs that no model made."""
        known = choose(control, self.named).chosen is not None
        end = Deadline.after((FIXED_SHARE if known else FIXED_SHARE_ALL) * self.budget)

        def fixed(kinds: Sequence[str], steps: int) -> ArmResult:
            return run_arm(
                self.settings,
                directory=self.directory / FOLDER / "-".join(["fixed", *kinds]),
                pair=seed,
                treatments=[{"treatment": FIXED_TREATMENT, "kinds": list(kinds)}],
                iterations=steps,
                limit=max(5.0, end.left),
                control=control,
            )

        return choose(control, self.named, examine(control, fixed, lambda: end.left).tested)

    def _tell_chosen(self, control: ArmResult, chosen: Chosen) -> None:
        read = read_at(control, chosen)
        at = f"at iteration {read[-1]} of {control.iterations}" if read else ""
        source = (
            "measured by traindx on the outputs without gradients" if chosen.source == "captured" else chosen.source
        )
        way = "higher" if chosen.higher_is_better else "lower"
        self.notes.append(f"judged by {chosen.name} ({source}), last read {at}; {way} is better")
        if not chosen.validation:
            self.notes.append(f"nothing says that {chosen.name} is taken on validation data; name another by --metric")

    def _read(self, seed: int, arm: TreatmentSet, result: ArmResult) -> JobResult:
        """What an arm gave."""
        assert self.chosen is not None
        did = {key: result.treatments.get(key, {}) for key in arm}
        for key in arm:
            if did[key].get("evaluations") and self.chosen.is_loss:
                self.moved[key] = (
                    f"it acts where {self.chosen.name} is computed, so that figure means something else with it: "
                    "name another metric with --metric"
                )
        broke = result.broke or self._unread(seed, result)
        scored = ArmScore(
            arm=tuple(sorted(arm)),
            values={} if broke else {self.chosen.name: self._value(result)},
            predictions=self._fingerprint(result),
            broke=broke,
            hits={key: _acted(one) for key, one in result.treatments.items()},
            refused={key: str(one["refused"]) for key, one in did.items() if one.get("refused")},
        )
        lost = bool(result.losses) and not math.isfinite(result.losses[-1])
        return JobResult(
            seed=seed,
            steps=result.iterations,
            training=tuple(sorted(arm)),
            arms=(scored,),
            weights=result.weights,
            seconds=result.seconds,
            diverged=result.not_finite if lost else "",
        )

    def _value(self, result: ArmResult) -> float:
        """The figure by which runs are compared."""
        assert self.chosen is not None
        if self.whole:
            return mean_of(result, self.chosen, self.last)
        if not self.last:
            return value_of(result, self.chosen)
        return value_at(result, self.chosen, self.last)

    def _all_the_same(self) -> bool:
        """Compare by the mean over the readings from now on, if most runs end at the limit of the figure.

        That is where they all end, or the best that was ever read and where more than half of them end. It is known
        without knowing which run is which, so it makes no difference of chance look like one.
        """
        if self.whole or self.chosen is None or len(self.results) < LEAST_THE_SAME:
            return False
        values = [self._value(one) for one in self.results.values()]
        means = {mean_of(one, self.chosen, self.last) for one in self.results.values()}
        if len(means) < 2 or not all(map(math.isfinite, {*values, *means})):
            return False
        extreme = max if self.chosen.higher_is_better else min
        limit = extreme(values)
        ends = sum(value == limit for value in values)
        best = extreme(extreme(readings_of(one, self.chosen, self.last)) for one in self.results.values())
        if ends < len(values) and (2 * ends <= len(values) or limit != best):
            return False
        self.whole = True
        how_many = "every run" if ends == len(values) else f"{ends} of {len(values)} runs"
        self.notes.append(
            f"{self.chosen.name} is {limit:.4g} at the end of {how_many}, so its means over all readings of a run are "
            "compared: they say how soon it is reached"
        )
        return True

    def _unread(self, seed: int, result: ArmResult) -> str:
        """Why an arm that ran has no figure to compare."""
        assert self.chosen is not None
        control = self.controls.get(seed, self.first)
        last = self.last or math.inf
        known = [at for at in read_at(control, self.chosen) if at <= last] if control is not None else []
        found = [at for at in read_at(result, self.chosen) if at <= last]
        if not found:
            return f"{self.chosen.name} was not reported in it"
        if len(known) != len(found):
            return f"{self.chosen.name} was reported {len(found)} times instead of {len(known)}"
        return ""

    def _fingerprint(self, result: ArmResult) -> str:
        """Of everything the arm said of itself: outputs without gradients, and the figure that judges."""
        assert self.chosen is not None
        values = [one.values for one in (*result.figures, *result.captured) if one.name == self.chosen.name]
        return hashlib.sha256(f"{result.outputs} {result.buffers} {values}".encode()).hexdigest()


def _acted(did: Any) -> int:
    return sum(int(did.get(name, 0)) for name in ("hits", "evaluations", "within"))
