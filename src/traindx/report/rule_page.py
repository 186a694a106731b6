"""A rule's documentation page, taken from its docstring: sections of the form ``Title:`` and an indented paragraph."""

from __future__ import annotations

import re

from traindx.rules.base import SECTIONS, Rule

_OF_ITS_OWN = ("Evidence it needs", "Known false positives")
_TITLE = re.compile(rf"^({'|'.join(SECTIONS)}):[ \t]*(.*)$")


def sections(page: str) -> dict[str, str]:
    """Bodies by title, in order; text before the first title is under the empty title.

    A title is one of the sections that every rule has; it starts a line, and its body follows, indented, or on the
    same line.
    """
    found: dict[str, list[str]] = {"": []}
    current = ""
    for line in page.replace("``", "`").splitlines():  # reStructuredText's literals as every reader shows code
        match = _TITLE.match(line)
        if match:
            current = match.group(1).strip()
            found.setdefault(current, [])
            if match.group(2):
                found[current].append(match.group(2))
        else:
            found[current].append(line)
    bodies = {title: _dedented(lines) for title, lines in found.items()}
    return {title: body for title, body in bodies.items() if title or body}


def deciders(rule: Rule) -> list[tuple[str, dict[str, str]]]:
    """Every further way in which a rule is decided: what it needs, and the sections of its own docstring.

    A code has one page, however many deciders it has; text without a section title is how that one decides.
    """
    found = []
    for other in rule.others:
        parts = sections(other.page)
        lead = parts.pop("", "")
        how = parts.pop("How it decides", "")
        kept = {title: body for title, body in parts.items() if title in _OF_ITS_OWN}
        needs = ", ".join(kind.__name__ for kind in other.needs)
        found.append((needs, {"How it decides": "\n\n".join(part for part in (lead, how) if part), **kept}))
    return found


def paragraphs(body: str) -> list[str]:
    """Paragraphs of a section, each on one line; the items of a list stay apart."""
    parts: list[str] = []
    for block in re.split(r"\n[ \t]*\n", body):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        current: list[str] = []
        for line in lines:
            if re.match(r"([-*•]|\d+[.)]) ", line) and current:
                parts.append(" ".join(current))
                current = []
            current.append(line)
        if current:
            parts.append(" ".join(current))
    return parts


def summary(page: str) -> str:
    """The first sentence of the page: of the text before the sections, else of *What it finds*."""
    text = " ".join(paragraphs(next(iter(sections(page).values()), ""))[:1])
    match = re.match(r"(.+?[.;])(?:\s+[A-Z(`]|\s*$)", text)
    return (match.group(1) if match else text).rstrip(".;")


def _dedented(lines: list[str]) -> str:
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] if line.strip() else "" for line in lines).strip("\n")
