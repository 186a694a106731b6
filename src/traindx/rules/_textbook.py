"""What the rules on definitions share: findings from functions that do not do what their name says."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_definitions import DefinitionTried, Subject
from traindx.finding import Standing
from traindx.rules.base import Found


def broken_definitions(evidence: Evidence, subject: Subject) -> Iterator[Found]:
    """One finding a function: the first property that it breaks."""
    said: set[tuple[str, str]] = set()
    for one in evidence.of(DefinitionTried):
        place = (one.function, str(one.where))
        if one.holds or one.subject != subject or place in said:
            continue
        said.add(place)
        yield Found(
            message=f"{one.function} is no {one.stands_for}: given {one.given}, {one.got}. "
            f"By definition it {one.must}.",
            standing=Standing.DEMONSTRATED if one.universal else Standing.SUSPECTED,
            location=one.where,
            numbers={"property": one.key},
            remedy=one.remedy or "Compare the function with its definition on an example whose answer is known.",
            variant=one.key,
        )
