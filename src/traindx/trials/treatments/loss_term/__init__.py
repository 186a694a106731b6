"""One term of the loss left out, turned round or weighted anew."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared, Fields


def family(fields: Fields) -> str:
    """What is done to one term is one of several alternatives."""
    return f"term {fields.get('term')}"


TREATMENTS = (
    Declared(
        name="reweight-term",
        does="one term of the loss is weighted by a factor; in a script its gradient is, so that the printed loss "
        "keeps its meaning",
        title=lambda fields: f"loss term {fields.get('term')!r} x {float(fields.get('factor', 0)):.3g}",
        case="loss_term.case:reweight_term",
        script="loss_term.script:Term",
        family=family,
    ),
    Declared(
        name="drop-term",
        does="one term of the loss is left out",
        title=lambda fields: f"loss term {fields.get('term')!r} left out",
        case="loss_term.case:drop_term",
        script="loss_term.script:Term",
        family=family,
    ),
    Declared(
        name="flip-term",
        does="one term of the loss has the other sign",
        title=lambda fields: f"loss term {fields.get('term')!r} with the other sign",
        case="loss_term.case:flip_term",
        script="loss_term.script:Term",
        family=family,
    ),
)
