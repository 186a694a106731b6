"""What is tried, in what order, and why something is not: one list for cases and scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from traindx.diagnosis import SYMPTOMS, TreatmentResult
from traindx.finding import Finding, Proposal, Standing
from traindx.trials.jobs import canonical, describe_error
from traindx.trials.treatment import Treatment, label

Bind = Callable[[Proposal, Finding], Treatment]
"""Makes the treatment that a finding proposes; raises, with the reason, where it cannot be applied."""


@dataclass
class Shortlist:
    """Treatments on trial, by canonical name, most important first.

    Attributes:
        treatments: Treatments that can be applied.
        proposals: What makes each of them.
        codes: Codes of the findings that proposed a treatment.
        labels: Names of treatments in tables.
        not_run: Rows for proposals that cannot be tried, and why.
    """

    treatments: dict[str, Treatment] = field(default_factory=dict)
    proposals: dict[str, Proposal] = field(default_factory=dict)
    codes: dict[str, list[str]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    not_run: list[TreatmentResult] = field(default_factory=list)

    @classmethod
    def of(cls, findings: Sequence[Finding], bind: Bind, most: int = 0) -> Shortlist:
        """What findings propose: the best established, causes before symptoms, the most severe first.

        Args:
            findings: What was found; refuted findings have been tried before.
            bind: Makes a treatment of a proposal; the backend knows how.
            most: How many treatments are tried, 0 for all.
        """
        made = cls()
        every = [proposal for finding in findings for proposal in finding.proposals]
        refused: dict[str, str] = {}
        for finding in sorted(findings, key=_importance):
            if finding.standing is Standing.REFUTED:
                continue
            for proposal in finding.proposals:
                key = canonical(proposal)
                codes = made.codes.setdefault(key, [])
                if finding.code not in codes:
                    codes.append(finding.code)
                if key in made.labels:
                    continue
                made.labels[key] = label(proposal, every)
                try:
                    treatment = bind(proposal, finding)
                except Exception as error:  # a treatment that cannot be applied is listed, and the others go on
                    refused[key] = describe_error(error)
                    continue
                if most and len(made.treatments) >= most:
                    refused[key] = f"only the {most} most important treatments are tried"
                    continue
                made.treatments[key], made.proposals[key] = treatment, proposal
        made.not_run = [made.row(key, why) for key, why in refused.items()]
        return made

    def row(self, key: str, why: str) -> TreatmentResult:
        """The row of a treatment that was not run."""
        treatment = self.treatments.get(key)
        return TreatmentResult(
            treatment=self.labels[key],
            title=treatment.title if treatment is not None else "",
            codes=tuple(self.codes[key]),
            note=f"not run: {why}",
        )


def _importance(finding: Finding) -> tuple[int, bool, int]:
    return (-finding.standing.rank, finding.code.startswith(SYMPTOMS), -finding.severity.rank)
