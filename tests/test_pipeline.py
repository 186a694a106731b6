"""One judgement for all front ends: what applies, what had something to look at, and what it adds up to."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import traindx
from traindx import checks, pipeline, rules
from traindx.diagnosis import Diagnosis, Outcome
from traindx.errors import InputError
from traindx.evidence import Action, Evidence, NotExamined, Record
from traindx.evidence.observed import Ending, IterationsSeen, NetworkCalls, ScriptRun
from traindx.evidence.observed_optim import ClippingSeen, OptimizerSeen, ParameterGroupSeen
from traindx.finding import Finding, Severity, Standing
from traindx.host.scope import ScriptScope
from traindx.rules.base import Found, Threshold, requires, rule
from traindx.rules.fronts import Front, fronts_of

SOURCES = Path(traindx.__file__).parent


@rule(
    "T999",
    "slow",
    Severity.MINOR,
    needs=(OptimizerSeen,),
    looked_at=requires(OptimizerSeen, lambda one, limits: one.steps >= limits.steps, otherwise="too few steps"),
    steps=Threshold(3, "an example"),
)
def slow(evidence, limits):
    """A page."""
    for one in evidence.of(OptimizerSeen):
        if one.steps >= limits.steps and not one.zeroed:
            yield Found(message="slow", standing=Standing.DEMONSTRATED)


def gathered(*records: Record) -> Evidence:
    evidence = Evidence()
    for record in records:
        evidence.add(record)
    return evidence


def judged(*records: Record, chosen=(slow,), scope=None, **options) -> pipeline.RuleResults:
    return pipeline.judge(gathered(*records), scope or pipeline.Scope(Front.SCRIPT), chosen=chosen, **options)


def run(ending: Ending = Ending.FINISHED) -> ScriptRun:
    return ScriptRun(target="train.py", ending=ending)


def training(iterations: int = 50, watched: int = 20) -> IterationsSeen:
    return IterationsSeen(iterations=iterations, watched=watched, driven_by="optimiser", optimizers=1)


def calls(phase: str, **fields) -> NetworkCalls:
    return NetworkCalls(network="Net", phase=phase, calls=9, iterations=9, **fields)


def scope_of(*records: Record, ending: Ending = Ending.FINISHED) -> ScriptScope:
    return ScriptScope.of(gathered(*records), run(ending))


def test_silence_counts_only_with_something_to_look_at():
    found = judged(OptimizerSeen(optimizer="SGD", steps=5))
    assert [finding.code for finding in found.findings] == ["T999"]
    fine = judged(OptimizerSeen(optimizer="SGD", steps=5, zeroed=4))
    assert [item.subject for item in fine.in_order] == ["T999 slow"]
    short = judged(OptimizerSeen(optimizer="SGD", steps=2))
    assert not short.in_order
    assert [(item.subject, item.reason) for item in short.not_examined] == [("T999 slow", "too few steps")]
    assert (short.coverage.applicable, short.coverage.looked_at, short.coverage.enough) == (1, 0, False)


def test_thresholds_reach_what_must_have_been_seen():
    assert judged(OptimizerSeen(optimizer="SGD", steps=2, zeroed=1), thresholds={"T999": {"steps": 1}}).in_order
    with pytest.raises(InputError, match="no threshold"):
        judged(OptimizerSeen(optimizer="SGD", steps=2), thresholds={"T999": {"stops": 1}})


def test_what_a_program_does_not_have_is_not_missing():
    found = judged(training(), chosen=[rules.catalogue()["O405"], rules.catalogue()["S501"], rules.catalogue()["D104"]])
    assert not found.not_examined
    assert {item.thing: item.codes for item in found.coverage.absent} == {"gradient clipping": ("O405",)}
    assert {item.thing: item.codes for item in found.coverage.elsewhere} == {
        "a described Case": ("S501",),
        "a data folder": ("D104",),
    }
    assert found.coverage.applicable == 0


def test_a_rule_that_fails_is_an_error_and_never_in_order():
    @rule("T998", "breaks", Severity.MINOR, needs=(OptimizerSeen,))
    def breaks(evidence, limits):
        """A page."""
        yield Found(message=str(1 / 0))

    found = judged(OptimizerSeen(optimizer="SGD", steps=5, zeroed=4), chosen=[breaks, slow])
    assert "ZeroDivisionError" in found.errors[0]
    assert [item.subject for item in found.in_order] == ["T999 slow"]
    assert (found.coverage.applicable, found.coverage.looked_at) == (2, 1)


def test_nothing_is_in_order_by_what_a_failed_collector_wrote():
    failure = NotExamined(subject="watching of optimisers", reason="it raised", incomplete=("OptimizerSeen",))
    fine = OptimizerSeen(optimizer="SGD", steps=5, zeroed=4)
    found = judged(fine, failure)
    assert not found.in_order
    assert found.not_examined[0].action is Action.REPAIR
    assert "it raised" in found.not_examined[0].reason
    other = NotExamined(subject="watching of clamps", reason="it raised", incomplete=("ClampSeen",))
    assert judged(fine, other).in_order
    assert judged(OptimizerSeen(optimizer="SGD", steps=5), failure).findings  # what was seen was seen


@pytest.mark.parametrize(
    "seen",
    [
        (),
        (IterationsSeen(iterations=0, watched=0),),
        (IterationsSeen(iterations=7, watched=0, driven_by="optimiser"),),
    ],
    ids=["crashed before training", "no iteration", "none watched"],
)
def test_nothing_of_a_script_is_in_order_before_it_trained(seen):
    fine = OptimizerSeen(optimizer="SGD", steps=5, zeroed=4)
    scope = scope_of(*seen, ending=Ending.CRASHED)
    found = judged(fine, *seen, scope=scope)
    assert not found.in_order
    assert pipeline.outcome(found.findings, enough=found.coverage.enough) is Outcome.NOT_ENOUGH_SEEN


@pytest.mark.parametrize(("iterations", "said"), [(1, "1 iteration"), (19, "19 iterations"), (20, ""), (500, "")])
def test_a_short_training_is_said_to_be_one(iterations, said):
    seen = IterationsSeen(iterations=iterations, watched=iterations, driven_by="optimiser")
    unseen = [text for text in scope_of(seen).unseen if "iteration" in text]
    assert unseen == ([f"training was seen for only {said}"] if said else [])


def test_modes_are_in_order_only_with_a_validation():
    mode = [rules.catalogue()["C1103"]]
    trains = calls("training", in_training_mode=9, noisy=("bn",))
    validates = calls("validation", quiet=1)
    plain = calls("training"), calls("validation")
    scope = scope_of(training(), trains)
    assert "no validation was seen" in scope.unseen
    assert not judged(training(), trains, chosen=mode, scope=scope).in_order
    assert judged(training(), trains, validates, chosen=mode, scope=scope_of(training(), trains, validates)).in_order
    assert not judged(training(), *plain, chosen=mode, scope=scope_of(training(), *plain)).in_order


def test_rates_are_not_ruled_out_where_the_weights_stood_still():
    def group(moved: float) -> ParameterGroupSeen:
        norms, ratios = (1.0,) * 6, (1e-5,) * 6
        return ParameterGroupSeen(optimizer="Adam", group=0, gradient_norms=norms, update_ratios=ratios, moved=moved)

    rates = [rules.catalogue()["O401"]]
    assert not judged(training(), group(0.001), chosen=rates).in_order
    assert judged(training(), group(0.3), chosen=rates).in_order


@pytest.mark.parametrize(
    ("ending", "action"),
    [(Ending.FINISHED, Action.NOTHING), (Ending.STOPPED, Action.WATCH), (Ending.CRASHED, Action.REPAIR)],
)
def test_a_longer_window_is_advised_only_where_there_is_one(ending, action):
    seen = training(), calls("training")
    scope = scope_of(*seen, ending=ending)
    (validation,) = [note for note in scope.notes() if note.subject == "validation"]
    assert validation.action is action
    found = judged(*seen, OptimizerSeen(optimizer="SGD", steps=2), scope=scope)
    assert found.not_examined[0].action is action


def test_outcomes():
    def found(standing: Standing) -> list[Finding]:
        return [Finding(code="T999", name="x", message="x", severity=Severity.MINOR, standing=standing)]

    assert pipeline.outcome(found(Standing.DEMONSTRATED), enough=False) is Outcome.FAULT_FOUND
    assert pipeline.outcome(found(Standing.SUSPECTED), enough=True) is Outcome.NOTHING_FOUND
    assert pipeline.outcome(found(Standing.REFUTED), enough=False) is Outcome.NOT_ENOUGH_SEEN


def test_a_diagnosis_of_schema_1_0_is_still_read():
    missing = '[{"subject": "a", "reason": "b"}]'
    text = f'{{"schema_version": "1.0", "case": "c", "outcome": "healthy", "not_examined": {missing}}}'
    old = Diagnosis.model_validate_json(text)
    assert old.coverage is None
    assert old.not_examined[0].action is Action.NOTHING


def test_rules_are_applied_in_one_place():
    """The loop, the verdict and the provenance exist once."""
    for path in SOURCES.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(SOURCES).as_posix()
        if name not in ("pipeline.py", "rules/base.py"):
            assert ".applies(" not in text, name
            assert ".decide(" not in text, name
            assert "Provenance(\n" not in text or name == "diagnosis.py", name
        if name not in ("pipeline.py", "diagnosis.py", "cli/session.py"):
            assert "Outcome.FAULT_FOUND" not in text, name


def test_every_check_names_the_records_it_may_write():
    """So that a rule without evidence can say which part of a case is missing."""
    given = {kind for check in checks.catalogue() for kind in check.gives}
    for kind in given:
        assert Front.CASE in fronts_of(kind), kind
    for item in rules.catalogue().values():
        for decider in item.deciders:
            for kind in decider.needs:
                if Front.CASE in fronts_of(kind):
                    assert kind in given, f"{item.code} needs {kind.__name__}, which no check gives"


def test_records_that_the_watch_writes_belong_to_scripts():
    for path in (SOURCES / "watch").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in Record.kinds:
                kind = Record.kinds[node.func.id]
                if kind not in (NotExamined,):
                    assert Front.SCRIPT in fronts_of(kind), f"{path.name} writes {kind.__name__}"


def test_clipping_that_was_seen_too_rarely_is_not_in_order():
    found = judged(ClippingSeen(function="norm", limit=1.0, calls=1), chosen=[rules.catalogue()["O413"]])
    assert [item.reason for item in found.not_examined] == ["clipping was watched too rarely"]
