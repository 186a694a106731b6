"""A label value left out of the loss, or brought to 1."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared, Fields, at


def title(fields: Fields) -> str:
    """``value`` is the label."""
    return f"label {fields.get('value')} left out of the loss{at(fields)}"


DOES = "elements with a label value take no part in `cross_entropy`, `nll_loss` or an element-wise loss"

TREATMENTS = (
    Declared(name="ignore-label", does=DOES, title=title, script="label_values.script:IgnoreLabel"),
    Declared(name="ignore-value", does=DOES, title=title, script="label_values.script:IgnoreLabel"),
    Declared(
        name="rescale-label",
        does="masks of 0 and 255 become 0 and 1 as they leave the data loader",
        title=lambda fields: f"labels divided by {fields.get('value')}",
        script="label_values.script:RescaleLabel",
    ),
)
