"""M206 time-ignored, from experiments on a running script."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import InputProbed
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.model._probed import lost, never_moves


def judged(record: InputProbed) -> bool:
    """A time in training that differs from sample to sample, so that the network has to be told."""
    return record.time and record.training and bool(record.shape) and not record.single


@rule(
    "M206",
    "time-ignored",
    Severity.MAJOR,
    needs=(InputProbed,),
    looked_at=requires(
        InputProbed,
        lambda one, limits: one.differs and judged(one),
        thing="time arguments with one number a sample",
    ),
    probed_time=Threshold(1e-7, "below the round-off of float32: the output is the same number for number"),
)
def time_ignored_in_script(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The same in a script: the times of a captured call are exchanged between samples, and nothing changes.

    An argument counts as a time if it has one number a sample and a time's name. `demonstrated` if the output never
    moved by more than `probed_time` of its spread in a training call. One number for the whole batch, written once or
    for every sample, is not judged: an autonomous differential equation is handed its solver's time, and rightly
    ignores it.
    """
    for record in never_moves(evidence, limits.probed_time):
        if not judged(record):
            continue
        yield Found(
            variant="time-ignored",
            message=f"{record.network} answers alike at every {record.argument!r}: other times change the output by "
            f"{record.effect:.1g} of its spread{lost(record)}.",
            standing=Standing.DEMONSTRATED,
            location=record.lost_at or record.where,
            numbers={"effect": record.effect, "lost_in": record.lost_in},
            remedy="Follow the time to its embedding; look for an integer cast after scaling to [0, 1], and for an "
            "embedding that is computed but not used.",
        )
