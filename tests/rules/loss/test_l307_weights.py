"""L307: the rarer class of a concept is weighted down."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from patients.region_case import concept_term, findings, region_case
from traindx.checks.base import CheckContext
from traindx.checks.loss.regions import class_weighting
from traindx.evidence import Evidence
from traindx.evidence.regions import ClassWeighting


def focal(maps, batch, alpha=0.25, gamma=2.0):
    logits, labels = maps.amax((2, 3)), batch["label"]
    p = logits.sigmoid()
    hit = torch.where(labels == 1, p, 1 - p)
    weight = torch.where(labels == 1, alpha, 1 - alpha)
    return (-weight * (1 - hit) ** gamma * hit.clamp_min(1e-6).log()).mean()


def only_rare(term):
    """A term that looks at the rare concept alone: the common one has its own, opposite weight."""
    return lambda maps, batch: term(maps[:, :1], {**batch, "label": batch["label"][:, :1]})


def ratio(case, concept="dot"):
    evidence = Evidence(None)
    class_weighting.function(CheckContext(case, evidence))
    return {one.concept: one.ratio for one in evidence.of(ClassWeighting) if one.term == "concepts"}[concept]


def test_focal_alpha_of_a_quarter_is_found_with_its_weight():
    found = findings(region_case(concept=only_rare(focal)), class_weighting, "L307")
    assert len(found) == 1
    assert found[0].numbers["weight"] == pytest.approx(0.25 / 0.75, rel=1e-3)


def test_plain_cross_entropy_weighs_alike():
    assert findings(region_case(), class_weighting, "L307") == []
    assert ratio(region_case()) == pytest.approx(1.0, rel=1e-4)


def test_a_balancing_weight_is_silent_and_read_back():
    case = region_case(concept=lambda m, b: concept_term(m, b, pos_weight=3.0))
    assert ratio(case) == pytest.approx(3.0, rel=1e-4)
    assert findings(case, class_weighting, "L307") == []


def test_a_small_weight_of_positives_that_are_common_is_right():
    def common(maps, batch):
        label = batch["label"][:, 1:]
        return F.binary_cross_entropy_with_logits(maps[:, 1:].amax((2, 3)), label, pos_weight=torch.tensor(0.33))

    assert findings(region_case(concept=common), class_weighting, "L307") == []


def test_focal_alpha_of_three_quarters_is_silent():
    assert findings(region_case(concept=only_rare(lambda m, b: focal(m, b, alpha=0.75))), class_weighting, "L307") == []
