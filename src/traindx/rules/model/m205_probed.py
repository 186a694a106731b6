"""M205 condition-ignored, from experiments on a running script."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import InputProbed
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.model._probed import by_argument, lost, never_moves


@rule(
    "M205",
    "condition-ignored",
    Severity.CRITICAL,
    needs=(InputProbed,),
    looked_at=requires(
        InputProbed,
        lambda one, limits: one.argument != "all inputs" and not one.time and one.differs,
        thing="network with several arguments",
    ),
    probed_nothing=Threshold(1e-6, "round-off of float32"),
    probed_moved=Threshold(0.15, "as for cases: pooled encoders measured 0.03 to 0.06, spatial ones 1.3 to 1.6"),
)
def argument_ignored(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The same in a script: one of several arguments of a network is replaced, and the output stays as it is.

    An image or volume that was replaced in a training call without the output moving by more than `probed_nothing` in
    any experiment is `demonstrated`; anything else (a label, a mask, a vector that the interface may ask for without
    using it) is `suspected`. An image of which only the content arrives, not the place, is `suspected` (some encoders
    of style are meant so): a spot that is moved does less than `probed_moved` of what its appearance does, although
    the output is an image of the same size.
    """
    for record in never_moves(evidence, limits.probed_nothing):
        if record.argument == "all inputs" or record.time:
            continue
        image = len(record.shape) >= 4 and record.training
        yield Found(
            variant="argument-ignored",
            message=f"{record.network} ignores its argument {record.argument!r}: replacing it changes the output by "
            f"{record.effect:.1g} of its spread{lost(record)}.",
            standing=Standing.DEMONSTRATED if image else Standing.SUSPECTED,
            severity=None if image else Severity.MAJOR,
            location=record.lost_at or record.where,
            numbers={"effect": record.effect, "lost_in": record.lost_in},
            remedy=f"Follow {record.argument!r} through forward() to the layer that should join it; concatenate images "
            "as channels or feature maps, with their spatial layout.",
        )
    for (network, argument), records in by_argument(evidence).items():
        spots = [one for one in records if one.change == "spot" and one.registered and one.training]
        moved = [one for one in records if one.change == "spot moved" and one.registered and one.training]
        ratios = [m.effect / s.effect for s, m in zip(spots, moved, strict=False) if s.effect > 1e-5]
        if not ratios or max(ratios) >= limits.probed_moved:
            continue
        yield Found(
            variant="place-lost",
            message=f"Of its argument {argument!r} {network} knows what is there but not where: moving a bright spot "
            f"across it does {100 * max(ratios):.1f} % of what the spot itself does. It was pooled on the way.",
            severity=Severity.MAJOR,
            location=moved[0].where,
            numbers={"moved_over_appeared": round(max(ratios), 5)},
            remedy=f"Join {argument!r} as feature maps (concatenation, spatial cross-attention) instead of a vector.",
        )
