"""E809: stages share one best score."""

from __future__ import annotations

from patients.region_case import findings, region_case
from traindx import TrainingState
from traindx.checks.training.training_state import training_state
from traindx.finding import Standing


def selector(keyed: bool):
    def best():
        scores: dict[str, float] = {}

        def offer(stage, score):
            key = stage if keyed else "all"
            better = score > scores.get(key, float("-inf"))
            scores[key] = max(score, scores.get(key, score))
            return better

        return offer

    return best


def with_selector(best, stages=("one", "two")):
    return region_case(training_state=TrainingState(best=best, stages=stages))


def test_one_score_for_all_stages_is_demonstrated():
    found = findings(with_selector(selector(keyed=False)), training_state, "E809")
    assert [one.standing for one in found] == [Standing.DEMONSTRATED]
    assert found[0].numbers == {"refused": 3, "offered": 3}


def test_a_score_for_each_stage_is_silent():
    assert findings(with_selector(selector(keyed=True)), training_state, "E809") == []


def test_a_selector_that_keeps_everything_is_another_fault():
    assert findings(with_selector(lambda: lambda stage, score: True), training_state, "E809") == []


def test_one_stage_alone_is_not_examined():
    assert findings(with_selector(selector(keyed=False), stages=("one",)), training_state, "E809") == []
