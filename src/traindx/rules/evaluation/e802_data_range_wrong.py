"""E802 data-range-wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.evaluation import PeakProbe
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule

REMEDY = "Give the metric the range of the data it scores as a fixed number, and state it beside every figure."


@rule(
    "E802",
    "data-range-wrong",
    Severity.MAJOR,
    needs=(PeakProbe,),
    declared_db=Threshold(0.5, "a peak that is 6 % off; round-off of the probe is below 0.01 dB"),
    measured_db=Threshold(4.0, "without a declared range: few targets rarely fill less than 63 % of their range"),
    moving=Threshold(0.9, "peak for targets of half the range over the peak; a fixed peak gives 1, a moving one 0.5"),
)
def data_range_wrong(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A PSNR uses another peak than the data has, so every figure is off by a constant, or moves with the sample.

    What it finds:
        Peak 2 for data in [0, 1] (+6.02 dB), 4095 for a window of 2500 HU (+4.29 dB), peak 1 for data in [-1, 1]
        (-6.02 dB), and peaks that are taken from the target or the prediction at hand.
    Why it stops learning:
        It does not; but the figure cannot be compared with any other, and a change of normalisation reads as progress.
    Evidence it needs:
        PeakProbe (check *metric-probe*).
    How it decides:
        Targets are scored with an error of known size everywhere; a metric that loses 6.02 dB when the error doubles is
        a PSNR, and its value tells its peak. The peak must be the declared range (or that at which the normaliser
        saturates) within `declared_db`: else `demonstrated`. Without a declared range the measured one is a lower
        bound: a smaller peak is `demonstrated`, a peak `measured_db` above is `suspected`. A peak that follows the
        range of the targets (`moving`) is `demonstrated`.
    Remedy:
        One fixed data range, stated.
    Trial it proposes:
        None; a scoring metric is not tried but fixed.
    Known false positives:
        A peak fixed by a published protocol that differs from the data's range: declare `data_range` accordingly.
    References:
        PSNR = 20 log10(peak / root mean square error).
    """
    for probe in evidence.of(PeakProbe):
        span = probe.range_high - probe.range_low
        numbers: dict[str, float | int | str | bool] = {
            "peak": round(probe.peak, 5),
            "range": round(span, 5),
            "offset_db": round(probe.offset_db, 3),
            "measured_low": round(probe.measured_low, 4),
            "measured_high": round(probe.measured_high, 4),
        }
        ratio = probe.peak_halved / probe.peak
        if ratio < limits.moving:
            yield Found(
                message=f"The peak of {probe.metric!r} is taken from the images it is given: for targets of half the "
                f"range it falls to {ratio:.2f} of its value ({20 * math.log10(ratio):+.1f} dB). Its figures cannot be "
                "compared between samples or normalisations.",
                standing=Standing.DEMONSTRATED,
                location=probe.where,
                numbers={**numbers, "peak_for_half_the_range": round(probe.peak_halved, 5)},
                remedy=REMEDY,
            )
            continue
        found = _offset(probe, span, limits)
        if found is not None:
            message, standing = found
            yield Found(message=message, standing=standing, location=probe.where, numbers=numbers, remedy=REMEDY)


def _offset(probe: PeakProbe, span: float, limits: Limits) -> tuple[str, Standing] | None:
    source = "range" if probe.declared else "measured range"
    message = (
        f"{probe.metric!r} uses a peak of {probe.peak:.4g}, but the {source} of the data is "
        f"{probe.range_low:.4g} to {probe.range_high:.4g} (peak {span:.4g}): every figure is "
        f"{abs(probe.offset_db):.2f} dB too {'high' if probe.offset_db > 0 else 'low'}."
    )
    if probe.declared:
        return (message, Standing.DEMONSTRATED) if abs(probe.offset_db) > limits.declared_db else None
    if probe.offset_db < -limits.declared_db:
        return message, Standing.DEMONSTRATED
    if probe.offset_db > limits.measured_db:
        return message, Standing.SUSPECTED
    return None
