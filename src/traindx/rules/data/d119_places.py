"""D119 for places: boxes and points that stay while the image of their item is mirrored."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import PlacesOnMirrored
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.data._d119 import moved_apart_by


@rule(
    "D119",
    "augmentation-not-equivariant",
    Severity.CRITICAL,
    needs=(PlacesOnMirrored,),
    looked_at=requires(
        PlacesOnMirrored,
        lambda one, limits: one.mirrored >= limits.least_mirrored,
        otherwise="too few items with boxes or points came back mirrored",
    ),
    thing="items with boxes or points that come back mirrored",
    least_mirrored=Threshold(4, "pairs of sightings of an item that are mirror images of each other"),
    stayed=Threshold(0.8, "of them, in which the places are the same to the last digit; moved ones have none"),
)
def places_stay(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Boxes or points of an item that stay where they are while its image is mirrored.

    Items are followed by their index from one pass over the data to the next. In at least `least_mirrored` cases an
    item came back as the mirror image of what it was before, and in `stayed` of these the numbers of the part that is
    named like a place are the same to the last digit: ``demonstrated``. Items with several images are left alone,
    since one of them may be the image as it was.
    """
    if moved_apart_by(evidence, limits):
        return
    told = set()
    for one in sorted(evidence.of(PlacesOnMirrored), key=lambda one: -one.mirrored):
        if one.mirrored < limits.least_mirrored or one.stayed < limits.stayed * one.mirrored:
            continue
        if (one.made_at, one.part) in told:
            continue  # several loaders of one data set
        told.add((one.made_at, one.part))
        yield Found(
            variant="places",
            message=f"The image of an item of {one.dataset} came back mirrored {one.mirrored} times, and its "
            f"`{one.part}` were the same to the last digit in {one.stayed} of them: they point at the other side.",
            standing=Standing.DEMONSTRATED,
            location=one.made_at or one.where,
            numbers={"mirrored": one.mirrored, "stayed": one.stayed},
            remedy="Mirror and turn boxes and points together with the image: give both to one transform.",
        )
