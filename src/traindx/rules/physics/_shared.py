"""What several physics rules ask of the evidence."""

from __future__ import annotations

from traindx.evidence.base import Evidence
from traindx.evidence.projection import SampleCoupling

SCALE_INVARIANT = 1e-3
"""An image that changes by less than this when attenuation is doubled is normalised; a physical one changes by 1."""


def normalised_views(evidence: Evidence) -> set[str]:
    """Views whose images do not answer to the scale of attenuation: their absolute values mean nothing."""
    return {record.view for record in evidence.of(SampleCoupling) if record.scaled_change < SCALE_INVARIANT}
