"""The faults of the concepts document: each is found by its rule first, and breaks what it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from traindx import examine
from traindx.cli.target import load_case
from traindx.faults import registry
from traindx.faults.concepts import FAULTS
from traindx.finding import Standing
from traindx.recipes.concepts.case import learn_prototypes, make_case, setup_of
from traindx.recipes.concepts.prototypes import similarities
from traindx.rules import catalogue

NAMES = [fault.name for fault in FAULTS]
CHECKED = ["C1102", "C1105", "C1109", "D119", "D126", "D127", "E809", "L301", "L307", "L313", "L315", "O401", "R1001"]
DOCUMENT = {
    "box-loss-no-margin",
    "box-loss-inverted",
    "low-learning-rates",
    "temperature-0.1",
    "temperature-raised",
    "partial-load",
    "unflipped-boxes",
    "vanished-boxes",
    "boxes-penalise-each-other",
    "focal-alpha",
    "ct-window",
    "augmented-validation",
    "unseeded-split",
    "shared-best-score",
    "monitor-blind-to-nan",
    "concepts-postmortem",
}


@pytest.fixture(scope="module")
def healthy():
    return make_case(images=140, batches=10)


def quick(case, codes=CHECKED):
    """The checks that the rules of this document need, and their findings in order."""
    from traindx import checks, rules
    from traindx.checks.base import CheckContext
    from traindx.diagnosis import ranked
    from traindx.evidence import Evidence

    evidence = Evidence(None)
    wanted = {"data-path", "box-regions", "class-weighting", "prototype-spread", "training_state", "rate-probe"}
    with case.open():
        ctx = CheckContext(case, evidence)
        for one in checks.catalogue():
            if one.name in wanted:
                assert one.missing(case) == ()
                one.function(ctx)
    return ranked([finding for code in codes for finding in rules.catalogue()[code].check(evidence)])


def test_the_whole_document_is_catalogued():
    assert {fault.name for fault in registry().values() if fault.recipe == "concepts"} == DOCUMENT


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_says_what_is_known_of_it(name):
    fault = registry()[name]
    assert fault.postmortem == "concepts-and-prototypes"
    assert fault.truth
    assert not fault.expected_rule or fault.expected_rule in catalogue()


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS if fault.expected_rule])
def test_the_right_rule_comes_first(healthy, name):
    fault = registry()[name]
    found = quick(fault.apply(healthy))
    assert found[0].code == fault.expected_rule


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS if not fault.expected_rule])
def test_what_is_innocent_is_at_most_suspected(healthy, name):
    assert all(one.standing is Standing.SUSPECTED for one in quick(registry()[name].apply(healthy)))


@pytest.mark.parametrize("seed", range(3))
def test_the_healthy_case_is_silent(seed):
    assert quick(make_case(images=140, batches=10, seed=seed)) == ()


def test_a_whole_examination_of_the_healthy_case_finds_nothing(healthy):
    diagnosis = examine(healthy, budget="0s")
    assert [finding.code for finding in diagnosis.findings] == []
    assert diagnosis.errors == ()
    assert "direction of the box term 'boxes'" in {item.subject for item in diagnosis.healthy}


def test_a_fault_leaves_the_healthy_case_as_it_was(healthy):
    before = [batch["masks"].clone() for batch in healthy.batches("train")]
    for fault in FAULTS:
        fault.apply(healthy)
    assert all(torch.equal(a, b["masks"]) for a, b in zip(before, healthy.batches("train"), strict=True))


def test_faults_are_known_to_the_command_line():
    assert load_case("recipe:concepts", ["box-loss-no-margin"], images=60, batches=2).name == "concepts (phantom)"


def test_unflipped_boxes_leave_the_lesion_outside(healthy):
    """Share of the boxes that still hold their lesion: those of images that were not flipped, and of few others."""
    moved = list(registry()["unflipped-boxes"].apply(healthy).batches("train"))
    both = list(healthy.batches("train"))
    same = [
        float((a["masks"][i] * b["masks"][i]).sum() / b["masks"][i].sum())
        for a, b in zip(moved, both, strict=True)
        for i in range(len(b["masks"]))
        if b["masks"][i].sum() > 0
    ]
    assert np.mean(same) < 0.6


def test_a_high_temperature_makes_prototypes_alike_and_the_low_one_does_not(healthy):
    """What was measured of the document's claim: the other way round."""
    from dataclasses import replace

    setup = setup_of(healthy)
    within = {}
    for temperature in (0.1, 0.3, 0.5):
        bare = replace(setup, temperature=temperature, separation=0.0)
        within[temperature] = similarities(learn_prototypes(bare, 0)[1]).within
    assert within[0.1] < within[0.3] < within[0.5]
    assert within[0.1] < 0.2
    raised = similarities(learn_prototypes(replace(setup, temperature=0.5, separation=0.0), 0)[1])
    assert raised.overall < 0.2
    assert raised.within > 0.8


def test_a_temperature_of_three_tenths_with_separation_is_a_near_miss(healthy):
    within = similarities(learn_prototypes(setup_of(healthy), 0)[1]).within
    assert 0.1 < within < 0.5
