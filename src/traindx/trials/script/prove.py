"""Prove findings of a script by running it again: control against treated, paired seeds, its own validation metric.

The control of the first seed comes first: it says how long a run takes, which figure judges and whether there is one at
all. Then follow the arms of the factorial design (each treatment alone, all, all but each) seed by seed, within the
budget. What the arms gave is judged as the trials of a case are.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from traindx.case import Metric
from traindx.diagnosis import Diagnosis, TreatmentResult, TrialTable, Variant, ranked
from traindx.durations import format_duration
from traindx.evidence import Action, Evidence, NotExamined
from traindx.finding import Finding, Verdict
from traindx.pipeline import outcome
from traindx.progress import Listener, Progress, silent
from traindx.trials.arms import Company, Design
from traindx.trials.effects import Judgement, judge, results
from traindx.trials.jobs import ArmScore, JobResult
from traindx.trials.outcome import apply_results
from traindx.trials.planning import Costs, fit
from traindx.trials.results import Results
from traindx.trials.script.pairing import ArmResult, run_arm, same_run
from traindx.trials.script.scoring_metric import Choice, Chosen, choose, read_at, value_of
from traindx.trials.script.shortlist import RuntimeShortlist
from traindx.trials.statistics import LEVEL, look_level
from traindx.watch.runtime.settings import Settings

FOLDER = "arms"
CONTROL_SHARE = 4.0  # the first control may take a quarter of the budget: two seeds, with and without one treatment
NO_FIGURE = math.nan


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


@dataclass
class Proof:
    """The trials of a script; :meth:`run` runs them.

    Attributes:
        settings: The script.
        findings: What was found, ranked.
        evidence: What was seen.
        directory: Evidence directory; arms get folders in it.
        budget: Seconds.
        seeds: Numbers of the pairs.
        metric: What the user named, or empty.
        length: How long an arm goes on.
        listen: Told about progress.
    """

    settings: Settings
    findings: Sequence[Finding]
    evidence: Evidence
    directory: Path
    budget: float
    seeds: tuple[int, ...] = (0, 1, 2)
    metric: str = ""
    length: Length = field(default_factory=Length)
    listen: Listener = silent

    def __post_init__(self) -> None:
        self.list = RuntimeShortlist.of(self.findings, self.evidence)
        self.design = Design.of(self.list.designs)
        self.ledger, self.costs = Results(), Costs()
        self.notes: list[str] = []
        self.controls: dict[int, ArmResult] = {}
        self.broken: dict[tuple[int, Company], str] = {}
        self.refused: dict[str, str] = {}
        self.moved: dict[str, str] = {}
        self.settled: set[str] = set()
        self.chosen: Chosen | None = None
        self.complete = True
        self.begun = time.monotonic()
        self.tried: list[int] = []
        self.read: tuple[int, ...] = ()
        self.level = LEVEL

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget - (time.monotonic() - self.begun)

    def run(self) -> TrialTable:
        """Run what fits into the budget.

        Raises:
            KeyboardInterrupt: The arms that were finished are in :meth:`table`.
        """
        if not self.design.treatments:
            return self.table()
        if self.budget <= 0:
            self._refuse_all("the budget is zero")
            return self.table()
        first = self._control()
        if first is None:
            return self.table()
        self.design, count = fit(self.design, self.seeds, self.costs, self.left, 1, self.ledger.has)
        self._tell_plan(count)
        for look, seed in enumerate(self.seeds[:count], start=1):
            if not self._round(seed):
                break
            if look == 2:
                self._same_numbers(self.seeds[0], seed)
            self.level = look_level(look, count)
            judged = judge(self.design, self.ledger, self.tried, self._name, self._metric, self.level)
            self.settled |= {key for key, one in judged.items() if one.settled}
            if self.settled == set(self.design.treatments):
                break
        return self.table()

    # -- arms ----------------------------------------------------------------------------------------------------

    def _control(self) -> ArmResult | None:
        """The script as it is, on the first seed; None where nothing can be judged."""
        seconds = self.budget / CONTROL_SHARE
        if self.length.seconds:
            seconds = min(seconds, self.length.seconds)
        control = self._run(self.seeds[0], frozenset(), iterations=self.length.steps, seconds=seconds)
        if control.broke or control.unfinished:
            why = control.broke or f"it did not finish within {format_duration(self.budget)}"
            self._refuse_all(f"the script did not run as it is: {why}")
            return None
        choice: Choice = choose(control, self.metric)
        if choice.chosen is None:
            self._refuse_all(choice.why_not)
            return None
        self.chosen = choice.chosen
        if choice.why_not:
            self.notes.append(choice.why_not)
        self.read = tuple(read_at(control, choice.chosen))
        self._enter(self.seeds[0], frozenset(), control)
        self._tell_yardstick(control)
        return control

    def _round(self, seed: int) -> bool:
        """All arms of one seed, the control first; False where time ran out."""
        if seed not in self.tried:
            self.tried.append(seed)
        active = [key for key in self.design.treatments if key not in self.settled]
        for arm in self.design.arms(active):
            if self.ledger.has(seed, arm):
                continue
            if self._hopeless(arm):
                continue
            if self.left <= 0 or (self.costs.known and self.costs.of(1, 0) > self.left * 1.2):
                self._out_of_time()
                return False
            first = self.controls[self.seeds[0]]  # one that came to its own end lets the others come to theirs
            result = self._run(seed, arm, iterations=first.iterations if first.stopped else 0, seconds=0.0)
            if result.unfinished:
                self._out_of_time()
                return False
            self._enter(seed, arm, result)
        return True

    def _hopeless(self, arm: Company) -> bool:
        """A context that holds a treatment which breaks the script by itself breaks as well."""
        return len(arm) > 1 and any(self.ledger.failed(frozenset({key})) for key in arm)

    def _run(self, seed: int, arm: Company, *, iterations: int, seconds: float) -> ArmResult:
        what = " + ".join(self.list.labels[key] for key in sorted(arm)) or "the script as it is"
        total = len(self.design.arms()) * len(self.seeds)
        done = len(self.ledger.scores)
        self.listen(Progress("trials", f"seed {seed}: {what}", done, total, max(0.0, self.left)))
        name = hashlib.sha256("\n".join(sorted(arm)).encode()).hexdigest()[:8] if arm else "control"
        return run_arm(
            self.settings,
            directory=self.directory / FOLDER / f"{seed}-{name}",
            pair=seed,
            treatments=[self.list.fields[key] for key in sorted(arm)],
            iterations=iterations,
            seconds=seconds,
            limit=max(5.0, self.left),
            control=self.controls.get(seed) if arm else None,
            progress=lambda _: self.listen(Progress("trials", f"seed {seed}: {what}", done, total, self.left)),
        )

    def _enter(self, seed: int, arm: Company, result: ArmResult) -> None:
        """Take in what an arm gave."""
        if not arm:
            self.controls[seed] = result
        if seed not in self.tried:
            self.tried.append(seed)
        if result.lost:
            self.notes.append(f"changed by the script and not put back, being too large: {', '.join(result.lost)}")
        for key in arm:
            did = result.treatments.get(key, {})
            if did.get("refused"):
                self.refused[key] = str(did["refused"])
            if did.get("evaluations") and self.chosen is not None and self.chosen.is_loss:
                self.moved[key] = (
                    f"it acts where {self.chosen.name} is computed, so that figure means something else with it: "
                    "name another metric with --metric"
                )
        broke = result.broke or self._unread(seed, arm, result)
        hits = {key: int(did.get("hits", 0)) + int(did.get("evaluations", 0)) for key, did in result.treatments.items()}
        scored = ArmScore(
            arm=tuple(sorted(arm)),
            values={self._name: value_of(result, self.chosen)} if self.chosen is not None and not broke else {},
            predictions=self._predictions(result),
            seconds=0.0,
            broke=broke,
            hits=hits,
        )
        job = JobResult(
            seed=seed,
            steps=result.iterations,
            training=tuple(sorted(arm)),
            arms=(scored,),
            weights=result.weights,
            seconds=result.seconds,
        )
        self.costs.learn(job)
        lost = bool(result.losses) and not math.isfinite(result.losses[-1])
        self.ledger.enter(job.model_copy(update={"diverged": result.not_finite}) if lost else job, [arm])

    def _unread(self, seed: int, arm: Company, result: ArmResult) -> str:
        """Why an arm that ran has no figure to compare."""
        if self.chosen is None:
            return ""
        known = read_at(self.controls[seed], self.chosen) if seed in self.controls else self.read
        found = read_at(result, self.chosen)
        if not found:
            return f"{self.chosen.name} was not reported in it"
        if len(known) != len(found):
            return f"{self.chosen.name} was reported {len(found)} times instead of {len(known)}"
        return ""

    def _predictions(self, result: ArmResult) -> str:
        """Fingerprint of everything the arm said of itself: outputs without gradients, and the figure that judges."""
        values = [one.values for one in (*result.figures, *result.captured) if one.name == self._name]
        return hashlib.sha256(f"{result.outputs} {result.buffers} {values}".encode()).hexdigest()

    def _same_numbers(self, first: int, second: int) -> None:
        """Two seeds that give the very same run are one seed."""
        one, other = self.controls.get(first), self.controls.get(second)
        if one is None or other is None or not same_run(one, other):
            return
        self.notes.append(
            "another seed gives bit-identical weights, so the script draws all its random numbers from generators of "
            "its own: there is one run to compare and nothing to tell chance by"
        )
        self.complete = False
        for place in [place for place in self.ledger.scores if place[0] == second]:
            del self.ledger.scores[place]
        self.tried = [first]
        self.settled |= set(self.design.treatments)

    # -- words ---------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return self.chosen.name if self.chosen is not None else "metric"

    @property
    def _metric(self) -> Metric:
        higher = self.chosen.higher_is_better if self.chosen is not None else True
        return Metric(function=lambda prediction, target: NO_FIGURE, higher_is_better=higher)

    def _tell_yardstick(self, control: ArmResult) -> None:
        chosen = self.chosen
        if chosen is None:
            return
        at = f"at iteration {self.read[-1]} of {control.iterations}" if self.read else ""
        source = (
            "measured by traindx on the outputs without gradients" if chosen.source == "captured" else chosen.source
        )
        way = "higher" if chosen.higher_is_better else "lower"
        self.notes.append(f"judged by {chosen.name} ({source}), last read {at}; {way} is better")
        if not chosen.validation:
            self.notes.append(f"nothing says that {chosen.name} is taken on validation data; name another by --metric")

    def _refuse_all(self, why: str) -> None:
        self.complete = False
        self.notes.append(why)
        self.list.not_run += [
            TreatmentResult(
                treatment=self.list.labels[key],
                title=treatment.title,
                codes=tuple(self.list.codes[key]),
                note=f"not run: {why}",
            )
            for key, treatment in self.design.treatments.items()
        ]
        self.design = Design.of({})

    def _out_of_time(self) -> None:
        self.complete = False
        self.notes.append(f"the budget of {format_duration(self.budget)} ended before every arm was run")

    def _tell_plan(self, count: int) -> None:
        if count < len(self.seeds):
            self.complete = False
            how = "one seed, which decides nothing but bit-identity" if count == 1 else f"{count} seeds"
            self.notes.append(f"the budget allows {how} of {len(self.seeds)}")
        left_out = [self.list.labels[key] for key in self.design.treatments if not self.design.comparisons(key)]
        if left_out:
            self.complete = False
            self.notes.append(f"left out for lack of time: {', '.join(left_out)}")

    # -- the table -----------------------------------------------------------------------------------------------

    def table(self) -> TrialTable:
        """What is known now."""
        rows: tuple[TreatmentResult, ...] = ()
        arms: list[Variant] = []
        seeds = self.tried or list(self.seeds[:1])
        if self.design.treatments and self.chosen is not None:
            judged = judge(self.design, self.ledger, seeds, self._name, self._metric, self.level)
            judged = {key: self._tempered(key, one) for key, one in judged.items()}
            rows = results(
                self.design,
                self.ledger,
                judged,
                seeds,
                "",
                labels=self.list.labels,
                codes=self.list.codes,
                moved=self.moved,
            )
            rows = tuple(self._placebo(row) for row in rows)
            for context in self.design.arms():
                values = [self.ledger.value(seed, context, self._name) for seed in seeds]
                known = tuple(v for v, s in zip(values, seeds, strict=True) if (s, context) in self.ledger.scores)
                if known:
                    name = self.design.name(context)
                    for key in sorted(context | self.design.everything, key=len, reverse=True):
                        name = name.replace(key, self.list.labels[key])
                    treatments = tuple(self.list.labels[key] for key in sorted(context))
                    arms.append(Variant(name=name, treatments=treatments, values=known))
        control = self.controls.get(self.seeds[0])
        return TrialTable(
            metric=self._name if self.chosen is not None else "none",
            higher_is_better=self._metric.higher_is_better,
            seeds=tuple(seeds),
            steps=control.iterations if control is not None else 0,
            arms=tuple(arms),
            results=(*rows, *self.list.not_run),
            seconds=round(time.monotonic() - self.begun, 2),
            complete=self.complete,
            notes=tuple(dict.fromkeys(self.notes)),
        )

    def _tempered(self, key: str, one: Judgement) -> Judgement:
        """A treatment that refused itself was not tried, and a figure that never moves rule out nobody."""
        if key in self.refused or (one.verdict is Verdict.NO_EFFECT and self._constant(key) is not None):
            return replace(one, verdict=Verdict.INCONCLUSIVE)
        return one

    def _constant(self, key: str) -> float | None:
        """The value that every run of a comparison reports although the runs differ: at its limit, or too coarse."""
        contrasts = self.design.comparisons(key)
        if all(self.ledger.identity(one, self.tried).predictions for one in contrasts):
            return None
        values = {
            value for one in contrasts for pair in self.ledger.pairs(one, self.tried, self._name) for value in pair
        }
        return values.pop() if len(values) == 1 else None

    def _placebo(self, row: TreatmentResult) -> TreatmentResult:
        for key in self.design.treatments:
            if self.list.labels[key] != row.treatment:
                continue
            if key in self.refused:
                return row.model_copy(update={"note": f"not run: {self.refused[key]}", "bit_identical": False})
            value = self._constant(key)
            if value is not None and row.verdict is Verdict.INCONCLUSIVE and not row.note.startswith("broke"):
                note = f"{self._name} is {value:g} in every run: at its limit, or too coarse to tell these runs apart"
                return row.model_copy(update={"note": note})
        if row.verdict is Verdict.NO_EFFECT and row.bit_identical:
            note = "no effect: weights, outputs and figures are bit-identical with and without it"
            return row.model_copy(update={"note": note})
        return row


def prove(diagnosis: Diagnosis, proof: Proof) -> Diagnosis:
    """Run the trials and put what they say onto the findings.

    Ctrl-C ends the arm in hand; what was finished is in the diagnosis, which is written before the interruption is
    passed on.

    Raises:
        KeyboardInterrupt: Passed on after ``diagnosis.json`` was written.
    """
    interrupted = False
    try:
        table = proof.run()
    except KeyboardInterrupt:
        interrupted = True
        proof.complete = False
        proof.notes.append("interrupted: arms that were not finished are left out")
        table = proof.table()
    proven = concluded(diagnosis, table)
    (proof.directory / "diagnosis.json").write_text(proven.model_dump_json(indent=2), encoding="utf-8")
    if interrupted:
        raise KeyboardInterrupt
    return proven


def concluded(diagnosis: Diagnosis, table: TrialTable) -> Diagnosis:
    """The diagnosis with the trials in it, its findings judged and ranked again."""
    findings = apply_results(list(diagnosis.findings), table)
    missing = list(diagnosis.not_examined)
    if not table.arms:
        action = Action.GIVE if table.notes else Action.NOTHING
        reason = "; ".join(table.notes) or "no finding has a treatment that can be applied while the script runs"
        missing.append(NotExamined(subject="trials", reason=reason, action=action))
    enough = diagnosis.coverage.enough if diagnosis.coverage is not None else True
    return diagnosis.model_copy(
        update={
            "findings": ranked(findings),
            "trials": table if table.results or table.arms else None,
            "not_examined": tuple(missing),
            "outcome": outcome(findings, enough=enough),
        }
    )
