"""What rules about the order of predictions share."""

from __future__ import annotations

from traindx.evidence.loss import StandInLoss

WORSE = ("shuffled", "blank", "inverted", "near")


def preferred(record: StandInLoss, margin: float) -> str:
    """The worse prediction that a term likes better than the perfect one, or an empty string.

    Args:
        record: A term's values.
        margin: Share of the span of all values by which it must be preferred.
    """
    values = {name: float(getattr(record, name)) for name in WORSE}
    span = max(*values.values(), record.perfect) - min(*values.values(), record.perfect)
    if span <= 1e-6 * abs(record.perfect):
        return ""
    best = min(values, key=lambda name: values[name])
    return best if values[best] < record.perfect - margin * span else ""
