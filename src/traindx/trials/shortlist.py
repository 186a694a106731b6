"""Which proposed treatments can be tried on a case, and which of these would change the meaning of the metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from traindx.diagnosis import TreatmentResult
from traindx.errors import CaseError
from traindx.finding import Finding, Proposal
from traindx.trials.jobs import canonical, describe_error
from traindx.trials.proposals import resolve
from traindx.trials.scoring_metric import ScoringMetric, moved, score_fixed
from traindx.trials.treatment import Treatment, label

if TYPE_CHECKING:
    from traindx.case import Case


@dataclass
class Shortlist:
    """Treatments on trial, by canonical name, most important first.

    Attributes:
        treatments: Treatments that fit the case.
        proposals: What makes each of them.
        codes: Codes of the findings that proposed a treatment.
        labels: Names of treatments in tables.
        not_run: Rows for proposals that cannot be tried, and why.
        moved: Treatments that change the meaning of the metric, and by how much.
        notes: What a reader must know.
        scoring metric: How all arms are scored.
    """

    scoring_metric: ScoringMetric
    treatments: dict[str, Treatment] = field(default_factory=dict)
    proposals: dict[str, Proposal] = field(default_factory=dict)
    codes: dict[str, list[str]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    not_run: list[TreatmentResult] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, case: Case, findings: Sequence[Finding]) -> Shortlist:
        """What findings propose for a case; the best established and most severe findings first.

        Raises:
            CaseError: The case has no metrics or no target.
        """
        made = cls(ScoringMetric.of(case))
        every = [proposal for finding in findings for proposal in finding.proposals]
        ordered = sorted(findings, key=lambda finding: (-finding.standing.rank, -finding.severity.rank))
        refused: dict[str, str] = {}
        treated: dict[str, Case] = {}
        for finding in ordered:
            for proposal in finding.proposals:
                key = canonical(proposal)
                codes = made.codes.setdefault(key, [])
                if finding.code not in codes:
                    codes.append(finding.code)
                if key in made.labels:
                    continue
                made.labels[key] = label(proposal, every)
                try:
                    treatment = resolve(proposal, case)
                    if treatment is None:
                        refused[key] = f"the case offers no treatment {proposal.treatment!r}"
                        continue
                    treated[key] = treatment.apply(case)
                except Exception as error:  # a treatment that cannot be applied is listed, and the others go on
                    refused[key] = describe_error(error)
                    continue
                made.treatments[key], made.proposals[key] = treatment, proposal
        made.not_run = [
            TreatmentResult(treatment=made.labels[key], codes=tuple(made.codes[key]), note=f"not run: {why}")
            for key, why in refused.items()
        ]
        made.scoring_metric = ScoringMetric.of(case, list(treated.values()))
        for key, treatment in made.treatments.items():
            if treatment.touches & {"data", "evaluation"}:
                made._check_yardstick(case, key, treated[key])
        return made

    def _check_yardstick(self, case: Case, key: str, treated: Case) -> None:
        """Score fixed predictors with and without a treatment that could change the meaning of the metric."""
        name, metric = case.metric()
        try:
            with case.open():
                before = score_fixed(self.scoring_metric, case, name)
            with treated.open():
                after = score_fixed(self.scoring_metric, treated, name)
        except CaseError as error:
            self.notes.append(
                f"whether {self.labels[key]} changes the meaning of the metric could not be checked: {error.found}"
            )
            return
        shifts = moved(before, after, metric.negligible)
        if shifts:
            told = ", ".join(f"{predictor} {shift:+.3g}" for predictor, shift in shifts.items())
            unit = f" {metric.unit}" if metric.unit else ""
            self.moved[key] = (
                f"it changes the meaning of the metric: predictors that no model made change by {told}{unit}, "
                "so its figures are not comparable"
            )
