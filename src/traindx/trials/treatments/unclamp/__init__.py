"""A clamp, clip or hardtanh at a line lets values or gradients through."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared, Fields, at


def title(fields: Fields) -> str:
    """``mode`` is ``identity`` or ``soft``."""
    return f"clamp{at(fields)} made {'soft' if fields.get('mode') == 'soft' else 'an identity'}"


TREATMENTS = (
    Declared(
        name="unclamp",
        does="a `clamp`, `clip` or `hardtanh` becomes the identity, or keeps its values and lets the gradient pass "
        "(*soft*)",
        title=title,
        case="unclamp.case:unclamp",
        script="unclamp.script:Unclamp",
    ),
)
