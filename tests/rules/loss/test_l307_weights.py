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
from traindx.finding import Standing


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
    assert found[0].standing is Standing.SUSPECTED  # with gamma = 2 it is the published optimum, for another prior


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 0.0), (0.1, 2.0)])
def test_weights_that_no_exponent_makes_up_for_are_demonstrated(alpha, gamma):
    case = region_case(concept=only_rare(lambda m, b: focal(m, b, alpha=alpha, gamma=gamma)))
    (finding,) = findings(case, class_weighting, "L307")
    assert finding.standing is Standing.DEMONSTRATED


def test_the_canonical_focal_loss_at_the_prior_it_was_made_for_is_left_alone():
    """Alpha 0.25 and gamma 2, one positive among 500: the gradient of easy negatives has all but gone."""
    from traindx.rules.loss import RULES

    rule = next(one for one in RULES if one.code == "L307")
    record = ClassWeighting(term="focal", concept="dot", positives=20, samples=10_000, ratio=1 / 3, easy=0.00124)
    evidence = Evidence(None)
    evidence.add(record)
    assert rule.check(evidence) == []
    evidence.add(record.model_copy(update={"term": "weighted", "easy": 0.1}))
    (finding,) = rule.check(evidence)
    assert finding.standing is Standing.DEMONSTRATED


def test_the_pull_on_easy_negatives_is_that_of_the_formula():
    """Derivatives of ``-p**2 log(1 - p)`` and ``-log(1 - p)`` by the logit, at 0.05 over at one half."""
    evidence = Evidence(None)
    for name, term in (("focal", focal), ("plain", concept_term)):
        class_weighting.function(CheckContext(region_case(concept=term), evidence))
        easy = evidence.of(ClassWeighting)[-1].easy
        assert easy == pytest.approx({"focal": 0.00124, "plain": 0.1}[name], rel=0.02), name


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
