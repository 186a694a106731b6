"""The diagnosis: what was found, what it is worth, what was healthy and what was not examined.

This module holds the versioned data model only, so that reports depend on nothing else;
:mod:`traindx.examination` puts the steps in order that produce one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from traindx.evidence.base import Curve, InOrder, NotExamined, Picture
from traindx.finding import Effect, Finding, Frozen, Standing, Verdict

SCHEMA_VERSION: Literal["1.1"] = "1.1"
"""1.1 says how much could be judged (:class:`Coverage`); files of 1.0 are read as they are."""


class Outcome(StrEnum):
    """The verdict on the whole case."""

    FAULT_FOUND = "fault found"
    NOTHING_FOUND = "nothing found"
    NOT_ENOUGH_SEEN = "not enough seen"

    @classmethod
    def _missing_(cls, value: object) -> Outcome | None:
        """Words of version 0.1 in diagnoses that users keep."""
        return {"guilty": cls.FAULT_FOUND, "healthy": cls.NOTHING_FOUND}.get(str(value))


class Variant(Frozen):
    """One arm of the trials: which treatments were in place and what the metric was, a value a seed.

    Attributes:
        name: ``none``, ``all``, ``only <treatment>`` or ``all but <treatment>``.
        treatments: Treatments in place.
        values: Metric by seed, in the order of :attr:`TrialTable.seeds`; shorter if the arm was stopped early.
        settled: True if the arm was stopped early because its verdict could not change any more.
    """

    name: str
    treatments: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    settled: bool = False


class TreatmentResult(Frozen):
    """What the trials say of one treatment.

    Attributes:
        treatment: Its name.
        title: What it does, in a few words.
        codes: Findings that proposed it.
        alone: Effect alone on the untreated case.
        given_rest: Effect given all other treatments.
        verdict: What follows.
        bit_identical: Weights after training were bit-identical with and without it.
        note: One sentence on anything unexpected.
    """

    treatment: str
    title: str = ""
    codes: tuple[str, ...] = ()
    alone: Effect | None = None
    given_rest: Effect | None = None
    verdict: Verdict = Verdict.INCONCLUSIVE
    bit_identical: bool = False
    note: str = ""


class Baseline(Frozen):
    """A trivial baseline under the same metric, so that no figure stands alone."""

    name: str
    value: float


class TrialTable(Frozen):
    """The counterfactual runs behind the worths.

    Attributes:
        metric: Metric that judged.
        unit: Its unit.
        higher_is_better: Its direction.
        seeds: Seeds of the pairs.
        steps: Optimiser steps of every arm.
        arms: All arms.
        results: One row a treatment, best first.
        baselines: Trivial baselines under the same metric.
        seconds: Wall time spent on trials.
        complete: False if the budget ended first.
        notes: What a reader must know (the scoring metric changed its meaning, arms dropped for lack of time).
    """

    metric: str
    unit: str = ""
    higher_is_better: bool = True
    seeds: tuple[int, ...] = ()
    steps: int = 0
    arms: tuple[Variant, ...] = ()
    results: tuple[TreatmentResult, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    seconds: float = 0.0
    complete: bool = True
    notes: tuple[str, ...] = ()


class Provenance(Frozen):
    """Where a diagnosis comes from: enough to repeat it."""

    traindx: str = ""
    python: str = ""
    torch: str = ""
    platform: str = ""
    command: str = ""
    started: str = ""
    seconds: float = 0.0
    seed: int = 0


class Elsewhere(Frozen):
    """Rules that are about something this program does not have, so that nothing of them is missing.

    Attributes:
        thing: What it has none of, for example ``gradient clipping``; or where these rules are judged instead.
        codes: The rules.
    """

    thing: str
    codes: tuple[str, ...]


class Coverage(Frozen):
    """How much could be judged.

    Attributes:
        applicable: Rules that are about something this program has or should have.
        looked_at: Those of them that had something to look at, whatever they found.
        enough: Enough was seen for *nothing found* to mean anything.
        unseen: What was not seen at all, each as ``no validation was seen``.
        absent: Rules about things that this program does not have, by thing.
        elsewhere: Rules that are judged from other input: a described case, a script, a data folder.
    """

    applicable: int = 0
    looked_at: int = 0
    enough: bool = True
    unseen: tuple[str, ...] = ()
    absent: tuple[Elsewhere, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()


class Diagnosis(Frozen):
    """Everything an examination has to say. All reports are rendered from this and the evidence directory's arrays.

    Attributes:
        schema_version: Version of this data model.
        case: Name of the case or script.
        outcome: Fault found, nothing found or not enough seen.
        findings: Ranked by measured effect, then standing, then severity. Refuted ones come last.
        trials: The counterfactual runs, or None where none were run.
        healthy: What was looked at and found in order.
        not_examined: What was not looked at, why, and what would change that.
        coverage: How much could be judged; None in files of schema 1.0.
        pictures: Pictures in the evidence directory.
        curves: Curves for plots.
        errors: Failures of checks, rules or the case itself, with file and line.
        provenance: Versions, command, time, seed.
        extras: Free-form additions of a command, for example the fix of the demo.
    """

    schema_version: Literal["1.0", "1.1"] = SCHEMA_VERSION
    case: str
    outcome: Outcome
    findings: tuple[Finding, ...] = ()
    trials: TrialTable | None = None
    healthy: tuple[InOrder, ...] = ()
    not_examined: tuple[NotExamined, ...] = ()
    coverage: Coverage | None = None
    pictures: tuple[Picture, ...] = ()
    curves: tuple[Curve, ...] = ()
    errors: tuple[str, ...] = ()
    provenance: Provenance = Provenance()
    extras: dict[str, Any] = Field(default_factory=dict)

    @property
    def verdict(self) -> Outcome:
        """The outcome under the name the tutorial uses."""
        return self.outcome

    @property
    def exit_code(self) -> int:
        """0 nothing above suspected, 1 findings, 3 could not examine."""
        if any(finding.standing.established for finding in self.findings):
            return 1
        return 3 if self.outcome is Outcome.NOT_ENOUGH_SEEN else 0


SYMPTOMS = ("Y", "T", "E807", "L312", "S508")
"""Families and codes that describe what goes wrong rather than why: they rank behind causes of the same standing."""


def ranked(findings: list[Finding]) -> tuple[Finding, ...]:
    """Findings by measured effect, then standing, causes before symptoms, severity, code; refuted ones last."""

    def key(finding: Finding) -> tuple[float, ...]:
        worth = 0.0
        if finding.worth is not None and finding.worth.verdict in (Verdict.PROVEN, Verdict.CONTRIBUTORY):
            effects = [effect.mean for effect in (finding.worth.alone, finding.worth.given_rest) if effect is not None]
            worth = max(effects, default=0.0)
        refuted = finding.standing is Standing.REFUTED
        symptom = finding.code.startswith(SYMPTOMS)
        return (refuted, -worth if worth > 0 else 0.0, -finding.standing.rank, symptom, -finding.severity.rank)

    return tuple(sorted(findings, key=lambda finding: (*key(finding), finding.code)))
