"""D141 partner-does-not-invert."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_functions import InverseTried
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D141",
    "partner-does-not-invert",
    Severity.MAJOR,
    needs=(InverseTried,),
    thing="functions whose names say that one undoes the other",
    inverted=Threshold(1e-3, "of the spread: rounding of float32 through a transform and back stays below"),
    lost=Threshold(0.05, "of the spread: an interpolation or a rounding to 8 bit on the way stays below"),
    scaled=Threshold(0.02, "relative: what comes back is scaled by a number this far from 1"),
)
def partner_does_not_invert(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A function and the one that is named for undoing it do not cancel.

    What it finds:
        `decode(encode(x))`, `to_image(to_kspace(x))`, `unpatchify(patchify(x))`, `denormalize(normalize(x))` that give
        something else than `x`: a centred Fourier transform with the same shift on both sides, which is right for even
        sizes alone; a factor that is multiplied with in both directions; patches put back in another order.
    Why it stops learning:
        The network learns targets in one code, and its outputs are read in another.
    Evidence it needs:
        InverseTried (a watched script): both functions called in a child process, one after the other, with arguments
        as they passed.
    How it decides:
        What comes back differs by more than `lost`, and either the same functions invert one another to within
        `inverted` where all sizes are even, or the names are opposites and what comes back is scaled by a number
        (by more than `scaled`, not by 255 or the like) while both take the same further arguments, or are the same
        numbers in other places: `demonstrated`. Anything else is silence: many pairs lose something on purpose.
    Remedy:
        Make the second function the inverse of the first, for odd sizes too, and test that it is.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A pair that is named like an inverse, takes the same arguments and is meant to scale.
    References:
        NumPy documentation, `fft.ifftshift`: differs from `fftshift` by one sample for odd sizes.
    """
    said: set[frozenset[str]] = set()
    for pair in evidence.of(InverseTried):
        both = frozenset({pair.first, pair.second})
        if pair.error <= limits.lost or both in said:
            continue
        numbers = {"error": pair.error}
        shape = " x ".join(str(size) for size in pair.shape)
        if 0 <= pair.even <= limits.inverted:
            how = f"by {pair.error:.2f} of its spread; with even sizes they cancel (to {pair.even:.0e})"
            numbers["even"] = pair.even
        elif pair.named and pair.rearranged:
            how = "in the places of the numbers, which are the same"
        elif pair.named and pair.shared and pair.slope and abs(pair.slope - 1) > limits.scaled:
            how = f"in scale: what goes in changed by 1 comes back changed by {pair.slope:.3g}"
            numbers["slope"] = pair.slope
        else:
            continue
        said.add(both)
        yield Found(
            message=f"{pair.second} does not undo {pair.first}: called one after the other on an array of {shape}, "
            f"what comes back differs {how}.",
            standing=Standing.DEMONSTRATED,
            location=pair.where,
            numbers=numbers,
            remedy=f"Make {pair.second} the inverse of {pair.first} (of a centred Fourier transform: ifftshift before, "
            "fftshift after), and keep a test of both, with odd sizes too.",
        )
