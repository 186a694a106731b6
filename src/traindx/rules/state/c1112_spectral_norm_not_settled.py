"""C1112 spectral-norm-not-settled."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import SpectralNormSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "C1112",
    "spectral-norm-not-settled",
    Severity.MAJOR,
    needs=(SpectralNormSeen,),
    thing="layers under spectral norm that are evaluated before they were trained",
    settled=Threshold(2.0, "largest singular value of a weight that is divided by it; one iteration comes within 1.5"),
)
def spectral_norm_not_settled(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A network with spectral norm is evaluated before its power iteration has run.

    What it finds:
        ``model.eval()`` and a first look at the output, before any call in training mode: the estimate of the largest
        singular value is that of two random vectors, far too small, and the weights are blown up by it.
    Why it stops learning:
        Whatever is set by that look (a scale, a learning rate, a best value so far) is off by orders of magnitude.
    Evidence it needs:
        SpectralNormSeen (a watched script).
    How it decides:
        A layer under ``torch.nn.utils.spectral_norm`` is called in evaluation mode, never was in training mode, and its
        normalised weight has a singular value above `settled`; it must be 1: `demonstrated`.
    Remedy:
        Make one call in training mode first, or use ``torch.nn.utils.parametrizations.spectral_norm``, which iterates
        when it is applied.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A look whose result is printed and used for nothing.
    References:
        Miyato et al., Spectral normalization for GANs, ICLR 2018, algorithm 1.
    """
    for seen in evidence.of(SpectralNormSeen):
        if seen.largest <= limits.settled:
            continue
        yield Found(
            message=f"{seen.layers} layers under spectral norm are evaluated here before any call in training mode: "
            f"a normalised weight has a largest singular value of {seen.largest:.3g}, and it must be 1.",
            standing=Standing.DEMONSTRATED,
            location=seen.where,
            numbers={"largest": seen.largest, "layers": seen.layers},
            remedy="Call the network once in training mode before it is evaluated.",
        )
