"""M218 model-function-breaks-its-definition."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_definitions import DefinitionTried
from traindx.finding import Severity
from traindx.rules._textbook import broken_definitions
from traindx.rules.base import Found, Limits, requires, rule


@rule(
    "M218",
    "model-function-breaks-its-definition",
    Severity.MAJOR,
    needs=(DefinitionTried,),
    looked_at=requires(
        DefinitionTried,
        lambda one, limits: one.subject == "model",
        thing="parts of a network that are something by definition",
    ),
)
def model_function_breaks_its_definition(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A part of the network does not do what its name says by definition.

    What it finds:
        An attention whose weights do not add up to one over what is attended to, a position code that is
        the same in two places, a spatial transformer that moves an image by a displacement of zero, a
        causal mask that shows the future.
    Why it stops learning:
        The part passes gradients and lowers the loss, and cannot do what it is there for.
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
    yield from broken_definitions(evidence, "model")
