"""C1103 train/eval-mode-wrong, from the same evaluation call made twice."""

from __future__ import annotations

import re
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import RandomnessProbed
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule

DROPS = {"dropout", "drop", "dropblock", "dropedge", "dropnode", "droppath", "dropconnect", "cutout"}
DISTURBS = {"noise", "jitter", "erasing", "erase", "augment", "augmentation", "specaugment", "mixup", "perturb"}
MEANT = {"mc", "monte", "carlo", "always", "bayes", "bayesian", "variational", "uncertainty", "concrete", "sample"}


@rule(
    "C1103",
    "mode-wrong",
    Severity.MAJOR,
    needs=(RandomnessProbed,),
    repeat_difference=Threshold(1e-3, "of the output's spread; dropout of 0.1 in a small network gave 0.2"),
)
def draws_in_evaluation(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Dropout, or a layer that disturbs what it is given, that `eval()` does not switch off.

    A call without gradients, with the network and all its parts in evaluation mode, is made again with other random
    numbers. If the output differs by more than `repeat_difference` of its spread, the first operation that drew is
    looked at. A functional dropout (or attention with a dropout rate) that was not told the mode, a dropout layer that
    the network does not hold (made in `forward`, or kept in a plain list), and a function that asks for the method
    ``self.train`` in the place of the mode are `demonstrated`; so is a layer that is named for dropping and whose
    source reads no mode. A layer without parameters that is named for noise and reads no mode is `suspected`.
    A dropout that is told ``training=True`` or named for Monte-Carlo sampling, and other draws (a sampled latent,
    the noise of a diffusion, patches that a masked autoencoder hides) are meant.
    """
    seen = set()
    for record in evidence.of(RandomnessProbed):
        if record.difference < limits.repeat_difference or record.drawn_at in seen:
            continue
        found = _functional(record) or _own(record)
        if found is None:
            continue
        seen.add(record.drawn_at)
        yield found


def _functional(record: RandomnessProbed) -> Found | None:
    drops = "dropout" in record.function or record.function in ("scaled_dot_product_attention", "rrelu")
    if not drops or (record.told and not record.unregistered):
        return None
    if record.unregistered:
        why = "the layer is made or kept where the network does not know it, so that eval() does not reach it"
        remedy = "Make the layer once in __init__ and keep it as an attribute, or in a ModuleList."
    else:
        why = "although it is in evaluation mode"
        remedy = "Pass the mode on: training=self.training, or dropout_p=self.dropout if self.training else 0.0."
    return Found(
        variant="dropout-in-evaluation",
        message=f"{record.function} stays active in evaluation: the same input gives {record.network} outputs that "
        f"differ by {record.difference:.2g} of their spread, {why}.",
        standing=Standing.DEMONSTRATED,
        location=record.drawn_at or record.where,
        numbers={"difference": record.difference},
        remedy=remedy,
    )


def _own(record: RandomnessProbed) -> Found | None:
    """A layer or function of the user's that draws, by what its name says of it."""
    parts = [part for part in record.owner.split(".") if not part.startswith("<")]
    layer = len(parts) > 1 and parts[-1] in ("forward", "__call__")
    name = parts[-2] if layer else parts[-1] if parts else ""
    spoken = set(_words(name))
    drops = DROPS & spoken and (record.alone or not layer)
    disturbs = DISTURBS & spoken and record.alone and record.rate and record.arguments == 1
    if not (drops or disturbs) or MEANT & spoken or record.reads_mode:
        return None
    method = record.reads_method
    why = (
        "it asks for self.train, a method, which counts as true in either mode"
        if method
        else "nothing in it asks for the mode"
    )
    return Found(
        variant="draws-in-evaluation",
        message=f"{name} stays active in evaluation: the same input gives {record.network} outputs that differ by "
        f"{record.difference:.2g} of their spread, because {record.function or 'it'} draws here and {why}.",
        standing=Standing.DEMONSTRATED if drops or method else Standing.SUSPECTED,
        location=record.drawn_at or record.where,
        numbers={"difference": record.difference},
        remedy="Return the input unchanged unless self.training.",
    )


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return [word for word in re.split(r"[_\W\d]+", spaced.lower()) if word]
