"""D135 items-drift."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import ItemsSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D135",
    "items-drift",
    Severity.CRITICAL,
    needs=(ItemsSeen,),
    looked_at=requires(
        ItemsSeen,
        lambda items, limits: items.alike >= limits.least,
        otherwise="too few items came three times without being augmented anew",
    ),
    least=Threshold(6, "items that came three times; that six move one way at random has a chance of 4e-5"),
    share=Threshold(0.9, "of them that move the same way every time they come"),
    factor=Threshold(1.5, "from first to last in spread; random intensity scaling stays within it and goes both ways"),
    shift=Threshold(1.0, "spreads, from first to last in the mean"),
)
def items_drift(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The same item has other values each time that it is read, and always in the same direction.

    What it finds:
        Arrays that are normalised in place: `image -= mean; image /= std` in `__getitem__` on an array that the data
        set keeps, so that every pass normalises again what the last one left.
    Why it stops learning:
        After some passes images are tiny or huge, and the network is trained on a scale that neither validation nor
        deployment has. The first pass looks right.
    Evidence it needs:
        ItemsSeen (a watched script that reads from a `DataLoader` and makes three passes).
    How it decides:
        Items are followed by the index that the sampler drew. Where they are the same each time up to scale and offset
        (correlation of 0.999 with the first time), and at least `share` of at least `least` grow, shrink, rise or fall
        every time, by `factor` or `shift` in all: `demonstrated`, as the same index must give the same item. Items
        are then made once more in a forked child under a line trace, which names the line that changes what is kept.
    Remedy:
        Normalise a copy, or once when the data set is made.
    Trial it proposes:
        None; the data set is mended.
    Known false positives:
        Normalisation by running statistics that are still settling; a strength of augmentation that grows by plan and
        changes nothing but brightness.
    References:
        None.
    """
    for items in evidence.of(ItemsSeen):
        if items.alike < limits.least:
            continue
        enough = limits.share * items.alike
        scaled = max(items.growing, items.shrinking) >= enough
        scaled = scaled and max(items.factor, 1 / items.factor if items.factor else 0.0) >= limits.factor
        moved = max(items.rising, items.falling) >= enough and items.shift >= limits.shift
        if not scaled and not moved:
            continue
        if scaled:
            times = f"{items.factor:.3g}" if items.factor >= 1 else f"1/{1 / items.factor:.3g}"
            how = f"their spread is {times} times what it was at first"
        else:
            how = f"their mean has moved by {items.shift:.3g} times their spread"
        yield Found(
            message=f"Items of {items.dataset} change each time they are read: after up to {items.sightings} readings "
            f"of the same {items.alike} items {how}. They are changed in place.",
            standing=Standing.DEMONSTRATED,
            location=items.changed_at or items.item or items.where,
            numbers={
                "items": items.alike,
                "sightings": items.sightings,
                "factor": items.factor,
                "shift": items.shift,
            },
            remedy="Normalise a copy.\n```before\nimage = self.images[index]\nimage -= image.mean()\n```\n"
            "```after\nimage = self.images[index]\nimage = image - image.mean()\n```",
            variant="scale" if scaled else "offset",
        )
