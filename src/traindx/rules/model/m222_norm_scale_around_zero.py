"""M222 norm-scale-around-zero."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import NormScaleSeen
from traindx.finding import Location, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "M222",
    "norm-scale-around-zero",
    Severity.MAJOR,
    needs=(NormScaleSeen,),
    thing="normalisation layers that are called before the first step",
    off_zero=Threshold(0.3, "mean of the scale at most; a scale of one has 1, and zero on purpose is one constant"),
    drawn=Threshold(1e-3, "standard deviation of the scale at least: it was drawn, and not set"),
    small=Threshold(0.3, "standard deviation of what the layer gives at most; 1 + scale, with a scale of 0, gives 1"),
)
def norm_scale_around_zero(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The scale of normalisation layers is drawn around zero, where it should be one.

    What it finds:
        An initialisation that treats every weight alike (`normal_(weight, 0, 0.02)`), those of LayerNorm, BatchNorm
        or a norm of the script's own included.
    Why it stops learning:
        Each layer multiplies what it normalised by a few hundredths, with random signs: signal and gradient fade with
        every layer, and the network learns many times more slowly.
    Evidence it needs:
        NormScaleSeen (a watched script): layers named for normalising, as they are called before the first step, whose
        scale was not loaded.
    How it decides:
        The mean of the scale is below `off_zero`, its values differ by `drawn`, and what the layer gives has a
        standard deviation below `small`: `demonstrated`. A scale of exactly zero, as for the last norm of a residual
        block, and one that is added to 1 are left alone.
    Remedy:
        Set scales to 1 and shifts to 0: `if isinstance(module, nn.LayerNorm): nn.init.ones_(module.weight)`.
    Trial it proposes:
        None; fix it.
    Known false positives:
        None known.
    References:
        Ioffe and Szegedy, Batch Normalization, 2015, section 3; Ba et al., Layer Normalization, 2016, section 3.1.
    """
    by_place: dict[tuple[Location | None, str], list[NormScaleSeen]] = {}
    for one in evidence.of(NormScaleSeen):
        if abs(one.mean) < limits.off_zero and one.spread > limits.drawn and one.output_spread < limits.small:
            by_place.setdefault((one.where, one.layer), []).append(one)
    for (where, layer), found in by_place.items():
        first = found[0]
        yield Found(
            message=f"The scale ({first.name}) of {len(found)} {layer} is drawn around zero (mean {first.mean:.2g}, "
            f"deviation {first.spread:.2g}): what they normalise to 1 leaves them with a deviation of "
            f"{first.output_spread:.2g}.",
            standing=Standing.DEMONSTRATED,
            location=where,
            numbers={"layers": len(found), "mean": first.mean, "spread": first.spread, "given": first.output_spread},
            remedy="Set scales of normalisation layers to 1 and their shifts to 0.",
        )
