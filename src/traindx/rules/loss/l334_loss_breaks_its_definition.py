"""L334 loss-breaks-its-definition."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import OverlapProbed
from traindx.evidence.probed_definitions import DefinitionTried
from traindx.finding import Severity
from traindx.rules._textbook import broken_definitions
from traindx.rules.base import Found, Limits, requires, rule


@rule(
    "L334",
    "loss-breaks-its-definition",
    Severity.MAJOR,
    needs=(DefinitionTried,),
    looked_at=requires(
        DefinitionTried,
        lambda one, limits: one.subject == "loss",
        thing="losses and divergences that are something by definition",
    ),
)
def loss_breaks_its_definition(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A loss does not do what its name says by definition.

    What it finds:
        A divergence that is not zero between equal distributions, a quantile loss that weighs the wrong
        side, a contrastive loss that is lower where views of different samples agree.
    Why it stops learning:
        The training minimises something else, whose minimum may lie far from what is wanted.
    Evidence it needs:
        DefinitionTried (a watched script): the function called again in a child process, with arguments for which
        the definition leaves no choice.
    How it decides:
        A property of the definition (docs/definitions.md lists them all) is broken in every recorded call that it can
        be tried on, and the function gives the same for the same arguments: `demonstrated` where the property belongs
        to the definition, `suspected` where it is what everybody does. How near to a number is near enough stands
        with each property.
    Remedy:
        Compare the function with its definition on an example whose answer is known.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A function that is something else than its name says, on purpose.
    References:
        With each property, in docs/definitions.md.
    """
    judged = any(True for _ in evidence.of(OverlapProbed))  # the loss as a whole, which L321 speaks of
    for found in broken_definitions(evidence, "loss"):
        if not (judged and found.variant == "overlap-loss-counts-each-class"):
            yield found
