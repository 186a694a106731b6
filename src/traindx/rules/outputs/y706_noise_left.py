"""Y706 noise-left."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.outputs import OutputSpectrum
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.outputs._bands import between, ratio


@rule(
    "Y706",
    "noise-left",
    Severity.MINOR,
    needs=(OutputSpectrum,),
    excess=Threshold(
        4.0, "times the targets' energy above half of Nyquist; residual noise of good samplers is below 2"
    ),
    share=Threshold(0.2, "of the predictions' energy that the targets do not have, above a quarter of Nyquist"),
    most=Threshold(0.5, "of the predictions' energy: more noise than image"),
)
def noise_left(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The prediction carries far more fine energy than any target.

    What it finds:
        Static over the image: a sampler that ends too early or returns noise, or a network that cannot remove it.
    Why it stops learning:
        It is a symptom; the cause lies in the sampler (S rules) or in what the network can express (M210).
    Evidence it needs:
        OutputSpectrum (check *outputs*).
    How it decides:
        Energy of predictions over targets above half of the Nyquist frequency exceeds `excess`, and the surplus above a
        quarter of it is more than `share` of all the predictions' energy: `suspected`; more than `most` of it:
        `demonstrated` that the output is noise rather than image.
    Remedy:
        See the findings about sampler, time and head first.
    Trial it proposes:
        None of its own.
    Known false positives:
        Targets that were denoised more strongly than what the model is meant to reproduce.
    References:
        None.
    """
    seen = evidence.last(OutputSpectrum)
    if seen is None:
        return
    excess = ratio(seen, 0.5, 2.0)
    whole = between(seen, seen.prediction, 0.0, 2.0)
    surplus = between(seen, seen.prediction, 0.25, 2.0) - between(seen, seen.target, 0.25, 2.0)
    share = surplus / whole if whole > 0 else 0.0
    if not (excess > limits.excess and share > limits.share):
        return
    yield Found(
        message=f"{100 * share:.0f} % of the predictions' energy is fine structure that the targets do not have: above "
        f"half of the Nyquist frequency they hold {excess:.3g} times the targets' energy.",
        standing=Standing.DEMONSTRATED if share > limits.most else Standing.SUSPECTED,
        numbers={"share_of_energy": round(share, 4), "times_targets_energy": round(excess, 3)},
        remedy="See what is found about the sampler, the time argument and the network's head.",
        pictures=("output-0", "output-spectrum"),
    )
