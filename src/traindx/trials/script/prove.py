"""Prove findings of a script by running it again: control against treated, paired seeds, its own validation metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from traindx.diagnosis import Diagnosis, TrialTable, ranked
from traindx.evidence import Action, Evidence, NotExamined
from traindx.finding import Finding
from traindx.pipeline import outcome
from traindx.progress import Listener, silent
from traindx.trials.engine import Trial
from traindx.trials.outcome import apply_results
from traindx.trials.script.backend import Length, ScriptBackend
from traindx.trials.script.binding import binding
from traindx.trials.shortlist import Shortlist
from traindx.watch.runtime.settings import Settings

__all__ = ["Length", "Proof", "concluded", "prove"]

SEEDS = (0, 1, 2)
MOST_SEEDS = 12  # an effect that twelve pairs do not show is small beside the noise of this script
MOST = 4  # treatments in one proof; more would leave two seeds of nothing


@dataclass
class Proof:
    """The trials of a script; :meth:`run` runs them.

    Attributes:
        settings: The script.
        findings: What was found, ranked.
        evidence: What was seen.
        directory: Evidence directory; arms get folders in it.
        budget: Seconds.
        seeds: Numbers of the pairs; () for three, and more while time is left and something is not settled.
        metric: What the user named, or empty.
        length: How long an arm goes on.
        listen: Told about progress.
    """

    settings: Settings
    findings: Sequence[Finding]
    evidence: Evidence
    directory: Path
    budget: float
    seeds: tuple[int, ...] = ()
    metric: str = ""
    length: Length = field(default_factory=Length)
    listen: Listener = silent

    def __post_init__(self) -> None:
        shortlist = Shortlist.of(self.findings, binding(self.evidence), MOST)
        backend = ScriptBackend(self.settings, shortlist, self.directory, self.budget, self.metric, self.length)
        self.trial = Trial(
            shortlist,
            backend,
            budget=self.budget,
            seeds=self.seeds or SEEDS,
            most_seeds=0 if self.seeds else MOST_SEEDS,
            progress=self.listen,
        )

    def run(self) -> TrialTable:
        """Run what fits into the budget.

        Raises:
            KeyboardInterrupt: The arms that were finished are in :meth:`table`.
        """
        return self.trial.run()

    def table(self) -> TrialTable:
        """What is known now."""
        return self.trial.table()


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
        proof.trial.interrupted()
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
