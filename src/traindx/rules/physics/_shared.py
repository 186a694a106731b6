"""What several physics rules ask of the evidence."""

from __future__ import annotations

from traindx.evidence.base import Evidence
from traindx.evidence.projection import SampleCoupling, ViewMatch

SCALE_INVARIANT = 1e-3
"""An image that changes by less than this when attenuation is doubled is normalised; a physical one changes by 1."""


def normalised_views(evidence: Evidence) -> set[str]:
    """Views whose images do not answer to the scale of attenuation: their absolute values mean nothing."""
    return {record.view for record in evidence.of(SampleCoupling) if record.scaled_change < SCALE_INVARIANT}


def turned_in_part(evidence: Evidence, view: str) -> bool:
    """True if some radiographs of a view lie otherwise than their targets and others do not: so do the data.

    Of a renderer that is wrong all samples of all splits tell the same.
    """
    records = [record for record in evidence.of(ViewMatch) if record.view == view]
    turned = sum(record.better for record in records)
    return 0 < turned < sum(record.samples for record in records)
