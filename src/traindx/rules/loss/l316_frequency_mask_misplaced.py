"""L316 frequency-mask-misplaced."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.loss import FourierMask
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "L316",
    "frequency-mask-misplaced",
    Severity.MAJOR,
    needs=(FourierMask,),
    wrong=Threshold(0.9995, "of the mask's variance; round masks of any profile that rises or falls: 1 to round-off"),
    right=Threshold(0.98, "the most that the right centre may explain; such masks about the wrong one: 0.25 to 0.97"),
)
def frequency_mask_misplaced(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A mask for low or high frequencies is laid over coefficients whose zero frequency is elsewhere.

    What it finds:
        A mask that is round about the middle of the array, on the output of `fftn` without `fftshift`; or one that is
        round about index 0, on shifted coefficients.
    Why it stops learning:
        Low and high frequencies are exchanged: a term that is to sharpen weights the coarse structure, and its weights
        for the detail fall on nothing but the corners.
    Evidence it needs:
        FourierMask (check *loss-operations*).
    How it decides:
        Masks that are laid over Fourier coefficients along at least two axes are compared with rings about frequency
        zero at index 0 and about the middle, whose value rises or falls outwards. If rings about the place where
        frequency zero is *not* explain at least `wrong` of the mask's variance, and rings about the place where it is
        at most `right`, it is `demonstrated`.
    Remedy:
        Make the mask from `fftfreq`, or shift the coefficients with `fftshift` before it.
    Trial it proposes:
        None; the mask is fixed.
    Known false positives:
        None known: no filter is round about the highest frequency of the diagonal.
    References:
        PyTorch documentation of `torch.fft.fftshift`.
    """
    for mask in evidence.of(FourierMask):
        right, wrong = (mask.about_centre, mask.about_zero) if mask.shifted else (mask.about_zero, mask.about_centre)
        if wrong < limits.wrong or right > limits.right:
            continue
        where = (
            "round about index 0, and the coefficients are shifted: their frequency zero is in the middle"
            if mask.shifted
            else "round about the middle of the array, and the coefficients are not shifted: there are the highest ones"
        )
        yield Found(
            message=f"A mask over the Fourier coefficients is {where}. Low and high frequencies are exchanged.",
            standing=Standing.DEMONSTRATED,
            location=mask.where,
            numbers={"about_zero": round(mask.about_zero, 4), "about_centre": round(mask.about_centre, 4)},
            remedy="Make the mask from torch.fft.fftfreq, or apply torch.fft.fftshift before it.",
        )
