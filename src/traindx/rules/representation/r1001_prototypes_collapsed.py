"""R1001 prototypes-collapsed."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.training_state import PrototypeSpread
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "R1001",
    "prototypes-collapsed",
    Severity.MAJOR,
    needs=(PrototypeSpread,),
    looked_at=requires(
        PrototypeSpread, lambda record, limits: record.each >= 2, otherwise="every concept has one prototype only"
    ),
    within=Threshold(0.8, "mean cosine of two prototypes of a concept; healthy ones are below 0.5"),
    rise=Threshold(0.2, "by which learning must have raised it: prototypes that begin alike are another matter"),
    unnoticed=Threshold(0.5, "what the monitor says is below this, the usual limit of alarm"),
)
def prototypes_collapsed(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Prototypes of one concept that learning makes nearly the same vector, and monitors that cannot see it because
        they average over all pairs, of which most are between concepts.

    Why it stops learning:
        M prototypes a concept then say no more than one: the subtypes of a finding are not told apart, and every
        "this looks like that" shows the same patch.

    Evidence it needs:
        ``Case.prototypes``: prototypes before and after a short learning with the case's own loss.

    How it decides:
        The mean cosine within concepts is above ``within`` after learning and rose by more than ``rise``:
        demonstrated. A high temperature pulls every patch's softmax towards all prototypes of its concept at once; it
        is named where nothing else is known.

    Remedy:
        Lower the temperature, add a term that keeps prototypes of a concept apart, and monitor the similarity within
        concepts.

    Trial it proposes:
        None: the similarity itself was measured.

    Known false positives:
        Concepts that truly have one appearance, with more prototypes than they need.

    References:
        Chen et al., This looks like that, NeurIPS 2019; Wang et al., TesNet, ICCV 2021 (orthogonal prototypes).
    """
    for record in evidence.of(PrototypeSpread):
        if record.each < 2 or not record.within > limits.within:
            continue
        if record.within - record.within_before <= limits.rise:
            continue
        missed = not math.isnan(record.monitored) and record.monitored < limits.unnoticed
        unseen = f" The case's own monitor reads {record.monitored:.3f} and cannot see it." if missed else ""
        yield Found(
            message=f"Learning at temperature {record.temperature:g} raises the mean cosine of two prototypes of one "
            f"concept from {record.within_before:.2f} to {record.within:.2f}: {record.each} prototypes say what one "
            f"would.{unseen}",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={
                "within": round(record.within, 3),
                "within before": round(record.within_before, 3),
                "between": round(record.between, 3),
                **({} if math.isnan(record.monitored) else {"monitored": round(record.monitored, 3)}),
                "temperature": record.temperature,
            },
            remedy="Lower the temperature, keep prototypes of a concept apart by a term of the loss, and monitor the "
            "similarity within concepts.",
        )
