"""What could be seen of a watched script, and what would have to change for more."""

from __future__ import annotations

from dataclasses import dataclass

from traindx.evidence import Action, Evidence, NotExamined
from traindx.evidence.forecast import RunForecast
from traindx.evidence.observed import Ending, IterationsSeen, NetworkCalls, ScriptRun
from traindx.evidence.probed import InputProbed, RandomnessProbed
from traindx.pipeline import Absence, Scope
from traindx.rules import Rule
from traindx.rules.base import Nothing
from traindx.rules.fronts import Front

STARTED = ("a process started at", "a Python program started at")  # subjects of what is not watched
OF_EVERY_CALL = (InputProbed, RandomnessProbed)  # experiments that need no training
MIN_ITERATIONS = 3  # below, nothing can be called in order: the rules on movement and gradients need as many
FEW_ITERATIONS = 20  # below, little that shows in the course of a training was there to be seen: the headline says so

ENDED_BADLY = {
    Ending.CRASHED: "the script raised",
    Ending.HUNG: "the script made no progress",
    Ending.KILLED: "the script was killed",
    Ending.EXITED: "the script left early",
    Ending.INTERRUPTED: "the script was interrupted",
    Ending.NOT_STARTED: "the script could not be started",
}


@dataclass(frozen=True)
class ScriptScope(Scope):
    """The limits of one watched run.

    Attributes:
        run: How it ended.
        seen: How much training there was; None where torch was never imported.
        phases: Phases in which a network was called.
        infers: The script makes no backward pass and no step, and calls networks: it only infers.
        elsewhere: Lines that start other processes, as text.
    """

    front: Front = Front.SCRIPT
    run: ScriptRun | None = None
    seen: IterationsSeen | None = None
    phases: frozenset[str] = frozenset()
    infers: bool = False
    elsewhere: tuple[str, ...] = ()

    @classmethod
    def of(cls, evidence: Evidence, run: ScriptRun) -> ScriptScope:
        """The scope of a run, from what it left behind."""
        seen = evidence.last(IterationsSeen)
        phases = frozenset(call.phase for call in evidence.of(NetworkCalls))
        trained = seen is not None and seen.driven_by != "nothing"
        enough = trained and seen is not None and seen.iterations >= MIN_ITERATIONS and seen.watched > 0
        infers = seen is not None and not trained and not seen.backwards and bool(phases)
        unseen = [] if trained or infers else ["no training was seen"]
        if trained and seen is not None and seen.iterations < FEW_ITERATIONS:
            unseen.append(f"training was seen for only {seen.iterations} iteration{'s' * (seen.iterations != 1)}")
        if trained and "training" not in phases:
            unseen.append("no network call in training was seen")
        if trained and not phases & {"validation", "sampling"}:
            unseen.append("no validation was seen")
        return cls(
            enough=(enough or infers) and run.ending not in ENDED_BADLY,
            unseen=tuple(unseen),
            run=run,
            seen=seen,
            phases=phases,
            infers=infers,
            elsewhere=tuple(str(one.where) for one in evidence.of(NotExamined) if one.subject.startswith(STARTED)),
        )

    @property
    def whole(self) -> bool:
        """The script ended by itself while it was watched."""
        return self.run is not None and self.run.ending is Ending.FINISHED and not self.run.window_ended

    @property
    def longer(self) -> Action:
        """Watching longer, where the window ended the run; nothing where the script ended by itself."""
        if self.run is None or self.whole:
            return Action.NOTHING
        return Action.REPAIR if self.run.ending in ENDED_BADLY else Action.WATCH

    def absent(self, decider: Rule) -> Absence:
        """What this run did not show; a thing that this program does not have is no gap, once training was seen."""
        nothing = self._untrained(decider)
        if nothing is not None:
            return nothing
        if self.infers:
            usual = super().absent(decider)
            return usual if usual.thing else Absence("", thing="training")
        if RunForecast in decider.needs:
            reason = "a forecast needs a run that ends by itself, with one loss and one optimiser"
            return Absence(reason, self.longer)
        usual = super().absent(decider)
        return usual if usual.thing else Absence("nothing of the kind was seen while the script ran", self.longer)

    def silent(self, nothing: Nothing) -> Absence:
        """Why a rule had nothing to look at; a longer window might show it where the window ended the run."""
        return Absence(nothing.reason, self.longer, nothing.thing)

    def doubt(self, decider: Rule, evidence: Evidence) -> Absence | None:
        """Silence means nothing where nothing was watched, or where a collector failed."""
        return self._untrained(decider) or super().doubt(decider, evidence)

    def _untrained(self, decider: Rule) -> Absence | None:
        if self.infers:
            about = {kind.__module__.rpartition(".")[2] for kind in decider.needs if kind not in OF_EVERY_CALL}
            return None if about <= {"observed", "observed_state", "sampling"} else Absence("", thing="training")
        if self.seen is None or self.seen.driven_by == "nothing" or not self.seen.watched:
            return Absence("no training iteration was watched", self.longer)
        return None

    def notes(self) -> list[NotExamined]:
        """What of the run itself could not be looked at, and why."""
        seen = self.seen
        if self.infers:
            reason = "the script makes no backward pass and no step, so it was examined as one that only infers"
            return [NotExamined(subject="training", reason=reason)]
        if seen is None or seen.driven_by == "nothing":
            reason = "no optimiser took a step and no backward pass was made"
            if seen is not None and seen.backwards:
                reason = f"only {seen.backwards} backward passes and no optimiser step were seen"
            elif seen is None:
                reason = "the script never imported torch, or ended before it did"
            if self.elsewhere:
                reason += f" in the script's own process; it starts others at {', '.join(self.elsewhere[:3])}"
            return [NotExamined(subject="training", reason=reason, action=self.longer)]
        found: list[NotExamined] = []
        if seen.driven_by == "backward":
            reason = "no optimiser of torch took a step; updates are made by hand"
            found.append(NotExamined(subject="optimiser steps", reason=reason))
        if not self.phases & {"validation", "sampling"}:
            reason = f"none was reached within {seen.iterations} iterations"
            if self.whole:  # a longer window would see no more
                reason = "the script ran to its end, and where it was watched no network was called but to train on it"
            found.append(NotExamined(subject="validation", reason=reason, action=self.longer))
        if "training" not in self.phases:
            reason = "no call of a network with gradients was seen in a watched iteration"
            found.append(NotExamined(subject="network calls in training", reason=reason))
        return found
