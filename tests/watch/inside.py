"""A training loop watched in the test's own process: seconds instead of the minute that a process of its own takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from traindx.evidence import Evidence
from traindx.finding import Finding
from traindx.host.translate import translated
from traindx.rules import Rule, catalogue
from traindx.watch.runtime.assembly import WithoutTorch, collectors_for
from traindx.watch.runtime.settings import Settings
from traindx.watch.runtime.sink import Sink, compact
from traindx.watch.runtime.watch import Watch


@contextmanager
def watching(folder: Path, *, children: bool = False) -> Iterator[Watch]:
    """All collectors and probes are in place inside the block; the evidence lies in ``folder`` afterwards.

    ``children``: those that try something in child processes do so as well.
    """
    extras = {"functions": children}
    watch = Watch(torch, Settings("test", steps=0, seconds=0.0, stop=False, extras=extras), Sink(folder))
    watch.collectors = collectors_for(watch, WithoutTorch())
    for collector in list(watch.collectors):
        with watch.ours(collector):
            collector.install()
    try:
        yield watch
    finally:
        watch.finish()
        watch.sink.close()
        compact(folder)


def watched(script: Callable[[], object], folder: Path, *, children: bool = False) -> Evidence:
    """Run a function that trains something and give the evidence, translated as for a diagnosis."""
    with watching(folder, children=children):
        script()
    evidence = Evidence.load(folder)
    for record in translated(evidence):
        evidence.add(record)
    return evidence


def found(code: str, evidence: Evidence) -> list[Finding]:
    """What one rule finds."""
    item: Rule = catalogue()[code]
    return item.check(evidence) if item.applies(evidence) else []
