"""How much could be judged, and what would let more be judged: the sentences and groups that every format shares."""

from __future__ import annotations

from dataclasses import dataclass

from traindx.diagnosis import Coverage, Diagnosis, Elsewhere
from traindx.evidence.base import Action, NotExamined

_TITLES = {
    Action.DESCRIBE: "Describe these parts of the case",
    Action.GIVE: "Give an option or a table",
    Action.WATCH: "Watch longer (--steps, --until)",
    Action.INSTALL: "Install an extra",
    Action.REPAIR: "Repair what failed",
    Action.NOTHING: "Nothing to be done here",
}
MISSING_PART = "the case does not describe "
_NAMED = 2  # rules of one reason that are named in full; codes alone are shorter where there are more


@dataclass(frozen=True)
class Group:
    """What is not examined for want of one action.

    Attributes:
        title: The action, as an imperative.
        rows: Subject and reason; rules with the same reason share a row.
    """

    title: str
    rows: tuple[tuple[str, str], ...]


def coverage_sentence(diagnosis: Diagnosis) -> str:
    """``31 of 52 applicable checks had something to look at; no validation was seen``; empty for old files."""
    found = diagnosis.coverage
    if found is None or not found.applicable:
        return ""
    parts = [
        f"{found.looked_at} of {found.applicable} applicable checks had something to look at",
        *found.unseen,
    ]
    return "; ".join(parts)


def unexamined(diagnosis: Diagnosis) -> list[Group]:
    """What is not examined, by what can be done about it, in the order in which a user would go about it."""
    found = []
    for action in Action:
        mine = [item for item in diagnosis.not_examined if item.action is action]
        if mine:
            rows = _by_part(mine) if action is Action.DESCRIBE else _rows(mine)
            found.append(Group(_TITLES[action], tuple(rows)))
    return found


def elsewhere(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """What this program does not have, and what is judged from other input, each with its codes."""
    found = diagnosis.coverage or Coverage()
    return [
        *((f"no {item.thing}", " ".join(item.codes)) for item in _by_thing(found.absent)),
        *((f"judged from {item.thing}", " ".join(item.codes)) for item in found.elsewhere),
    ]


def elsewhere_text(diagnosis: Diagnosis) -> list[str]:
    """The same in two sentences, for formats without room for every code."""
    found = diagnosis.coverage or Coverage()
    things = [f"no {item.thing} ({' '.join(item.codes)})" for item in _by_thing(found.absent)]
    others = [f"{len(item.codes)} rules are judged from {item.thing}" for item in found.elsewhere]
    return [f"{', '.join(parts)}." for parts in (things, others) if parts]


def is_rule(subject: str) -> bool:
    """True for a subject such as ``S501 sampler-does-not-invert``: a rule, and no check."""
    code, _, name = subject.partition(" ")
    return code[:1].isupper() and code.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ").isdecimal() and name == name.lower() != ""


def _rows(items: list[NotExamined]) -> list[tuple[str, str]]:
    rows = [(item.subject, item.reason) for item in items if not is_rule(item.subject)]
    by_reason: dict[str, list[str]] = {}
    for item in items:
        if is_rule(item.subject):
            by_reason.setdefault(item.reason, []).append(item.subject)
    return rows + [(_together(rules), reason) for reason, rules in by_reason.items()]


def _by_part(items: list[NotExamined]) -> list[tuple[str, str]]:
    """A missing part, and everything that it would let be examined."""
    parts: dict[str, list[NotExamined]] = {}
    for item in items:
        parts.setdefault(item.reason.removeprefix(MISSING_PART), []).append(item)
    rows = []
    for part, mine in parts.items():
        titles = [item.subject for item in mine if not is_rule(item.subject)]
        codes = [item.subject.split()[0] for item in mine if is_rule(item.subject)]
        rows.append((part, "; ".join(titles) + (f" ({' '.join(codes)})" if codes else "")))
    return rows


def _together(rules: list[str]) -> str:
    """A few rules by name, more by their codes alone."""
    return ", ".join(rules) if len(rules) <= _NAMED else " ".join(rule.split()[0] for rule in rules)


def _by_thing(items: tuple[Elsewhere, ...]) -> list[Elsewhere]:
    return sorted(items, key=lambda item: item.thing)
