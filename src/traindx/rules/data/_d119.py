"""What the deciders of D119 see of one cause, so that it is said once."""

from __future__ import annotations

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import MaskOnImage
from traindx.evidence.probed_functions import MovedTried
from traindx.rules.base import Limits


def left_behind(evidence: Evidence, limits: Limits) -> list[MaskOnImage]:
    """Loaders for training whose masks do not lie on their images."""
    return [
        record
        for record in evidence.of(MaskOnImage)
        if record.trains
        and record.reference
        and record.items >= limits.least_items
        and record.low >= limits.apart * record.items
        and (record.turned >= 0.5 * record.low or record.explained <= limits.near_chance * record.by_other)
    ]


def moved_apart_by(evidence: Evidence, limits: Limits) -> list[MovedTried]:
    """Functions, or where none does it by itself, items, in which a spot lies at two places."""
    found = [
        one
        for one in evidence.of(MovedTried)
        if one.tries >= limits.least_tries and one.apart >= limits.moved_apart * one.tries
    ]
    return [one for one in found if one.how != "items"] or found
