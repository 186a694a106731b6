"""A collector that failed leaves records behind that nobody may take for the whole."""

from __future__ import annotations

from traindx.evidence.observed_loss import ClampSeen
from traindx.evidence.observed_optim import OptimizerSeen, ParameterSeen
from traindx.watch.runtime.incomplete import ALL, incomplete_kinds

WRITES = (OptimizerSeen, ParameterSeen)  # what the collectors of this module know


class Source:
    """Writes records itself."""


class User:
    """Uses another collector."""

    def __init__(self, source):
        self.source = source


def test_the_records_of_a_failed_collector_and_of_those_that_use_it_are_incomplete(monkeypatch):
    source, apart = Source(), Source()
    user = User(source)
    further = User(user)
    monkeypatch.setattr("traindx.watch.runtime.incomplete._kinds", lambda one: {str(id(one))})
    found = incomplete_kinds(source, [source, apart, user, further])
    assert set(found) == {str(id(source)), str(id(user)), str(id(further))}
    assert incomplete_kinds(apart, [source, apart, user, further]) == (str(id(apart)),)


def test_a_collectors_kinds_are_those_its_module_knows():
    assert {"OptimizerSeen", "ParameterSeen", ClampSeen.__name__} == set(incomplete_kinds(Source(), []))


def test_a_failure_outside_any_collector_spares_nothing():
    assert incomplete_kinds(None, [Source()]) == (ALL,)


def test_every_collector_is_known_to_write_what_it_writes(tmp_path):
    """The real ones: a failed optimiser collector takes what is derived from it along, and nothing of clamps."""
    import torch

    from traindx.watch.runtime.assembly import WithoutTorch, collectors_for
    from traindx.watch.runtime.settings import Settings
    from traindx.watch.runtime.sink import Sink
    from traindx.watch.runtime.watch import Watch

    watch = Watch(torch, Settings(target="train.py", out=str(tmp_path)), Sink(tmp_path, 1))
    collectors = collectors_for(watch, WithoutTorch())
    by_subject = {collector.subject: collector for collector in collectors}
    optimisers = incomplete_kinds(by_subject["optimisers"], collectors)
    assert {"OptimizerSeen", "ParameterGroupSeen", "ParameterSeen"} <= set(optimisers)
    clamps = incomplete_kinds(by_subject["clamps"], collectors)
    assert "ClampSeen" in clamps
    assert "OptimizerSeen" not in clamps
