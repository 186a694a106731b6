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


class TermBlindness(Record):
    """A loss term for the truth turned, contrast-scaled and blurred, beside predictions that are plainly wrong.

    Attributes:
        term: Name of the term, or ``total``.
        perfect: Value for the perfect prediction.
        wrong: Largest distance from that value among another sample's target, a constant, and the target upside down.
        turned: Largest distance among the mirror images of the target, over the axes along which it is not symmetric;
            NaN where there is none.
        asymmetry: How far these mirror images are from the target, over how far another sample's is.
        contrast_scaled: Distance for the target at 70 % of its contrast.
        lifted: Distance for the target with half its span added everywhere.
        judges_target: True if the term depends on the target at all.
        validated: True if it is certain what the network's output means.
    """

    term: str
    perfect: float
    wrong: float
    turned: float
    asymmetry: float
    contrast_scaled: float
    lifted: float = float("nan")
    judges_target: bool = True
    validated: bool = False


class TermDetail(Record):
    """What a loss term does about detail that is missing from an otherwise perfect prediction.

    Attributes:
        term: Name of the term, or ``total``.
        rise: Rise of the term when everything above ``cutoff`` is taken from the target, over its rise for a constant.
        share: The same of the mean squared error.
        pull: Cosine between the step downhill and the missing detail, both above ``cutoff``.
        cutoff: As a share of the Nyquist frequency.
        validated: True if it is certain what the network's output means.
    """

    term: str
    rise: float
    share: float
    pull: float
    cutoff: float
    validated: bool = False


class SwallowedInLoss(Record):
    """A torch operation that raised while the loss was computed, which went on all the same.

    Attributes:
        function: The operation.
        error: Type and message, shortened.
        losses: Losses that were computed.
        raised: In how many of them it raised.
        constant_terms: Terms of these losses that are connected to no parameter and had one value.
    """

    function: str
    error: str
    losses: int
    raised: int
    constant_terms: tuple[str, ...] = ()


class FourierMask(Record):
    """A mask that was laid over Fourier coefficients, and about which point of the array it is round.

    Attributes:
        shape: Its extent along the transformed axes.
        shifted: True if the zero frequency of the coefficients had been moved to the middle of the array.
        about_zero: Share of the mask's variance that rises or falls with the distance from index 0.
        about_centre: The same for the middle of the array.
    """

    shape: tuple[int, ...]
    shifted: bool
    about_zero: float
    about_centre: float
