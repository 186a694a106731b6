"""Prove findings of a script by running it again: control against treated, paired seeds, its own validation metric."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from traindx.diagnosis import Diagnosis, TrialTable, ranked
from traindx.evidence import Action, Evidence, NotExamined
from traindx.finding import Finding
from traindx.machine import usable_cores
from traindx.pipeline import outcome
from traindx.progress import Listener, silent
from traindx.trials.engine import Trial
from traindx.trials.growing import MOST_SEEDS, SEEDS
from traindx.trials.outcome import apply_results
from traindx.trials.ray_pool import address_of
from traindx.trials.script.backend import Length, ScriptBackend
from traindx.trials.script.battery import joined, run_battery
from traindx.trials.script.binding import binding
from traindx.trials.script.cluster import ArmsOnRay
from traindx.trials.script.patches import PatchOf, with_patches
from traindx.trials.script.suspects import Suspect, shortlist_of
from traindx.trials.shortlist import Shortlist
from traindx.watch.runtime.settings import Settings

__all__ = ["Length", "Proof", "concluded", "prove"]

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
        suspects: What the user suspects; tried before what the findings propose.
        battery: Try what needs no finding in the time that is left.
        listen: Told about progress.
        patch_of: Makes the patch of a finding, which is tried where no treatment from outside can be.
        propose: Try what the findings propose.
        executor: Where arms run: ``processes`` (one after the other, here), ``ray`` or ``ray:ADDRESS``.
        workers: Arms at once on a cluster; as many as this machine has cores by default.
    """

    settings: Settings
    findings: Sequence[Finding]
    evidence: Evidence
    directory: Path
    budget: float
    seeds: tuple[int, ...] = ()
    metric: str = ""
    length: Length = field(default_factory=Length)
    suspects: Sequence[Suspect] = ()
    battery: bool = False
    listen: Listener = silent
    patch_of: PatchOf | None = None
    propose: bool = True
    executor: str = "processes"
    workers: int | None = None

    def __post_init__(self) -> None:
        self.begun = time.monotonic()
        found = Shortlist()
        if self.propose:
            patches = with_patches(self.findings, self.evidence, self.patch_of)
            self.findings = patches.findings
            found = Shortlist.of(self.findings, binding(self.evidence, patches.bound), MOST)
        shortlist = shortlist_of(self.suspects, found)
        self.cluster = self._cluster() if shortlist.treatments or self.battery else None
        self.backend = ScriptBackend(
            self.settings, shortlist, self.directory, self.budget, self.metric, self.length, self.cluster
        )
        self.trial = Trial(
            shortlist,
            self.backend,
            budget=self.budget,
            seeds=self.seeds or SEEDS,
            most_seeds=0 if self.seeds else MOST_SEEDS,
            progress=self.listen,
        )
        self.nothing_to_try = not shortlist.treatments
        self.tried: TrialTable | None = None

    def _cluster(self) -> ArmsOnRay | None:
        address = address_of(self.executor)
        if address is None:
            return None
        return ArmsOnRay(self.settings, self.workers or usable_cores(), address, self.directory)

    def run(self) -> TrialTable:
        """Run what fits into the budget.

        Raises:
            KeyboardInterrupt: The arms that were finished are in :meth:`table`.
        """
        try:
            return self._run()
        finally:
            if self.cluster is not None:
                self.cluster.close()

    def _run(self) -> TrialTable:
        self.tried = self.trial.run()
        left = self.budget - (time.monotonic() - self.begun)
        if self.battery and left > 0:
            if self.nothing_to_try:
                self.backend.notes += self.tried.notes
            found = run_battery(
                self.backend, self.evidence, left, self.seeds or SEEDS, self.listen, {one.text for one in self.suspects}
            )
            self.tried = joined(self.tried, found) or self.tried
        return self.tried

    def table(self) -> TrialTable:
        """What is known now."""
        return self.tried or self.trial.table()


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
    proven = concluded(diagnosis.model_copy(update={"findings": tuple(proof.findings)}), table)
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
