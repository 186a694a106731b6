"""Why a rule could not judge a described case: the part that is missing, or the check that had nothing to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from traindx.checks import Check, catalogue
from traindx.evidence import Action, Record
from traindx.pipeline import Absence, Scope
from traindx.rules import Rule
from traindx.rules.fronts import THINGS, Front

if TYPE_CHECKING:
    from traindx.case import Case

KINDS_OF_CASE = {
    "diffusion": "diffusion",
    "projection": "rendered radiographs",
    "regions": "maps and boxes",
    "prototypes": "prototypes",
    "guidance": "guided sampling",
    "labels": "label maps",
}
"""Parts that make a case of another kind: a case without one is not incomplete."""


@dataclass(frozen=True)
class CaseScope(Scope):
    """What could be seen of a case.

    Attributes:
        case: The case.
        trained: A control was trained, so that checks on a trained model could run.
    """

    front: Front = Front.CASE
    case: Case | None = None
    trained: bool = False

    def absent(self, decider: Rule) -> Absence:
        """The missing part, or what else kept the checks from writing what the rule needs."""
        assert self.case is not None
        if decider.thing:
            return Absence("", thing=decider.thing)
        why: list[Absence] = []
        for kind in decider.needs:
            why += [self._why(check, kind) for check in sources_of(kind)]
        parts = [one for one in why if one.action is Action.DESCRIBE]
        rest = [one for one in why if not one.thing]
        return next(iter(parts or rest or why), super().absent(decider))

    def _why(self, check: Check, kind: type[Record]) -> Absence:
        assert self.case is not None
        missing = check.missing(self.case)
        foreign = foreign_parts(self.case, missing)
        if foreign:
            return Absence("", thing=KINDS_OF_CASE[foreign[0]])
        if missing:
            return Absence(f"the case does not describe {', '.join(missing)}", Action.DESCRIBE)
        if check.phase == "after" and not self.trained:
            return Absence("nothing was trained", Action.GIVE)
        if kind in THINGS:
            return Absence("", thing=THINGS[kind])
        return Absence(f"the check that would show it measured nothing here ({check.title})")


def foreign_parts(case: Case, missing: Sequence[str]) -> list[str]:
    """Of missing parts, those that make a case of another kind."""
    roots = dict.fromkeys(part.split(".")[0] for part in missing)
    return [root for root in roots if root in KINDS_OF_CASE and not case.has(root)]


@cache
def sources_of(kind: type[Record]) -> tuple[Check, ...]:
    """The checks that may write records of a type."""
    return tuple(check for check in catalogue() if kind in check.gives)
