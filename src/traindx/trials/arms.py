"""The factorial design of a trial, and which of its arms can share one training.

For every treatment two companies are compared: the case as it is (*alone*) and the case with all other treatments in
place (*given the rest*). Faults mask each other, so one of the two is not enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from traindx.trials.treatment import Treatment

TreatmentSet = frozenset[str]


@dataclass(frozen=True)
class Contrast:
    """The two arms whose difference is the effect of one treatment in one context."""

    without: TreatmentSet
    treated: TreatmentSet


@dataclass(frozen=True)
class Design:
    """Arms and comparisons of a trial.

    Attributes:
        treatments: Treatments by label, most important first.
        everything: Labels that are in place in the arm ``all``: one of every family of alternatives.
        dropped: ``(label, "alone" or "given rest")`` comparisons that the budget does not allow.
        inert: Treatments that were shown to leave the weights bit-identical in both companies.
    """

    treatments: Mapping[str, Treatment]
    everything: TreatmentSet
    dropped: frozenset[tuple[str, str]] = frozenset()
    inert: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, treatments: Mapping[str, Treatment]) -> Design:
        """The full design; of alternatives, the first one stands for its family in the arm ``all``."""
        families: dict[str, str] = {}
        for label, treatment in treatments.items():
            families.setdefault(treatment.family or label, label)
        return cls(dict(treatments), frozenset(families.values()))

    def rest(self, label: str) -> TreatmentSet:
        """Everything but this treatment and its alternatives."""
        family = self.treatments[label].family or label
        return frozenset(other for other in self.everything if (self.treatments[other].family or other) != family)

    def alone(self, label: str) -> Contrast | None:
        """This treatment on the untreated case; None where the budget does not allow it."""
        if (label, "alone") in self.dropped:
            return None
        return Contrast(frozenset(), frozenset({label}))

    def given_rest(self, label: str) -> Contrast | None:
        """This treatment where all others are in place; None where the budget does not allow it."""
        if (label, "given rest") in self.dropped:
            return None
        rest = self.rest(label)
        return Contrast(rest, rest | {label})

    def comparisons(self, label: str) -> list[Contrast]:
        """Both, as far as they are allowed; one where they are the same."""
        found = [self.alone(label), self.given_rest(label)]
        return list(dict.fromkeys(one for one in found if one is not None))

    def arms(self, labels: Iterable[str] | None = None) -> list[TreatmentSet]:
        """Every arm that the comparisons of some treatments need (all by default), the control first."""
        wanted = list(self.treatments if labels is None else labels)
        found: dict[TreatmentSet, None] = {frozenset(): None}
        for pick in (self.alone, self.given_rest):
            for label in wanted:
                one = pick(label)
                if one is not None:
                    found.update({one.treated: None, one.without: None})
        return list(found)

    def training(self, arm: TreatmentSet) -> TreatmentSet:
        """Which of an arm's treatments its training depends on: arms that agree in these share one training."""
        return frozenset(label for label in arm if self.treatments[label].retrains and label not in self.inert)

    def cost(self, training: TreatmentSet) -> float:
        """Time of a training with these treatments, over that of one without."""
        return prod(self.treatments[label].cost for label in training)

    def name(self, arm: TreatmentSet) -> str:
        """``none``, ``all``, ``only x``, ``all but x``, or the treatments themselves."""
        if not arm:
            return "none"
        if len(arm) == 1 and len(self.treatments) > 1:
            return f"only {next(iter(arm))}"
        if arm == self.everything:
            return "all"
        missing = self.everything - arm
        if len(missing) == 1 and arm < self.everything:
            return f"all but {next(iter(missing))}"
        return " + ".join(sorted(arm))

    def groups(self, arms: Sequence[TreatmentSet]) -> dict[TreatmentSet, list[TreatmentSet]]:
        """Arms by the training that they share, in order of appearance."""
        found: dict[TreatmentSet, list[TreatmentSet]] = {}
        for arm in arms:
            found.setdefault(self.training(arm), []).append(arm)
        return found
