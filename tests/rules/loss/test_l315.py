"""L315: a box term without a margin is suspected, its direction ruled out."""

from __future__ import annotations

from patients.region_case import box_term, findings, hinge, region_case
from traindx.checks.loss.regions import box_regions
from traindx.finding import Standing


def test_no_margin_is_suspected_and_the_flip_is_proposed_for_trial():
    found = findings(region_case(term=lambda m, b: hinge(m, b["drawn"], 0.0)), box_regions, "L315")
    assert [one.standing for one in found] == [Standing.SUSPECTED]
    assert "flip-term" in {proposal.treatment for proposal in found[0].proposals}
    assert "direction is right" in found[0].message


def test_a_margin_is_silent():
    assert findings(region_case(), box_regions, "L315") == []


def test_an_inverted_term_without_margin_is_left_to_l301():
    case = region_case(term=lambda m, b: hinge(-m, b["drawn"], 0.0))
    assert findings(case, box_regions, "L315") == []
    assert findings(case, box_regions, "L301") != []


def test_an_unbounded_contrast_never_stops_asking():
    def contrast(maps, batch):
        return hinge(maps, batch["drawn"], 1e6)

    assert findings(region_case(term=contrast), box_regions, "L315") == []
    assert findings(region_case(term=box_term), box_regions, "L315") == []
