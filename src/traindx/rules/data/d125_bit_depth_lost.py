"""D125: images that common loaders turn into something else."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset_intensities import BitDepth
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import of, place, some


@rule(
    "D125",
    "bit-depth-lost",
    Severity.MINOR,
    needs=(BitDepth,),
    above_255=Threshold(0.01, "1 % of the pixels: more than hot pixels and annotations"),
)
def bit_depth_lost(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        PNG and TIFF files of more than 8 bits, which ``Image.convert("L")`` clips at 255 and ``cv2.imread`` without
        flags divides by 256; 8- and 16-bit files in one set; colour and palette images in a grey set.

    Why it stops learning:
        Clipped at 255, a 12-bit radiograph is white with a black edge, and no error is raised. With two depths in one
        set the same tissue has values 256 times apart. Palette indices are not grey values at all.

    Evidence it needs:
        ``BitDepth``: image files.

    How it decides:
        Suspected, because it depends on the loader: files of more than 8 bits with more than ``above_255`` of their
        pixels above 255 (major where 8-bit files lie beside them); palette images; colour images among grey ones (a
        note). A set that is in colour throughout is meant to be.

    Remedy:
        Read with ``cv2.IMREAD_UNCHANGED``, ``tifffile`` or ``np.asarray(Image.open(...))`` and scale by the stored bits
        (12 bits: 4095).

    Trial it proposes:
        None from the files alone.

    Known false positives:
        Loaders that keep 16 bits.

    References:
        Pillow documentation, *Concepts: Modes* (``I;16``); OpenCV documentation, ``ImreadModes``.
    """
    for record in evidence.of(BitDepth):
        if record.deep and record.above_255 > limits.above_255:
            mixed = record.shallow > 0
            beside = f" beside {record.shallow} of 8 bits" if mixed else ""
            yield Found(
                message=f"{of(record.deep, record.members, 'image')} of “{record.name}” have more than 8 bits (values "
                f"up to "
                f"{record.largest:.0f}){beside}; a conversion to 8 bits that clips turns {record.above_255:.0%} of "
                f"their pixels "
                f"white: {some(record.examples, 2)}.",
                severity=Severity.MAJOR if mixed else Severity.MINOR,
                location=place(evidence, record.examples),
                offenders=record.examples,
                numbers={"deep": record.deep, "share above 255": record.above_255, "largest value": record.largest},
                remedy="Load with all bits and scale by the stored depth; do not call convert('L').",
            )
        mixture = record.colour < record.members  # photographs are in colour by nature, all of them
        if record.palette or (record.colour and mixture):
            said = ", ".join(
                f"{count} {name}" for name, count in (("palette", record.palette), ("colour", record.colour)) if count
            )
            yield Found(
                message=f"“{record.name}” holds images that are not grey: {said} of {record.members} "
                f"({some(record.colour_examples, 2)}).",
                severity=Severity.MINOR if record.palette else Severity.NOTE,
                location=place(evidence, record.colour_examples),
                offenders=record.colour_examples,
                numbers={"palette": record.palette, "colour": record.colour, "members": record.members},
                remedy="Convert through RGB, and look for burnt-in annotations in colour.",
            )
