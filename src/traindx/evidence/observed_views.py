"""What was seen of several views of one sample."""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Location


class ViewsPaired(Observed):
    """Two tensors of one shape in the batches of a loader, of which a network saw as many in one iteration.

    ``where`` is the line that made the loader. Samples without any structure (one value everywhere) are left out.

    Attributes:
        dataset: Class of the data set.
        item: Where its ``__getitem__`` is defined.
        made_at: The line in the making of an item after which it holds the image twice, where it was found.
        parts: Where in the batch they are.
        batches: Batches that were looked at.
        samples: Samples that were compared.
        equal: Of these, samples whose two views are equal bit for bit.
        given: Times that a network (or two of one class) was given two such tensors in one iteration.
        same: Of these, times that the two were equal, and what came out was, too.
        how: ``shared`` (two calls of one network, or one of both joined), ``one-call`` (two arguments),
            ``two-networks`` (of one class).
        network: Class of the network.
        drawn: An item made again with other random numbers is another one, and holds it twice again; None where that
            was not tried.
    """

    dataset: str
    item: Location | None = None
    made_at: Location | None = None
    parts: tuple[str, str]
    batches: int = 0
    samples: int = 0
    equal: int = 0
    given: int = 0
    same: int = 0
    how: str = ""
    network: str = ""
    drawn: bool | None = None
