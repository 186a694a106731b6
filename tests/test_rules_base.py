"""The rule machinery: registration, thresholds, needs, and what a finding carries."""

from __future__ import annotations

import re

import pytest

from traindx import rules
from traindx.errors import InputError
from traindx.evidence import Evidence, InOrder, NotExamined
from traindx.finding import Severity, Standing
from traindx.rules.base import SECTIONS, Found, Registry, Threshold, rule


def make(code="T999", name="too-long", **kwargs):
    @rule(code, name, Severity.MINOR, needs=(InOrder,), most=Threshold(3, "an example"), **kwargs)
    def check(evidence, limits):
        """A page."""
        for record in evidence.of(InOrder):
            if len(record.subject) > limits.most:
                yield Found(message=record.subject, numbers={"length": len(record.subject)})

    return check


def test_thresholds_can_be_overridden_and_unknown_ones_are_refused():
    evidence = Evidence()
    evidence.add(InOrder(subject="12345"))
    item = make()
    (finding,) = item.check(evidence)
    assert (finding.code, finding.severity, finding.standing) == ("T999", Severity.MINOR, Standing.SUSPECTED)
    assert finding.numbers == {"length": 5}
    assert item.check(evidence, {"most": 9}) == []
    with pytest.raises(InputError, match="no threshold 'least'"):
        item.check(evidence, {"least": 1})


def test_a_rule_without_its_evidence_does_not_apply():
    evidence = Evidence()
    evidence.add(NotExamined(subject="x", reason="y"))
    assert not make().applies(evidence)
    assert make().check(evidence) == []


def test_registry_refuses_duplicates_and_unknown_families():
    with pytest.raises(ValueError, match="T999 is taken"):
        Registry([make(), make(name="other")])
    with pytest.raises(ValueError, match="too-long is taken"):
        Registry([make(), make("T998")])
    with pytest.raises(ValueError, match="of no family"):
        Registry([make("Q999")])


def test_registry_sorts_by_number_and_names_the_way_out():
    registry = Registry([make("R1001", "a"), make("R999", "b"), make("D101", "c")])
    assert list(registry) == ["D101", "R999", "R1001"]
    assert registry["r999"].name == "b"
    with pytest.raises(InputError, match="no rule 'X1'"):
        registry["X1"]


@pytest.mark.parametrize("item", rules.catalogue().values(), ids=lambda item: item.code)
def test_every_shipped_rule_is_documented(item):
    positions = [re.search(rf"^{section}:?$|^{section}:", item.page, re.MULTILINE) for section in SECTIONS]
    missing = [section for section, found in zip(SECTIONS, positions, strict=True) if found is None]
    assert not missing, f"{item.code} lacks sections {missing}"
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", item.name)
    assert item.source.stem.startswith(item.code.lower())
    assert all(threshold.why for threshold in item.thresholds.values())
