"""``learning-rate``: every parameter group learns by another rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from traindx.trials.treatment import Treatment, TreatmentUnfitError
from traindx.trials.treatments.learning_rate import title

if TYPE_CHECKING:
    import torch
    from torch import nn

    from traindx.case import Case


def learning_rate(parameters: Mapping[str, Any], case: Case) -> Treatment:
    """Multiply the learning rate of every parameter group by ``factor`` when the optimiser is made.

    Args:
        parameters: ``factor`` (positive).
        case: The case to be treated.

    Raises:
        TreatmentUnfitError: The factor is missing or not positive.
    """
    factor = float(parameters.get("factor", 0.0))
    if not factor > 0:
        raise TreatmentUnfitError(f"learning-rate was proposed with factor {factor}", expected="a positive factor")

    def apply(before: Case) -> Case:
        from traindx.trials.training import default_optimizer

        make = before.optimizer or default_optimizer

        def scaled(weights: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
            optimizer = make(weights)
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] * factor
            return optimizer

        return before.replace(optimizer=scaled)

    return Treatment("learning-rate", title(parameters), frozenset({"training"}), apply)
