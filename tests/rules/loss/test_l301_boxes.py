"""L301 for a box term: its direction."""

from __future__ import annotations

from patients.region_case import box_term, findings, hinge, region_case
from traindx.checks.loss.regions import box_regions
from traindx.finding import Standing


def test_an_inverted_term_is_demonstrated():
    found = findings(region_case(term=lambda m, b: box_term(-m, b)), box_regions, "L301")
    assert [one.standing for one in found] == [Standing.DEMONSTRATED]
    assert found[0].numbers["inside"] < 0 < found[0].numbers["outside"]
    assert {proposal.treatment for proposal in found[0].proposals} == {"flip-term", "drop-term"}


def test_the_right_direction_is_silent():
    assert findings(region_case(), box_regions, "L301") == []


def test_a_term_without_margin_has_the_right_direction():
    assert findings(region_case(term=lambda m, b: hinge(m, b["drawn"], 0.0)), box_regions, "L301") == []


def test_a_term_that_only_lowers_the_outside_is_right_too():
    def outside(maps, batch):
        return (maps * (batch["drawn"] <= 0)).mean()

    assert findings(region_case(term=outside), box_regions, "L301") == []
