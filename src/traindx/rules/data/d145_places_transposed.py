"""D145 places-transposed."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import HeatMapsSeen
from traindx.evidence.probed_functions import PlacesTried
from traindx.finding import Location, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule

_MEANS = {"xy": "across the columns", "yx": "down the rows"}


@rule(
    "D145",
    "places-transposed",
    Severity.CRITICAL,
    needs=(PlacesTried,),
    looked_at=requires(
        PlacesTried, lambda one, limits: bool(one.partner), otherwise="no function reads places off a map"
    ),
    thing="functions from coordinates to maps",
)
def places_transposed(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Rows and columns are exchanged between coordinates and the maps that are made of them.

    What it finds:
        A heat map whose grid is made by `meshgrid` in the other order, a mask drawn as `mask[x1:x2, y1:y2]`, a peak
        that is read off as (row, column) where points are (x, y).
    Why it stops learning:
        Every target lies at the transposed place, where the image shows nothing of the kind; the loss falls to what a
        blind guess has.
    Evidence it needs:
        PlacesTried: functions of the script's, called again in a child process with points and spots of known place.
        HeatMapsSeen: heat maps in batches beside their images.
    How it decides:
        One function draws a map from coordinates, another one reads coordinates off a map of that size, and the first
        coordinate moves a spot along one axis in the one and along the other axis in the other: `suspected`, since the
        script may exchange them in between; `demonstrated` where the heat maps of its batches show it as well. The
        place is in the function whose own names contradict what it does, as far as names tell.
    Remedy:
        `yy, xx = torch.meshgrid(y, x, indexing="ij")`; `mask[y1:y2, x1:x2]`; x is the remainder of the width.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Functions of two conventions between which the script exchanges the coordinates.
    References:
        PyTorch documentation, `torch.meshgrid`.
    """
    shown = any(_elsewhere(one, 24, 0.2, 4.0) == "transposed" for one in evidence.of(HeatMapsSeen))
    for one in evidence.of(PlacesTried):
        if not one.partner or one.order == one.partner_order:
            continue
        yield Found(
            variant="functions-disagree",
            message=f"{one.function} takes the first coordinate {_MEANS[one.order]}, and {one.partner} reads it "
            f"{_MEANS[one.partner_order]}: what one writes the other finds at the transposed place"
            + (f"; {one.blamed} is at odds with its own names." if one.named and one.named != one.order else "."),
            standing=Standing.DEMONSTRATED if shown else Standing.SUSPECTED,
            location=one.where,
            numbers={"order": one.order, "partner_order": one.partner_order},
            remedy="Let columns be x in both: rows first in meshgrid, in slices and in shapes.",
        )


@rule(
    "D145",
    "places-transposed",
    Severity.CRITICAL,
    needs=(HeatMapsSeen,),
    looked_at=requires(
        HeatMapsSeen,
        lambda one, limits: one.items >= limits.least_items,
        otherwise="too few items with heat maps were seen",
    ),
    thing="heat maps beside images",
    least_items=Threshold(24, "items; patches of unrelated places keep one part in as many"),
    alike_elsewhere=Threshold(0.2, "of the variation of patches that their mean keeps at the other place"),
    over_own=Threshold(4.0, "times what it keeps at the place of the peaks"),
)
def maps_beside_their_place(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The heat maps of the batches point at other places of the image than those that look alike.

    Patches of the image at the peaks are averaged over items. Where the mean keeps less than at the places with rows
    and columns exchanged, or mirrored, by `over_own`, and at least `alike_elsewhere` there: ``demonstrated``. Places
    that are the same in every image look alike anywhere, and say nothing. The place is the function that draws the
    maps, where one was seen that may be at fault.
    """
    functions = list(evidence.of(PlacesTried))
    if any(one.partner and one.order != one.partner_order for one in functions):
        return
    for one in evidence.of(HeatMapsSeen):
        way = _elsewhere(one, limits.least_items, limits.alike_elsewhere, limits.over_own)
        if not way:
            continue
        kept = one.transposed if way == "transposed" else one.mirrored
        yield Found(
            variant=f"maps-{way}",
            message=f"The images of {one.items} items do not look alike at the peaks of their heat maps (the mean "
            f"patch keeps {one.own:.0%} of the variation), and do at the {way} places ({kept:.0%}).",
            standing=Standing.DEMONSTRATED,
            location=_drawn_at(functions) or one.item or one.where,
            numbers={"own": round(one.own, 4), "elsewhere": round(kept, 4), "items": one.items},
            remedy="Draw the maps with rows first: yy, xx = torch.meshgrid(y, x, indexing='ij').",
        )
        return


def _elsewhere(one: HeatMapsSeen, least: float, alike: float, over: float) -> str:
    """``transposed`` or ``mirrored``, where the images look alike there and not at the peaks; "" otherwise."""
    best = max(one.transposed, one.mirrored)
    if one.items < least or best < alike or best < over * one.own:
        return ""
    return "transposed" if one.transposed == best else "mirrored"


def _drawn_at(functions: list[PlacesTried]) -> Location | None:
    """The one function that draws maps, or the one that is at odds with its own names."""
    odd = [one for one in functions if one.named and one.named != one.order]
    chosen = odd or functions
    return chosen[0].where if len(chosen) == 1 else None
