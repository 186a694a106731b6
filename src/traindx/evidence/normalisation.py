"""Evidence about normalisation: what a window does to the tissues that the task needs."""

from __future__ import annotations

from traindx.evidence.base import Record


class TissueWindow(Record):
    """What the case's normaliser does to one tissue.

    Attributes:
        tissue: Its name.
        low: Lower end of its raw range.
        high: Upper end.
        unit: Raw unit.
        share_of_range: Width of the tissue in network values over the width of all values in the data.
        constant_share: Share of the tissue's voxels, in real targets, that share their network value with at least a
            hundredth of the tissue's raw range (that is, that a clip made indistinguishable from their neighbours).
        volume_share: Share of all voxels of the targets that are this tissue.
        clip_low: Largest raw value below which everything is encoded as the same number, or minus infinity.
        clip_high: Smallest raw value above which everything is encoded as the same number, or infinity.
    """

    tissue: str
    low: float
    high: float
    unit: str
    share_of_range: float
    constant_share: float
    volume_share: float
    clip_low: float
    clip_high: float
