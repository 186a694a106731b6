"""D119 in functions of a script: an image and its mask that a function moves to different places."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_functions import MovedTried
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.data._d119 import left_behind, moved_apart_by


@rule(
    "D119",
    "augmentation-not-equivariant",
    Severity.CRITICAL,
    needs=(MovedTried,),
    looked_at=requires(
        MovedTried,
        lambda one, limits: one.tries >= limits.least_tries,
        otherwise="no function was seen that moves an image and its mask",
    ),
    thing="functions that move an image and its mask",
    least_tries=Threshold(4, "tries in which the spot was still to be seen in both"),
    moved_apart=Threshold(0.2, "of the tries; a function that moves both alike has none"),
)
def moved_apart(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A function of the script's moves an image and its mask to different places.

    It is called again in a child process, with one bright spot at the same place in both. In `moved_apart` of at least
    `least_tries` tries the spots lie at different places afterwards: ``demonstrated`` for a function that is given
    both at once. For a function, or a transform of a library's, that is called for the image and then for the mask,
    with the same arguments, by a function that sets no random state in between: it puts one and the same spot
    elsewhere each time, ``demonstrated`` as well. One of the two has to be a mask, by its values or by its name.
    Whole items are made, too, from pictures with a spot in place of those that a data set keeps or reads from files:
    where the mask's lies apart from that of every image of the item, ``demonstrated``, at the line after which it does.
    Points and boxes in an item are tried the same way, in every usual way to write a place: they have to agree with
    the image in some tries, or nobody knows how they are written.
    A function that moves them apart by itself is named before the item.
    """
    if any(record.made_at is not None for record in left_behind(evidence, limits)):
        return  # said already, of the training's own items, with the line that does it
    for one in moved_apart_by(evidence, limits):
        if one.how == "items":
            message = (
                f"Items of {one.function}, made from pictures with one spot at the same place in image and {one.part}, "
                f"have it up to {one.distance:.0f} pixels apart in {one.apart} of {one.tries} tries."
            )
        elif one.how == "together":
            message = (
                f"{one.function} moves the image and the mask that it is given to different places: a spot that lay at "
                f"one place in both is up to {one.distance:.0f} pixels apart afterwards, in {one.apart} of {one.tries} "
                "tries."
            )
        else:
            message = (
                f"{one.function} is called for the image and again for the mask, and draws anew each time: one spot "
                f"came out up to {one.distance:.0f} pixels from the first place in {one.apart} of {one.tries} tries."
            )
        yield Found(
            variant="moved-apart",
            message=message,
            standing=Standing.DEMONSTRATED,
            location=one.where,
            numbers={"tries": one.tries, "apart": one.apart, "distance": round(one.distance, 2)},
            remedy="Draw the random numbers once for an item, and move image and mask by the same.",
        )
