"""Y705 blurred."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.outputs import OutputSpectrum
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Nothing, Threshold, rule
from traindx.rules.outputs._bands import between, ratio


def _detailed(evidence: Evidence, limits: Limits) -> Nothing | None:
    """The targets have detail that could be missing."""
    seen = evidence.last(OutputSpectrum)
    total = between(seen, seen.target, 0.0, 2.0) if seen is not None else 0.0
    fine = between(seen, seen.target, 0.5, 2.0) / total if seen is not None and total > 0 else 0.0
    return None if fine >= limits.detail else Nothing("", "fine detail in the targets")


@rule(
    "Y705",
    "blurred",
    Severity.MINOR,
    needs=(OutputSpectrum,),
    looked_at=_detailed,
    fine=Threshold(
        0.02, "of the targets' energy above half of Nyquist; healthy short trainings measured 0.067 and above"
    ),
    coarse=Threshold(0.5, "of the targets' energy below a quarter of Nyquist: the coarse image is there"),
    detail=Threshold(0.005, "of the targets' energy above half of Nyquist: below it there is nothing fine to draw"),
)
def blurred(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The coarse image is right and the fine one is missing.

    What it finds:
        Predictions whose spectrum follows the targets' at low frequencies and has almost nothing at high ones.
    Why it stops learning:
        A pixel-wise loss rewards the mean of all images that fit; a coarse token grid cannot draw more; a loss that is
        blind to detail does not ask for more. Which of them it is, other findings say.
    Evidence it needs:
        OutputSpectrum (check *outputs*).
    How it decides:
        Energy of predictions over targets below a quarter of the Nyquist frequency is at least `coarse`, and above half
        of it at most `fine`, while the targets hold more than `detail` of their energy there. Always `suspected`: the
        best answer to an ambiguous input is blurred.
    Remedy:
        Compare with the ceiling of the token grid (M202); then a term that sees detail, or a generative model.
    Trial it proposes:
        None of its own.
    Known false positives:
        Tasks whose input does not determine the detail.
    References:
        None.
    """
    seen = evidence.last(OutputSpectrum)
    if seen is None:
        return
    coarse, fine = ratio(seen, 0.0, 0.25), ratio(seen, 0.5, 2.0)
    total = between(seen, seen.target, 0.0, 2.0)
    detail = between(seen, seen.target, 0.5, 2.0) / total if total > 0 else 0.0
    if not (coarse >= limits.coarse and fine <= limits.fine and detail >= limits.detail):
        return
    lost = next((f for f in seen.frequencies if f > 0.0 and _at(seen, f) < 0.5), 1.0)
    yield Found(
        message=f"Predictions are blurred: they keep {100 * coarse:.0f} % of the targets' energy below a quarter of "
        f"the Nyquist frequency and {100 * fine:.1f} % above half of it; half is lost from {lost:.2f} on.",
        numbers={"energy_low": round(coarse, 4), "energy_high": round(fine, 5), "half_lost_from": round(lost, 3)},
        remedy="Compare with the ceiling of the coarsest grid on the path; then add a loss term that sees detail.",
        pictures=("output-0", "output-spectrum"),
    )


def _at(seen: OutputSpectrum, frequency: float) -> float:
    place = seen.frequencies.index(frequency)
    return seen.prediction[place] / seen.target[place] if seen.target[place] > 0 else 1.0
