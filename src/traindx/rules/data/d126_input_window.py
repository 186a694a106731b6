"""D126 window-unsuited, measured on what arrives at the network."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.data_path import InputWindow
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D126",
    "window-unsuited",
    Severity.CRITICAL,
    needs=(InputWindow,),
    flattened=Threshold(
        0.4, "of the pixels, more than in the files; collimation and percentile clipping of radiographs take 0.02"
    ),
    least_levels=Threshold(64, "values in the files; images with fewer have nothing to lose"),
)
def window_flattens_input(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The path of the data turns most pixels of an image into its smallest or largest value.

    Real images are sent along the validation path. ``demonstrated`` where the share of pixels at the two ends grows by
    more than ``flattened`` although the files hold at least ``least_levels`` values, as when a window in Hounsfield
    units is applied to the grey values of a radiograph.
    """
    for record in evidence.of(InputWindow):
        if record.levels_before < limits.least_levels:
            continue
        if record.constant - record.constant_before <= limits.flattened:
            continue
        yield Found(
            message=f"On the way to the network {100 * record.constant:.0f} % of an image's pixels become its smallest "
            f"or largest value ({100 * record.constant_before:.0f} % in the files): {record.levels_before} grey values "
            f"go in and {record.levels} come out. The window does not suit these images.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={
                "constant": round(record.constant, 3),
                "constant in files": round(record.constant_before, 3),
                "levels": record.levels,
                "levels in files": record.levels_before,
            },
            remedy="Scale each radiograph by its own percentiles; Hounsfield windows are for CT alone.",
        )
