"""Evidence about the loss and its gradient."""

from __future__ import annotations

from traindx.evidence.base import Record


class TermGradient(Record):
    """What one loss term gives back to the parameters.

    Attributes:
        term: Name of the term.
        value: Its value.
        differentiable: True if it is connected to the parameters at all.
        norm: Norm of its gradient with respect to the parameters (NaN where not connected).
        share: Its share of the sum of all terms' norms.
        moves: True if the value changes when the network's parameters are changed.
    """

    term: str
    value: float
    differentiable: bool
    norm: float
    share: float
    moves: bool


class StandInLoss(Record):
    """A loss term for predictions whose order is known.

    Attributes:
        term: Name of the term, or ``total``.
        encoding: How the target was turned into a network output: ``identity``, ``logits``, ``one-hot logits``,
            ``v``, ``epsilon``, ``sample``.
        perfect: Value for the perfect prediction.
        near: For a slightly wrong one.
        shuffled: For another sample's target.
        blank: For a constant prediction (the mean target).
        inverted: For the target upside down in value.
        descended: Value after a step from the perfect prediction along the negative gradient, the best of several.
        judges_target: True if the term depends on the target at all.
        validated: True if it is certain what the network's output means (declared, or the deployed prediction agrees).
    """

    term: str
    encoding: str
    perfect: float
    near: float
    shuffled: float
    blank: float
    inverted: float
    descended: float = float("nan")
    judges_target: bool = True
    validated: bool = False
