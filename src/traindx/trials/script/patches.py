"""Patches as trials: what a patch of a finding would change in the source, as a treatment of the script.

Where no treatment can be applied from outside, the patch of the finding is put in place while the files are loaded,
in a run of its own; no file is written. Who makes the patches is handed in: this package does not know how.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Protocol

from traindx.evidence import Evidence
from traindx.finding import Finding, Proposal
from traindx.trials.script.binding import PATCH, runtime_fields
from traindx.trials.treatment import TreatmentUnfitError
from traindx.watch.runtime.edits import Edit

TAKES_OUT = ("drop-term",)
"""Treatments that take something out: what it would be worth if it worked, only its patch tells."""


class Change(Protocol):
    """A patch of one file."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def before(self) -> bytes:
        """Its bytes as they are."""
        ...

    @property
    def after(self) -> bytes:
        """Its bytes with the change."""
        ...

    @property
    def title(self) -> str:
        """What is changed, in a few words."""
        ...


PatchOf = Callable[[Finding], Change | None]
"""The patch of a finding; None where there is none. Raises :class:`TreatmentUnfitError` for one that cannot be tried,
and :class:`OSError` or :class:`ValueError` where the source cannot be read."""


@dataclass(frozen=True)
class Patches:
    """Findings with what their patches propose.

    Attributes:
        findings: All of them, in their order.
        fields: What the script's process is told, by the proposal's ``patch``.
        refused: Why a patch is not tried, likewise.
    """

    findings: tuple[Finding, ...]
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def bound(self, proposal: Proposal) -> dict[str, Any]:
        """What the script's process is told of a patch.

        Raises:
            TreatmentUnfitError: It cannot be tried.
        """
        name = str(proposal.parameters["patch"])
        if name not in self.fields:
            raise TreatmentUnfitError(self.refused.get(name, "its patch is not known"))
        return self.fields[name]


def with_patches(findings: Sequence[Finding], evidence: Evidence, patch_of: PatchOf | None) -> Patches:
    """Propose the patch of every finding that no treatment from outside can put right.

    Args:
        findings: What was found.
        evidence: What was seen of the script.
        patch_of: Makes patches; None where nobody does.
    """
    if patch_of is None:
        return Patches(tuple(findings))
    made = Patches(())
    changed = [_proposing(finding, evidence, patch_of, made) for finding in findings]
    return Patches(tuple(changed), made.fields, made.refused)


def _proposing(finding: Finding, evidence: Evidence, patch_of: PatchOf, made: Patches) -> Finding:
    if any(one.treatment not in TAKES_OUT and _applies(one, finding, evidence) for one in finding.proposals):
        return finding
    try:
        change = patch_of(finding)
    except TreatmentUnfitError as error:
        name = f"{finding.code} at {finding.location}"
        made.refused[name] = str(error)
        return _with(finding, name)
    except (OSError, ValueError):
        return finding
    if change is None:
        return finding
    name = f"{change.title}, {finding.location}"
    try:
        edits = edits_between(change)
    except TreatmentUnfitError as error:
        made.refused[name] = str(error)
    else:
        place = finding.location
        made.fields[name] = {
            "treatment": PATCH,
            "patch": name,
            "edits": [edit.dump() for edit in edits],
            "file": place.file if place is not None else str(change.path),
            "line": place.line if place is not None else 0,
        }
    return _with(finding, name)


def _with(finding: Finding, name: str) -> Finding:
    proposal = Proposal(treatment=PATCH, parameters={"patch": name})
    return finding.model_copy(update={"proposals": (*finding.proposals, proposal)})


def _applies(proposal: Proposal, finding: Finding, evidence: Evidence) -> bool:
    try:
        runtime_fields(proposal, finding, evidence)
    except TreatmentUnfitError:
        return False
    return True


def edits_between(change: Change) -> list[Edit]:
    """The lines that differ before and after a patch.

    Raises:
        TreatmentUnfitError: It is of a notebook, or of a file that is not read as UTF-8.
    """
    if change.path.suffix != ".py":
        raise TreatmentUnfitError("patches of notebooks are not tried")
    try:
        before, after = (data.decode("utf-8").splitlines() for data in (change.before, change.after))
        ast.parse(change.after)
    except (UnicodeDecodeError, SyntaxError) as error:
        raise TreatmentUnfitError(f"the source cannot be read: {error}") from error
    file = str(change.path.resolve())
    return [
        Edit(file, begin + 1, tuple(before[begin:end]), tuple(after[start:stop]))
        for kind, begin, end, start, stop in SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        if kind != "equal"
    ]
