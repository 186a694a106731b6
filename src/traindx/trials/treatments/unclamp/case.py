"""``unclamp``: one clamp, clip or hardtanh in the user's source lets values or gradients through."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from traindx.trials.treatment import Tally, Treatment, TreatmentUnfitError
from traindx.trials.treatments.unclamp import title

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.case import Case


def unclamp(parameters: Mapping[str, Any], case: Case) -> Treatment:
    """Make the clamp at ``file:line`` an identity, or soft: clamped values with the gradient of the identity.

    Args:
        parameters: ``file``, ``line``, and ``mode``: ``"identity"`` (default) or ``"soft"``.
        case: The case to be treated.

    Raises:
        TreatmentUnfitError: File or line is missing, or the mode is unknown.
    """
    file, line = str(parameters.get("file", "")), int(parameters.get("line", 0))
    mode = str(parameters.get("mode", "identity"))
    if not file or not line:
        raise TreatmentUnfitError("unclamp was proposed without a place", expected="file and line")
    if mode not in ("identity", "soft"):
        raise TreatmentUnfitError(f"unclamp has no mode {mode!r}", expected="identity or soft")
    tally = Tally()

    def patch() -> AbstractContextManager[Any]:
        from traindx.core.frames import shown_path, user_place
        from traindx.trials.clamping import ClampMode, straight_through

        wanted = os.path.realpath(file)

        def decide(x: Tensor, low: Any, high: Any) -> Tensor | None:
            place = user_place()
            if place is None or place[1] != line:
                return None
            name = place[0].co_filename
            if os.path.realpath(name) != wanted and shown_path(name) != file:
                return None
            tally.hits += 1
            return x if mode == "identity" else straight_through(x, low, high)

        return ClampMode(decide)

    return Treatment(
        "unclamp",
        title(parameters),
        frozenset({"training", "sampling"}),
        lambda before: before.replace(contexts=(*before.contexts, patch)),
        tally=tally,
    )
