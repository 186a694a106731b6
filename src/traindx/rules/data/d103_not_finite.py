"""D103: NaN or infinite values in the data."""

# The record is general (``subject`` names what was looked at): a passive watch of batches may write it too.

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset_intensities import NonFiniteVoxels
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule
from traindx.rules.data._words import of, place, some


@rule("D103", "not-finite", Severity.CRITICAL, needs=(NonFiniteVoxels,))
def not_finite(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Images, masks or batches that contain NaN or infinite values.

    Why it stops learning:
        One NaN makes the loss NaN, every gradient NaN, and with the next step every weight. Where the code skips or
        zeroes such batches, those cases are silently never learned.

    Evidence it needs:
        ``NonFiniteVoxels``.

    How it decides:
        Demonstrated as soon as one value is not finite: no loss is defined on it.

    Remedy:
        Find out where the values come from (division by a zero standard deviation, a failed registration, a float
        background) and replace them before normalisation; statistics computed with them are lost too.

    Trial it proposes:
        None; the data must be fixed.

    Known false positives:
        A pipeline that replaces NaN on loading (``nan_to_num``) does not see these values; the files still hold them.

    References:
        IEEE 754-2019, 6.2 (NaN propagation).
    """
    for record in evidence.of(NonFiniteVoxels):
        if record.affected:
            yield Found(
                message=f"{of(record.affected, record.members, 'member')} of “{record.subject}” contain NaN or "
                f"infinite "
                f"values: {some(record.examples)}.",
                standing=Standing.DEMONSTRATED,
                location=place(evidence, record.examples),
                offenders=record.examples,
                numbers={"affected": record.affected, "members": record.members},
                remedy="Replace NaN and infinite values before any statistics are computed, and look for their source.",
            )
