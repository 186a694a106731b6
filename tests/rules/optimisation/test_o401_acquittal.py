"""O401 and O408 are in order only where every optimiser could have shown the fault."""

from __future__ import annotations

from traindx import pipeline
from traindx.evidence import Evidence
from traindx.evidence.observed_optim import ParameterGroupSeen
from traindx.finding import Location
from traindx.rules import catalogue

FIRST, SECOND = Location(file="train.py", line=10), Location(file="train.py", line=20)


def group(where: Location, moved: float, number: int = 0) -> ParameterGroupSeen:
    return ParameterGroupSeen(
        where=where, optimizer="AdamW", group=number, lr=1e-3, largest_lr=1e-3, parameters=2, elements=100,
        gradient_norms=(1.0,) * 6, update_ratios=(1e-3,) * 6, moved=moved,
    )  # fmt: skip


def in_order(code: str, *groups: ParameterGroupSeen) -> bool:
    evidence = Evidence()
    for one in groups:
        evidence.add(one)
    result = pipeline.judge(evidence, pipeline.Scope(pipeline.Front.SCRIPT), chosen=(catalogue()[code],))
    assert not result.findings
    return any(one.subject.startswith(code) for one in result.in_order)


def test_a_stage_that_stood_still_is_not_acquitted_by_another() -> None:
    assert in_order("O401", group(FIRST, 0.1))
    assert in_order("O401", group(FIRST, 0.1), group(SECOND, 0.2))
    assert not in_order("O401", group(FIRST, 0.001), group(SECOND, 0.2))
    # a slow part beside a fast one of the same optimiser is another rule's
    assert in_order("O401", group(FIRST, 0.001), group(FIRST, 0.2, number=1))


def test_groups_of_two_optimisers_are_no_groups_of_one() -> None:
    assert in_order("O408", group(FIRST, 0.1), group(FIRST, 0.2, number=1))
    assert not in_order("O408", group(FIRST, 0.1), group(SECOND, 0.2))
