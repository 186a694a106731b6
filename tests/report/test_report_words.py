"""No sentence claims a cause that was not tested or a gain that was not measured."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traindx.diagnosis import Coverage, Diagnosis, Outcome, TreatmentResult, TrialTable
from traindx.evidence import Action, InOrder, NotExamined
from traindx.finding import Effect, Finding, Location, Severity, Standing, Verdict, Worth
from traindx.report import coverage, html, words

NAN = float("nan")


def finding(standing: Standing = Standing.DEMONSTRATED, worth: Worth | None = None, code: str = "S501") -> Finding:
    return Finding(
        code=code,
        name="sampler-does-not-invert",
        message="It does not.",
        severity=Severity.CRITICAL,
        standing=standing,
        location=Location(file="a.py", line=3),
        worth=worth,
    )


def fault_found(*findings: Finding) -> Diagnosis:
    return Diagnosis(case="c", outcome=Outcome.FAULT_FOUND, findings=findings)


def worth(verdict: Verdict, alone: float | None, rest: float | None, n: int = 3) -> Worth:
    def made(mean: float | None) -> Effect | None:
        return None if mean is None else Effect(mean=mean, low=mean - 1, high=mean + 1, n=n)

    return Worth(metric="psnr", unit="dB", alone=made(alone), given_rest=made(rest), verdict=verdict)


def test_proven_sentence_gives_effect_interval_company_and_pairs() -> None:
    sentence = words.verdict_sentence(fault_found(finding(Standing.PROVEN, worth(Verdict.PROVEN, 20.0, 13.9))))
    assert sentence == (
        "Sampler does not invert (S501) at a.py:3: treating it improves psnr by 13.9 dB [12.9, 14.9] "
        "with every other treatment in place, measured over 3 paired seeds."
    )


def test_demonstrated_without_trial_claims_no_gain() -> None:
    sentence = words.verdict_sentence(fault_found(finding()))
    assert "not measured" in sentence
    assert "improves" not in sentence
    assert "dB" not in sentence


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.HARMFUL, Verdict.NO_EFFECT])
def test_demonstrated_whose_trial_showed_no_gain_claims_none(verdict: Verdict) -> None:
    sentence = words.verdict_sentence(fault_found(finding(worth=worth(verdict, 3.0, 0.1))))
    assert "improves" not in sentence
    assert verdict.value in sentence


def test_contributory_leads_with_the_company_in_which_it_counts() -> None:
    sentence = words.verdict_sentence(fault_found(finding(worth=worth(Verdict.CONTRIBUTORY, 8.0, 0.1))))
    assert "improves psnr by 8.0 dB [7.0, 9.0] alone, on the untreated case" in sentence


def test_what_moved_the_metric_for_the_worse_is_no_improvement() -> None:
    sentence = words.verdict_sentence(fault_found(finding(Standing.PROVEN, worth(Verdict.PROVEN, None, -3.0))))
    assert "changes psnr by -3.0 dB" in sentence
    assert "improves" not in sentence


def test_suspicion_alone_is_no_guilt() -> None:
    diagnosis = Diagnosis(
        case="c",
        outcome=Outcome.NOTHING_FOUND,
        findings=(finding(Standing.SUSPECTED),),
        healthy=(InOrder(subject="a"), InOrder(subject="b")),
        not_examined=(NotExamined(subject="p", reason="r"),),
    )
    assert words.lead_finding(diagnosis) is None
    assert words.verdict_sentence(diagnosis) == (
        "No fault was shown: 2 checks in order, 1 suspicion not tested, 1 subject not examined."
    )


def test_the_headline_says_how_much_could_be_judged() -> None:
    seen = Coverage(applicable=52, looked_at=31, unseen=("no validation was seen",))
    diagnosis = Diagnosis(case="c", outcome=Outcome.NOTHING_FOUND, coverage=seen)
    assert words.verdict_sentence(diagnosis) == (
        "Nothing found; 31 of 52 applicable checks had something to look at; no validation was seen."
    )
    assert words.coverage_line(diagnosis) == ""  # said already
    broken = fault_found(finding()).model_copy(update={"coverage": seen})
    assert words.coverage_line(broken).startswith("31 of 52 applicable checks")
    small = finding(Standing.SUSPECTED).model_copy(update={"severity": Severity.MINOR})
    one = diagnosis.model_copy(update={"findings": (small,)})
    assert words.verdict_sentence(one).startswith("Nothing found, 1 suspicion not tested; 31 of 52")
    assert words.outcome_word(one) == "nothing found"


def test_a_grave_suspicion_does_not_hide_under_nothing_found() -> None:
    small = finding(Standing.SUSPECTED).model_copy(update={"severity": Severity.MINOR})
    both = Diagnosis(
        case="c",
        outcome=Outcome.NOTHING_FOUND,
        coverage=Coverage(applicable=52, looked_at=31),
        findings=(small, finding(Standing.SUSPECTED, code="D154")),
        extras={"symptoms": ["x is flat"]},
    )
    assert words.outcome_word(both) == "suspected, not tested"
    assert words.verdict_sentence(both) == (
        "Sampler does not invert (D154) at a.py:3 is suspected and was not tested; 1 more suspicion; x is flat; "
        "31 of 52 applicable checks had something to look at."
    )
    page = html.render(both)
    assert re.search(r'<details class="suspected" id="D154-[^"]*" open>', page)
    assert page.count(" open>") == 1
    assert '<header class="page suspected">' in page
    assert words.outcome_word(fault_found(finding(), small)) == "fault found"


def test_nothing_found_over_a_symptom_does_not_sound_like_health() -> None:
    seen = Coverage(applicable=52, looked_at=31)
    diagnosis = Diagnosis(case="c", outcome=Outcome.NOTHING_FOUND, coverage=seen, extras={"symptoms": ["x is flat"]})
    assert words.verdict_sentence(diagnosis).startswith("No cause was found, and x is flat; 31 of 52")


def test_what_is_not_examined_is_grouped_by_what_can_be_done_about_it() -> None:
    missing = (
        NotExamined(subject="validation", reason="none was reached", action=Action.WATCH),
        NotExamined(subject="C1103 mode-wrong", reason="no validation was seen", action=Action.WATCH),
        NotExamined(subject="E805 a-b", reason="no validation was seen", action=Action.WATCH),
        NotExamined(subject="E806 c-d", reason="no validation was seen", action=Action.WATCH),
        NotExamined(subject="compiled code", reason="it cannot be watched"),
        NotExamined(subject="D104 constant-label-column", reason="no table was given", action=Action.GIVE),
    )
    groups = coverage.unexamined(Diagnosis(case="c", outcome=Outcome.NOTHING_FOUND, not_examined=missing))
    assert [group.title for group in groups] == [
        "Watch longer (--steps, --until)",
        "Give an option or a table",
        "Nothing to be done here",
    ]
    assert groups[0].rows == (("validation", "none was reached"), ("C1103 E805 E806", "no validation was seen"))
    assert groups[1].rows == (("D104 constant-label-column", "no table was given"),)


def test_a_missing_part_is_listed_once_with_all_that_it_would_show() -> None:
    def missing(subject: str) -> NotExamined:
        return NotExamined(subject=subject, reason="the case does not describe val", action=Action.DESCRIBE)

    items = (missing("is anybody both trained and validated on"), missing("E806 evaluated-on-training-data"))
    (group,) = coverage.unexamined(Diagnosis(case="c", outcome=Outcome.NOTHING_FOUND, not_examined=items))
    assert group.rows == (("val", "is anybody both trained and validated on (E806)"),)


def test_nothing_seen_says_why() -> None:
    diagnosis = Diagnosis(case="c", outcome=Outcome.NOT_ENOUGH_SEEN, errors=("case.py:3: it raised.\n  do: fix it",))
    assert words.verdict_sentence(diagnosis) == "Not enough was seen for a verdict: case.py:3: it raised."


def test_one_pair_has_no_interval() -> None:
    assert words.effect_text(Effect(mean=2.0, low=NAN, high=NAN, n=1), "dB") == "+2.0 dB (one pair: no interval)"


def test_bit_identity_is_worth_nothing() -> None:
    same = Worth(metric="psnr", verdict=Verdict.NO_EFFECT, bit_identical=True)
    assert words.fix_effect(same).startswith("nothing: weights after training are bit-identical")
    assert "bit-identical" in words.how_we_know(same)


def test_unmeasured_worth() -> None:
    assert words.fix_effect(None) == "not measured"


def test_harmful_shows_the_worse_company() -> None:
    assert words.fix_effect(worth(Verdict.HARMFUL, -5.0, -0.5)).startswith("-5.0 dB")


@pytest.mark.parametrize(
    ("file", "shown"),
    [("a.py", "a.py:3"), ("pkg/sub/deep/a.py", "pkg/sub/deep/a.py:3"), ("/home/me/project/a.py", "…/project/a.py:3")],
)
def test_a_long_way_to_a_file_is_shortened_in_the_sentence(file: str, shown: str) -> None:
    far = finding().model_copy(update={"location": Location(file=file, line=3)})
    assert f"(S501) at {shown} is shown broken" in words.verdict_sentence(fault_found(far))


def test_what_was_found_healthy_twice_is_told_once() -> None:
    items = (InOrder(subject="a", detail="1"), InOrder(subject="b"), InOrder(subject="a", detail="1"))
    diagnosis = Diagnosis(case="c", outcome=Outcome.NOTHING_FOUND, healthy=items)
    assert words.in_order(diagnosis) == ([("a", "1")], ["b"])
    assert "2 checks in order" in words.verdict_sentence(diagnosis)


def test_a_single_treatment_has_no_company() -> None:
    only = worth(Verdict.PROVEN, 2.5, 2.5)
    assert words.fix_effect(only) == "+2.5 dB [1.5, 3.5] psnr"
    sentence = words.verdict_sentence(fault_found(finding(Standing.PROVEN, only)))
    assert "by 2.5 dB [1.5, 3.5], measured over 3 paired seeds." in sentence


def test_findings_that_share_a_cure_are_not_told_apart() -> None:
    first, second = finding(worth=worth(Verdict.PROVEN, 2, 2)), finding(worth=worth(Verdict.PROVEN, 2, 2), code="L306")
    table = TrialTable(metric="psnr", results=(TreatmentResult(treatment="unclamp", codes=("S501", "L306")),))
    diagnosis = fault_found(first, second).model_copy(update={"trials": table})
    assert "S501 and L306 together" in words.shared_fix(diagnosis, first)
    assert "L306 and S501 together" in words.shared_fix(diagnosis, second)
    assert words.shared_fix(diagnosis, finding(code="L306")) == ""
    own = TrialTable(metric="psnr", results=(TreatmentResult(treatment="unclamp", codes=("S501",)),))
    assert words.shared_fix(fault_found(first).model_copy(update={"trials": own}), first) == ""


@pytest.mark.parametrize(
    ("subject", "rule"),
    [("S501 sampler-does-not-invert", True), ("R1001 prototypes-collapsed", True), ("the noise schedule", False)],
)
def test_rules_are_told_from_exams(subject: str, rule: bool) -> None:
    assert coverage.is_rule(subject) is rule


def test_acquittal_is_told_once() -> None:
    refuted = finding(Standing.REFUTED, Worth(metric="psnr", verdict=Verdict.NO_EFFECT, bit_identical=True), "L306")
    results = (
        TreatmentResult(treatment="unclamp", codes=("L306",), verdict=Verdict.NO_EFFECT),
        TreatmentResult(treatment="learning-rate", verdict=Verdict.NO_EFFECT),
    )
    diagnosis = Diagnosis(
        case="c", outcome=Outcome.NOTHING_FOUND, findings=(refuted,), trials=TrialTable(metric="psnr", results=results)
    )
    assert [item.code for item in words.refuted_findings(diagnosis)] == ["L306"]
    told = words.results_without_finding(diagnosis, Verdict.NO_EFFECT)
    assert [result.treatment for result in told] == ["learning-rate"]


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6))
def test_numbers_are_near_what_they_stand_for_and_never_minus_zero(value: float) -> None:
    text = words.number(value, signed=True)
    assert not re.fullmatch(r"[-+]0(\.0*)?", text)
    assert math.isclose(float(text), value, rel_tol=0.051, abs_tol=0.0006)


@pytest.mark.parametrize(
    ("value", "text"),
    [(NAN, "not a number"), (math.inf, "infinite"), (-math.inf, "-infinite"), (0.0, "0.000"), (123.4, "123")],
)
def test_odd_numbers(value: float, text: str) -> None:
    assert words.number(value) == text
