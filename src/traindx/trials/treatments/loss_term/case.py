"""``drop-term``, ``flip-term``, ``reweight-term``: one term of the loss left out, turned round or weighted anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from traindx.trials.treatment import RANK_TRAINING, Tally, Treatment, TreatmentUnfitError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from traindx.case import Case


def drop_term(parameters: Mapping[str, Any], case: Case) -> Treatment:
    """Leave the loss term ``term`` out."""
    return _scaled("drop-term", parameters, 0.0)


def flip_term(parameters: Mapping[str, Any], case: Case) -> Treatment:
    """Turn the sign of the loss term ``term`` round."""
    return _scaled("flip-term", parameters, -1.0)


def reweight_term(parameters: Mapping[str, Any], case: Case) -> Treatment:
    """Multiply the loss term ``term`` by ``factor``.

    Raises:
        TreatmentUnfitError: The factor is missing.
    """
    if "factor" not in parameters:
        raise TreatmentUnfitError("reweight-term was proposed without a factor", expected="factor")
    return _scaled("reweight-term", parameters, float(parameters["factor"]))


def _scaled(name: str, parameters: Mapping[str, Any], factor: float) -> Treatment:
    term = str(parameters.get("term", ""))
    if not term:
        raise TreatmentUnfitError(f"{name} was proposed without a term", expected="the name of a loss term")
    tally = Tally()

    def apply(before: Case) -> Case:
        if before.loss is None:
            raise TreatmentUnfitError(f"{name} needs a loss", expected="loss=(model, batch) -> {term: Tensor}")

        def loss(model: nn.Module, batch: Any) -> dict[str, Tensor]:
            terms = before.loss_terms(model, batch)
            if term not in terms:
                known = ", ".join(terms)
                raise TreatmentUnfitError(f"the loss has no term {term!r}", expected=f"one of {known}")
            tally.hits += 1
            if factor == 0.0:  # 0 x infinity is not a number, so a dropped term is really left out
                rest = {key: value for key, value in terms.items() if key != term}
                return rest or {term: 0.0 * terms[term]}
            return {key: value * factor if key == term else value for key, value in terms.items()}

        return before.replace(loss=loss)

    return Treatment(
        name,
        f"loss term {term} x {factor:g}",
        frozenset({"training"}),
        apply,
        rank=RANK_TRAINING,
        tally=tally,
    )
