"""From evidence to a judgement: the only caller of rules, the same for a case, a watched script and a data folder.

A front end gathers evidence and says, as a :class:`Scope`, why something could not be seen. Everything after that is
decided here: which rules apply, which of them had something to look at, and what that adds up to. Silence is *in order*
only for a rule that had something to look at, and that nothing kept from seeing it.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata

from traindx import rules
from traindx.core.frames import raised_at
from traindx.diagnosis import Coverage, Elsewhere, Outcome, Provenance
from traindx.errors import InputError, TraindxError
from traindx.evidence import Action, Evidence, InOrder, NotExamined
from traindx.finding import Finding
from traindx.rules import Rule
from traindx.rules.base import Limits, Nothing
from traindx.rules.fronts import THINGS, Front, fronts_of_all

Thresholds = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Absence:
    """Why a rule could not judge.

    Attributes:
        reason: One sentence without a full stop.
        action: What would change that.
        thing: What this program has none of, if the rule is about that alone.
    """

    reason: str
    action: Action = Action.NOTHING
    thing: str = ""


@dataclass(frozen=True)
class Scope:
    """What a front end knows about the limits of what it saw. Front ends override its methods.

    Attributes:
        front: The front end.
        enough: Enough was seen for *nothing found* to mean anything.
        unseen: What was not seen at all, each as ``no validation was seen``.
    """

    front: Front
    enough: bool = True
    unseen: tuple[str, ...] = ()

    def absent(self, decider: Rule) -> Absence:
        """Why records that a rule needs are not there."""
        kinds = [kind for kind in decider.needs if kind in THINGS]
        if decider.thing or kinds:
            return Absence("", thing=decider.thing or THINGS[kinds[0]])
        needed = ", ".join(kind.__name__ for kind in decider.needs)
        return Absence(f"no evidence of kind {needed} was gathered")

    def silent(self, nothing: Nothing) -> Absence:
        """Why a rule had its records and nothing to look at."""
        return Absence(nothing.reason, thing=nothing.thing)

    def doubt(self, decider: Rule, evidence: Evidence) -> Absence | None:
        """Why the silence of a rule that had something to look at means nothing after all; None if it counts.

        Records may be there and incomplete, where the check or collector that writes them failed on the way.
        """
        needed = {kind.__name__ for kind in decider.needs} | {"*"}
        for record in evidence.of(NotExamined):
            if needed & set(record.incomplete):
                return Absence(f"{record.subject}: {record.reason}", Action.REPAIR)
        return None


@dataclass
class RuleResults:
    """What the rules say of some evidence.

    Attributes:
        findings: What they found, in the order of the codes.
        in_order: Rules that had something to look at and found nothing.
        not_examined: Rules about things that this program has, and that could not be judged.
        errors: Rules that failed.
        coverage: How much could be judged.
    """

    findings: list[Finding] = field(default_factory=list)
    in_order: list[InOrder] = field(default_factory=list)
    not_examined: list[NotExamined] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)


def judge(
    evidence: Evidence,
    scope: Scope,
    *,
    chosen: Iterable[Rule] | None = None,
    thresholds: Thresholds | None = None,
) -> RuleResults:
    """Apply rules to evidence. A rule that fails is listed among the errors and stops nothing.

    Args:
        evidence: What was gathered.
        scope: What the front end could see.
        chosen: Rules to apply, all by default.
        thresholds: Overrides by code.

    Raises:
        InputError: A threshold is named that a rule does not have.
    """
    result = RuleResults()
    absent: dict[str, list[str]] = {}
    elsewhere: dict[str, list[str]] = {}
    failed = 0
    for rule in chosen if chosen is not None else rules.catalogue().values():
        limits = rule.limits((thresholds or {}).get(rule.code))
        try:
            found, why = _applied(rule, evidence, limits, scope)
        except TraindxError:
            raise
        except Exception as error:
            result.errors.append(f"rule {rule.code} failed: {type(error).__name__}: {error} at {raised_at(error)}")
            failed += 1
            continue
        title = f"{rule.code} {rule.name}"
        if found:
            result.findings += found
        elif why is None:
            result.in_order.append(InOrder(subject=title))
        elif isinstance(why, Front):
            elsewhere.setdefault(why.value, []).append(rule.code)
        elif why.thing:
            absent.setdefault(why.thing, []).append(rule.code)
        else:
            result.not_examined.append(NotExamined(subject=title, reason=why.reason, action=why.action))
    looked_at = len({finding.code for finding in result.findings}) + len(result.in_order)
    result.coverage = Coverage(
        applicable=looked_at + len(result.not_examined) + failed,
        looked_at=looked_at,
        enough=scope.enough and looked_at > 0,
        unseen=scope.unseen,
        absent=tuple(Elsewhere(thing=thing, codes=tuple(codes)) for thing, codes in absent.items()),
        elsewhere=tuple(Elsewhere(thing=front, codes=tuple(codes)) for front, codes in elsewhere.items()),
    )
    return result


def _applied(
    rule: Rule, evidence: Evidence, limits: Limits, scope: Scope
) -> tuple[list[Finding], Absence | Front | None]:
    """Findings of all forms of a rule; without any, why it could not judge, or None if it is in order."""
    found: list[Finding] = []
    reasons: list[Absence] = []
    looked = False
    for decider in rule.deciders:
        if decider.has_records(evidence):
            mine = list(decider.decide(evidence, limits))
            found = _said_once(found, mine)
            nothing = decider.nothing_in(evidence, limits) if not mine else None
            why = scope.silent(nothing) if nothing is not None else scope.doubt(decider, evidence)
            if why is not None:
                reasons.append(why)
            else:
                looked = True
        elif scope.front in fronts_of_all(decider.needs):
            reasons.append(scope.absent(decider))
    if found or looked:
        return found, None
    if not reasons:
        return [], _judged_from(rule)
    return [], next((why for why in reasons if not why.thing), reasons[0])


def _said_once(found: list[Finding], others: list[Finding]) -> list[Finding]:
    """What several forms of a rule found: of two that name one line, the one that is surer, or else the earlier."""
    told = {one.location: one for one in found if one.location is not None}
    for other in others:
        earlier = told.get(other.location) if other.location is not None else None
        if earlier is None:
            found = [*found, other]
        elif other.standing.rank > earlier.standing.rank:
            found = [other if one is earlier else one for one in found]
    return found


def _judged_from(rule: Rule) -> Front:
    """The front end that brings what a rule needs."""
    for decider in rule.deciders:
        for front in Front:
            if front in fronts_of_all(decider.needs):
                return front
    return Front.CASE


def outcome(findings: Iterable[Finding], *, enough: bool) -> Outcome:
    """What findings add up to.

    Args:
        findings: What was found.
        enough: Whether silence means anything (:attr:`Coverage.enough`).
    """
    if any(finding.standing.established for finding in findings):
        return Outcome.FAULT_FOUND
    return Outcome.NOTHING_FOUND if enough else Outcome.NOT_ENOUGH_SEEN


def select(prefixes: Iterable[str] | None, unwanted: Iterable[str] | None = None) -> list[Rule]:
    """Rules chosen by codes or prefixes, as ruff users expect.

    Raises:
        InputError: A code or prefix matches nothing.
    """
    catalogue = rules.catalogue()
    wanted, left_out = ([prefix.upper() for prefix in given or ()] for given in (prefixes, unwanted))
    for prefix in (*wanted, *left_out):
        if not any(code.startswith(prefix) for code in catalogue):
            raise InputError(f"no rule begins with {prefix!r}", expected="a code or prefix", do="see `traindx rules`")
    return [
        rule
        for code, rule in catalogue.items()
        if (not wanted or code.startswith(tuple(wanted))) and not (left_out and code.startswith(tuple(left_out)))
    ]


def once(records: Sequence[NotExamined]) -> tuple[NotExamined, ...]:
    """Each subject once for each reason, in order."""
    kept: dict[tuple[str, str], NotExamined] = {}
    for record in records:
        kept.setdefault((record.subject, record.reason), record)
    return tuple(kept.values())


def provenance(command: str = "", started: str = "", seconds: float = 0.0, seed: int = 0) -> Provenance:
    """Versions, command and time: enough to repeat an examination. Imports nothing that is heavy."""
    from traindx.version import __version__

    return Provenance(
        traindx=__version__,
        python=platform.python_version(),
        torch=_torch_version(),
        platform=f"{sys.platform} {platform.machine()}",
        command=command,
        started=started,
        seconds=round(seconds, 2),
        seed=seed,
    )


@cache
def _torch_version() -> str:
    """Version of the torch that is installed, without importing it."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""
