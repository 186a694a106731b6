"""Judge a claimed fix of a script: two versions of it, paired runs, one word.

The version before runs first and says how long a run takes and which of its figures judges; the version after must
report the same figure. A pair that agrees bit by bit (losses, gradients, weights, buffers, outputs, figures) makes the
fix a placebo without any statistics. In a last short run of each version its network says fixed things in validation:
if these are scored differently before and after, the two versions do not share a metric.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from traindx.case import Metric
from traindx.durations import format_duration
from traindx.finding import Effect
from traindx.progress import Listener, Progress, silent
from traindx.trials.claims import Comparison, FixVerdict, Pair, Run, judge_claim, told
from traindx.trials.effects import margin
from traindx.trials.growing import Looks
from traindx.trials.scoring import Score
from traindx.trials.script.alike import changes, constant, identical, same_model
from traindx.trials.script.meaning import FIXED_TREATMENT, Meaning, differences, examine, shared
from traindx.trials.script.pairing import ArmResult, run_arm, same_run
from traindx.trials.script.scoring_metric import Chosen, choose, read_at, value_at, value_of
from traindx.trials.statistics import paired_effect, told_by_ratio
from traindx.watch.runtime.settings import Settings

SHARE = 5.0  # the first run may take a fifth of the budget: two pairs, and something for the scoring metric
LEAST_LOSSES = 5  # backward passes that say something of a training


@dataclass(frozen=True)
class Version:
    """One of the two versions.

    Attributes:
        name: As the user named it.
        settings: Script, arguments, and the folder in which it runs.
        foreign: ``(imported files) -> notes`` about code that is not this version's, where that can happen.
    """

    name: str
    settings: Settings
    foreign: Callable[[Sequence[str]], str] = lambda files: ""


@dataclass
class ScriptComparison:
    """Runs and judges the pairs.

    Attributes:
        before: The version without the fix.
        after: The version with it.
        directory: Where the runs are kept.
        budget: Seconds.
        seeds: Numbers of the pairs; () for three, and more while time is left and it is open.
        metric: Figure that judges, as for ``--metric``; empty to recognise it.
        steps: Optimiser iterations of a run, 0 for no limit.
        seconds: Seconds of the first run after its first iteration, 0 for no limit.
        listen: Told about progress.
    """

    before: Version
    after: Version
    directory: Path
    budget: float
    seeds: tuple[int, ...] = ()
    metric: str = ""
    steps: int = 300
    seconds: float = 120.0
    listen: Listener = silent
    pairs: list[tuple[int, ArmResult, ArmResult]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    moved: dict[str, float] = field(default_factory=dict)
    chosen: Chosen | None = None
    complete: bool = True

    def __post_init__(self) -> None:
        self.begun = time.monotonic()
        self.looks = Looks(self.seeds)
        self._first: ArmResult | None = None
        self._meaning: dict[str, Meaning] = {}
        self._unexamined = ""  # why nothing may be concluded although runs differ
        self.last = 0  # iteration at which runs are compared where one was cut; 0 for the last reading
        self.why = ""  # why not every pair was run

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget - (time.monotonic() - self.begun)

    def run(self) -> Comparison:
        """Run what fits into the budget.

        Raises:
            KeyboardInterrupt: Pairs that were finished are in :meth:`result`.
        """
        asked = len(self.looks.asked)
        for number, seed in enumerate(self.looks.seeds):
            spent = (time.monotonic() - self.begun) / max(1, number)
            if number and spent * 1.1 > self.left:
                if number < asked:
                    self._short(f"{number} of {asked} seeds fit into the budget of", spent * asked)
                break
            if not self._pair(number, seed):
                break
            _, before, after = self.pairs[-1]
            if before.broke or after.broke or (not number and identical(before, after)):
                break
            if number == 1 and self._same_numbers():
                break
            if number >= 1 and self.looks.settles(*self._effect()):
                break
        return self.result()

    def _pair(self, number: int, seed: int) -> bool:
        first = self._first
        length = self.steps if first is None else first.iterations if first.stopped else 0
        seconds = 0.0
        if first is None:
            seconds = min(self.budget / SHARE, self.seconds or math.inf)
        before = self._arm(self.before, "before", seed, length, seconds)
        if before.unfinished:
            self._short("a run did not fit into the budget of", 4 * before.seconds)
            return False
        if first is None:
            self._first = before
            if not before.broke:
                self._choose(before, "before", self.before)
            length = before.iterations if before.stopped else 0
        if before.broke:
            length = self.steps
        late = self.budget / SHARE if before.broke else self._time_of_a_run
        after = self._arm(self.after, "after", seed, length, late)
        if not before.broke and (after.unfinished or not self._reached(before, after)):
            self._short("the version after did not finish within the budget of", 4 * (before.seconds + after.seconds))
            self._tell_same_so_far(before, after)
            return False
        if first is None and before.broke and not after.broke:
            self._choose(after, "after", self.after)
        self.pairs.append((seed, before, after))
        if first is None:
            self._same_figure(before, after)
        return True

    @property
    def _time_of_a_run(self) -> float:
        """Seconds after its first iteration that a run may take now; one that is late is cut."""
        first = self._first
        startup = max(0.0, first.seconds - first.loop_seconds) if first is not None else 0.0
        return max(1.0, self.left - 1.3 * startup - 1.0)

    def _reached(self, before: ArmResult, after: ArmResult) -> bool:
        """Whether the version after can be compared; one that was cut is, at the last reading that it reached."""
        if after.broke or not after.stopped or after.iterations >= before.iterations:
            return True
        found = read_at(after, self.chosen) if self.chosen is not None else ()
        if not found:
            return False
        self.last = min(self.last or found[-1], found[-1])
        self.notes.append(f"compared at iteration {self.last}, the last reading that every run reached in time")
        return True

    def _effect(self) -> tuple[Effect | None, float]:
        """Paired effect so far, and the difference that is of no importance; nothing where nothing can be concluded."""
        chosen = self.chosen
        if chosen is None or self.moved or self._unexamined:
            return None, 0.0
        name = chosen.name
        runs = [(self._run(before, name), self._run(after, name)) for _, before, after in self.pairs]
        if any(one.broke or other.broke for one, other in runs):
            return None, 0.0
        values = [before.score.values[name] for before, _ in runs]
        treated = [after.score.values[name] for _, after in runs]
        kind = Metric(function=lambda prediction, target: math.nan, higher_is_better=chosen.higher_is_better)
        return paired_effect(treated, values, chosen.higher_is_better), margin(kind, [*values, *treated], values)

    def _short(self, why: str, seconds: float) -> None:
        """Say what was not run, and what budget would do: that for so many seconds of runs, and more than this one."""
        self.complete = False
        would = math.ceil(max(1.2 * seconds, 1.5 * self.budget))
        self.why = f"{why} {format_duration(self.budget)}; about {format_duration(would)} would do"
        self.notes.append(self.why)

    def _tell_same_so_far(self, before: ArmResult, after: ArmResult) -> None:
        """Of a version that reached no reading it is known at least whether it trained otherwise until there."""
        count = min(len(before.losses), len(after.losses))
        if count < LEAST_LOSSES or before.first_gradient != after.first_gradient:
            return
        if list(map(repr, before.losses[:count])) == list(map(repr, after.losses[:count])):
            so_far = f"until there it changed nothing: the losses of all {count} backward passes are bit-identical"
            self.why = f"{self.why}; {so_far}"
            self.notes.append(so_far)

    def _same_numbers(self) -> bool:
        first, second = self.pairs[0][1], self.pairs[1][1]
        if not same_run(first, second):
            return False
        self.notes.append(
            "another seed gives bit-identical weights, so the script draws all its random numbers from generators of "
            "its own: there is one pair and nothing to tell chance by"
        )
        del self.pairs[1:]
        return True

    def _arm(
        self, version: Version, side: str, seed: int, steps: int, seconds: float, fixed: Sequence[str] = ()
    ) -> ArmResult:
        what = f"seed {seed}: {version.name}" + (f", fixed outputs ({', '.join(fixed)})" if fixed else "")
        done = 2 * len(self.pairs) + (side == "after")
        step = Progress("compare", what, done, max(2 * len(self.looks.asked), done + 1), max(0.0, self.left))
        self.listen(step)
        result = run_arm(
            version.settings,
            directory=self.directory / "-".join([side, str(seed), *fixed]),
            pair=seed,
            treatments=[{"treatment": FIXED_TREATMENT, "kinds": list(fixed)}] if fixed else (),
            iterations=steps,
            seconds=seconds,
            limit=max(5.0, self.left),
            progress=lambda _: self.listen(step),
        )
        note = version.foreign(result.imported)
        if note and note not in self.notes:
            self.notes.append(note)
        return result

    # -- the figure ----------------------------------------------------------------------------------------------

    def _choose(self, run: ArmResult, side: str, version: Version) -> None:
        """Try fixed outputs in one version, then choose the figure that judges."""
        self._meaning[side] = self._examine(run, side, version, self.left / 2)
        choice = choose(run, self.metric, self._meaning[side].tested)
        self.chosen = choice.chosen
        self.notes += choice.notes

    def _examine(self, run: ArmResult, side: str, version: Version, room: float) -> Meaning:
        end = time.monotonic() + room

        def fixed(kinds: Sequence[str], steps: int) -> ArmResult:
            return self._arm(version, side, self.looks.seeds[0], steps, 0.0, kinds)

        return examine(run, fixed, lambda: min(self.left, end - time.monotonic()))

    def _same_figure(self, before: ArmResult, after: ArmResult) -> None:
        """Fixed outputs under both versions, at the same place, before anything else is run."""
        chosen = self.chosen
        if chosen is None or before.broke or after.broke or chosen.source == "captured" or identical(before, after):
            return
        one = self._meaning.get("before", Meaning())
        other = self._meaning["after"] = self._examine(after, "after", self.after, self.left)
        known = shared(one, other, chosen)
        if not known:
            why = one.why_not or other.why_not or f"{chosen.name} of fixed outputs is not a number"
            self.notes.append(f"whether the metric changed its meaning was not examined: {why}")
            if "no time" in why:
                self._unexamined = why
            return
        self.moved = differences(one, other, chosen)
        if not self.moved:
            self.notes.append(f"{chosen.name} means the same in both: fixed outputs ({', '.join(known)}) score alike")

    # -- the judgement -------------------------------------------------------------------------------------------

    def result(self) -> Comparison:
        """The judgement of what is known now."""
        name = self.chosen.name if self.chosen is not None else "none"
        higher = self.chosen.higher_is_better if self.chosen is not None else True
        metric = Metric(function=lambda prediction, target: math.nan, higher_is_better=higher)
        runs = [Pair(seed, self._run(before, name), self._run(after, name)) for seed, before, after in self.pairs]
        scored = [pair for pair in runs if not pair.before.broke and not pair.after.broke]
        values = [pair.before.score.values[name] for pair in scored]
        treated = [pair.after.score.values[name] for pair in scored]
        effect = self.looks.shown(paired_effect(treated, values, higher)) if self.chosen is not None else None
        verdict, sentence = FixVerdict.INCONCLUSIVE, self.why or "no pair of runs was finished"
        if runs:
            verdict, sentence = self._verdict(runs, effect, name, metric)
            if verdict is FixVerdict.INCONCLUSIVE and len(runs) < 2 and self.why and self.why not in sentence:
                sentence += f"; {self.why}"
        return Comparison(
            verdict=verdict,
            sentence=sentence,
            metric=name,
            higher_is_better=higher,
            seeds=tuple(pair.seed for pair in runs),
            before=tuple(values),
            after=tuple(treated),
            after_own=tuple(treated),
            effect=effect,
            changes=changes(self.pairs, self.chosen),
            metric_changed=self.moved,
            seconds=round(time.monotonic() - self.begun, 2),
            complete=self.complete,
            notes=tuple(dict.fromkeys([*self.notes, *filter(None, [told_by_ratio(name, [effect])])])),
        )

    def _run(self, arm: ArmResult, name: str) -> Run:
        broke = arm.broke
        if not broke and arm.losses and not math.isfinite(arm.losses[-1]):
            broke = f"training diverges: {arm.not_finite}"
        if not broke and self.chosen is not None and not read_at(arm, self.chosen):
            broke = f"it did not report {name}"
        value = math.nan
        if self.chosen is not None and not broke:
            value = value_at(arm, self.chosen, self.last) if self.last else value_of(arm, self.chosen)
        return Run(score=Score({name: value}, arm.outputs), broke=broke)

    def _verdict(  # noqa: PLR0911  (one return a reason)
        self, runs: Sequence[Pair], effect: Effect | None, name: str, metric: Metric
    ) -> tuple[FixVerdict, str]:
        """One word and why: what is bit-identical first, then what does not run, then what can be compared at all."""
        alike = self._alike(runs, name)
        if alike:
            return FixVerdict.NO_EFFECT, alike
        fixed = next((pair for pair in runs if pair.before.broke and not pair.after.broke), None)
        if fixed is not None:
            value = fixed.after.score.values[name]
            now = f"; now {name} is {value:.4g}" if math.isfinite(value) else ""
            return FixVerdict.HELPS, f"it did not run before ({fixed.before.broke}){now}"
        if any(pair.after.broke for pair in runs):
            return judge_claim(runs, effect, name, metric, (), {})
        if self.chosen is None:
            return FixVerdict.INCONCLUSIVE, "the runs differ, and there is no figure to judge them by"
        if self.moved:
            return FixVerdict.INCONCLUSIVE, (
                f"{name} is not the same figure in both: outputs that no model made are scored differently after the "
                f"change ({told(self.moved, '')}), so its values cannot be compared"
            )
        if self.chosen.provisional and all(constant(after, self.chosen) for _, _, after in self.pairs):
            return FixVerdict.INCONCLUSIVE, (
                f"{name} is the same at every reading of a run, in both versions, so it may be no quality at all"
            )
        if self._unexamined:
            return FixVerdict.INCONCLUSIVE, (
                f"the runs differ, and whether {name} means the same in both was not examined: {self._unexamined}"
            )
        return judge_claim(runs, effect, name, metric, (), {}, self.looks.level(len(runs)))

    def _alike(self, runs: Sequence[Pair], name: str) -> str:
        """What is bit-identical in all pairs, where that settles the matter; empty otherwise."""
        if not runs or any(pair.before.broke or pair.after.broke for pair in runs):
            return ""
        if all(identical(before, after) for _, before, after in self.pairs):
            what = "losses, gradients, weights, buffers, outputs and every reported figure are bit-identical"
            return f"{what} with and without it"
        if not all(same_model(before, after) for _, before, after in self.pairs):
            return ""
        what = "weights, buffers and outputs of the networks are bit-identical with and without it"
        if all(repr(pair.before.score.values) == repr(pair.after.score.values) for pair in runs):
            return f"{what}, and so is {name}; only what is printed of the loss differs"
        if self.moved:
            return (
                f"{what}; what {name} reports differs only because it means something else: outputs that no model made "
                f"move by {told(self.moved, '')}"
            )
        return ""
