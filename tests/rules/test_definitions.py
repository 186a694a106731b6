"""The six rules on what functions do by definition, over records of what was tried."""

from __future__ import annotations

import pytest

from traindx.evidence import Evidence
from traindx.evidence.probed_definitions import DefinitionTried, Subject
from traindx.finding import Location, Standing
from traindx.rules import catalogue

CODES = {"data": "D146", "model": "M218", "loss": "L334", "figure": "E826", "sampling": "S511", "optimisation": "O418"}


def record(
    subject: Subject, *, holds: bool, universal: bool = True, key: str = "zero", line: int = 7
) -> DefinitionTried:
    """One property of a function."""
    return DefinitionTried(
        function="kl_loss",
        subject=subject,
        key=key,
        stands_for="divergence",
        must="is 0 between equal distributions",
        holds=holds,
        given="" if holds else "two equal distributions",
        got="" if holds else "-1.4 came out",
        universal=universal,
        where=Location(file="train.py", line=line),
    )


def evidence(*records: DefinitionTried) -> Evidence:
    """Evidence of these records."""
    made = Evidence()
    for one in records:
        made.add(one)
    return made


@pytest.mark.parametrize(("subject", "code"), list(CODES.items()))
def test_what_is_broken_is_said_by_the_rule_of_its_subject(subject: Subject, code: str) -> None:
    seen = evidence(record(subject, holds=False), record(subject, holds=False, key="positive"))
    (found,) = catalogue()[code].check(seen)  # two properties of one function are one finding
    assert found.standing is Standing.DEMONSTRATED
    assert found.location is not None
    assert found.location.line == 7
    assert "two equal distributions, -1.4 came out" in found.message
    for other in set(CODES.values()) - {code}:
        assert not catalogue()[other].check(seen)


@pytest.mark.parametrize(("subject", "code"), list(CODES.items()))
def test_what_holds_is_in_order(subject: Subject, code: str) -> None:
    rule = catalogue()[code]
    assert not rule.check(evidence(record(subject, holds=True)))
    assert rule.nothing_in(evidence(record(subject, holds=True)), rule.limits()) is None
    other: Subject = "data" if subject != "data" else "loss"
    assert rule.nothing_in(evidence(record(other, holds=True)), rule.limits()) is not None


@pytest.mark.parametrize(("subject", "code"), list(CODES.items()))
def test_what_everybody_does_is_only_suspected(subject: Subject, code: str) -> None:
    near = record(subject, holds=True, line=9)
    (found,) = catalogue()[code].check(evidence(near, record(subject, holds=False, universal=False)))
    assert found.standing is Standing.SUSPECTED
