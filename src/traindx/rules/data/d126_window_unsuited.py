"""D126: a window made for another modality."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset_intensities import DisplayWindow
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import of, place, some


@rule(
    "D126",
    "window-unsuited",
    Severity.MAJOR,
    needs=(DisplayWindow,),
    inside=Threshold(
        0.1, "a soft-tissue window on a CT of head or trunk keeps 25 % of the pixels and more; less is not a window"
    ),
    coarse=Threshold(0.05, "one image of twenty may be nearly empty; radiographs looked at have 92 values and more"),
    few=Threshold(0.05, "one image of twenty may be an odd exposure"),
)
def window_unsuited(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Windows in DICOM headers that hold less than a tenth of the image's values, 8-bit images with more than a
        quarter of their pixels pure white, as a CT window leaves a radiograph, and images with fewer than 32 different
        values.

    Why it stops learning:
        What lies outside the window becomes one constant. The network sees a silhouette; the labels depend on what was
        cut away.

    Evidence it needs:
        ``DisplayWindow``.

    How it decides:
        Suspected where the median share of pixels inside the declared window is below ``inside``; where more than
        ``few`` of the 8-bit images of a set have more than a quarter of their pixels at the highest value (in the
        healthy radiographs looked at: at most 17 %); and where more than ``coarse`` of the images hold fewer than 32
        different values.

    Remedy:
        Window radiographs by their own percentiles (for example the 1st to the 99th); keep HU windows for CT.

    Trial it proposes:
        ``window``, where a case offers it.

    Known false positives:
        Images with large white borders or burnt-in panels.

    References:
        DICOM PS3.3 C.11.2 (VOI LUT).
    """
    for record in evidence.of(DisplayWindow):
        if record.windowed and record.inside < limits.inside:
            yield Found(
                message=f"The windows declared in {of(record.starved, record.windowed, 'header')} of “{record.name}” "
                f"hold almost "
                f"nothing of the image (median {record.inside:.1%} of the pixels): {some(record.starved_examples, 2)}.",
                location=place(evidence, record.starved_examples),
                offenders=record.starved_examples,
                numbers={"starved": record.starved, "windowed": record.windowed, "median inside": record.inside},
                remedy="Do not apply these windows; derive one from the values of the set.",
            )
        if record.coarse > limits.coarse * record.images:
            yield Found(
                message=f"{of(record.coarse, record.images, 'image')} of “{record.name}” hold fewer than "
                f"{record.coarse_levels} different values: a window or a conversion has taken most of them away "
                f"({some(record.coarse_examples, 2)}).",
                severity=Severity.MAJOR if record.coarse > record.images / 2 else Severity.MINOR,
                location=place(evidence, record.coarse_examples),
                offenders=record.coarse_examples,
                numbers={"coarse": record.coarse, "images": record.images},
                remedy="Export the images again with all their bits.",
            )
        if record.burnt > limits.few * record.eight_bit:
            most = record.burnt > record.eight_bit / 2
            yield Found(
                message=f"{of(record.burnt, record.eight_bit, '8-bit image')} of “{record.name}” have more than a "
                f"quarter of their "
                f"pixels pure white: a window of another modality may have been burnt in "
                f"({some(record.burnt_examples, 2)}).",
                severity=Severity.MAJOR if most else Severity.MINOR,
                location=place(evidence, record.burnt_examples),
                offenders=record.burnt_examples,
                numbers={"burnt": record.burnt, "8 bit": record.eight_bit, "median saturated share": record.saturated},
                pictures=(f"burnt: {record.name}",),
                remedy="Export the images again with a window that fits them.",
            )
