"""Ranking and exit codes: measured effect first, refuted last, symptoms behind causes."""

from __future__ import annotations

import pytest

from traindx.diagnosis import Diagnosis, Outcome, ranked
from traindx.finding import Effect, Finding, Severity, Standing, Verdict, Worth


def finding(code, standing=Standing.DEMONSTRATED, severity=Severity.MAJOR, worth=None, verdict=Verdict.PROVEN):
    if worth is not None:
        worth = Worth(metric="psnr", alone=Effect(mean=worth, low=worth, high=worth, n=3), verdict=verdict)
    return Finding(code=code, name=code.lower(), message=code, severity=severity, standing=standing, worth=worth)


def codes(*findings):
    return [item.code for item in ranked(list(findings))]


def test_measured_effect_comes_before_standing_and_severity():
    assert codes(
        finding("S501", severity=Severity.CRITICAL),
        finding("M210", worth=13.0, standing=Standing.PROVEN),
        finding("S505", worth=2.0, standing=Standing.PROVEN),
    ) == ["M210", "S505", "S501"]


def test_refuted_comes_last_whatever_it_claims():
    refuted = finding("L306", Standing.REFUTED, Severity.CRITICAL, worth=9.0, verdict=Verdict.NO_EFFECT)
    assert codes(refuted, finding("Y701", Standing.SUSPECTED, Severity.NOTE)) == ["Y701", "L306"]


def test_an_unproven_worth_counts_for_nothing():
    assert codes(
        finding("S505", worth=9.0, verdict=Verdict.INCONCLUSIVE, severity=Severity.MINOR), finding("M210")
    ) == ["M210", "S505"]


def test_a_symptom_ranks_behind_a_cause_of_the_same_standing():
    assert codes(finding("Y701", severity=Severity.CRITICAL), finding("M203", severity=Severity.MINOR)) == [
        "M203",
        "Y701",
    ]


@pytest.mark.parametrize(
    ("standings", "outcome", "code"),
    [
        ([], Outcome.NOTHING_FOUND, 0),
        ([Standing.SUSPECTED, Standing.REFUTED], Outcome.NOTHING_FOUND, 0),
        ([Standing.DEMONSTRATED], Outcome.FAULT_FOUND, 1),
        ([Standing.PROVEN, Standing.SUSPECTED], Outcome.FAULT_FOUND, 1),
        ([], Outcome.NOT_ENOUGH_SEEN, 3),
    ],
)
def test_exit_codes(standings, outcome, code):
    findings = tuple(finding("S501", standing) for standing in standings)
    assert Diagnosis(case="c", outcome=outcome, findings=findings).exit_code == code


def test_json_round_trip_keeps_infinite_effects():
    worth = Worth(metric="m", alone=Effect(mean=1.0, low=float("-inf"), high=float("inf"), n=2))
    before = Diagnosis(
        case="c", outcome=Outcome.FAULT_FOUND, findings=(finding("S501").model_copy(update={"worth": worth}),)
    )
    assert Diagnosis.model_validate_json(before.model_dump_json()) == before
