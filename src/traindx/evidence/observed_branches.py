"""Detached copies inside networks that are trained, and what becomes of them."""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Location


class DetachedBranch(Observed):
    """Detached copies that one line inside a network makes in training. ``where`` is that line.

    Attributes:
        network: Class of the network.
        how: ``detach`` or ``data``.
        copies: How many were followed.
        looks: Iterations in which they were.
        weighted: What was computed from them has passed a parameter that is trained.
        met: Where that is combined, by arithmetic, with the very tensor that was detached (indexed, reshaped or joined
            as may be), whose gradient goes on.
        function: The operation there.
    """

    network: str
    how: str
    copies: int
    looks: int
    weighted: bool = False
    met: Location | None = None
    function: str = ""
