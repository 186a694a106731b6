"""A class map as a DICOM Segmentation object beside the series that it was made from, by highdicom."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traindx.errors import InputError
from traindx.recipes.kit.dicom_series import Series
from traindx.version import __version__

Code = tuple[str, str, str]

STRUCTURE: Code = ("123037004", "SCT", "Anatomical structure")
"""Category of every segment, and its type where none is given: SNOMED CT, DICOM context group 7150."""

_LABEL = 64  # characters of a segment's label (LO, DICOM PS3.5, 6.2)


def read_codes(path: Path | None, names: Sequence[str]) -> dict[str, Code]:
    """Codes of the classes from a JSON file such as ``{"liver": ["10200004", "SCT", "Liver"]}``.

    Raises:
        InputError: It cannot be read, or names what is no class.
    """
    if path is None:
        return {}
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        codes = {str(name): (str(value), str(scheme), str(meaning)) for name, (value, scheme, meaning) in table.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read: {error}", expected='codes such as {"liver": ["10200004", "SCT", "Liver"]}'
        ) from error
    strangers = sorted(set(codes) - set(names))
    if strangers:
        raise InputError(f"{path} names {', '.join(strangers)}", expected=f"the classes {', '.join(names)}")
    return codes


def write(
    path: Path,
    classes: NDArray[np.uint8],
    names: Sequence[str],
    series: Series,
    codes: Mapping[str, Code] | None = None,
) -> None:
    """Write a segmentation: one binary segment a class, in the frame of reference of the series.

    Args:
        path: Target.
        classes: Class indices, shape ``(columns, rows, slices)`` as the series' values; 0 is the background.
        names: Of the classes, index 1 first.
        series: What was segmented.
        codes: Code of what a class is, by name; :data:`STRUCTURE` for others.

    Raises:
        InputError: The series lacks what a segmentation must take over from it.
    """
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import Segmentation, SegmentationTypeValues, SegmentDescription
    from pydicom.sr.coding import Code as DicomCode
    from pydicom.uid import generate_uid

    algorithm = AlgorithmIdentificationSequence(
        name="traindx segmentation",
        version=__version__,
        family=DicomCode("123109", "DCM", "Artificial Intelligence"),
    )
    segments = [
        SegmentDescription(
            segment_number=number,
            segment_label=name[:_LABEL],
            segmented_property_category=DicomCode(*STRUCTURE),
            segmented_property_type=DicomCode(*(codes or {}).get(name, STRUCTURE)),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number, name in enumerate(names, start=1)
    ]
    try:
        made = Segmentation(
            source_images=list(series.slices),
            pixel_array=np.ascontiguousarray(classes.transpose(2, 1, 0)),
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=generate_uid(),
            series_number=9002,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="traindx",
            manufacturer_model_name="traindx segmentation",
            software_versions=__version__,
            device_serial_number="0",
            series_description="traindx segmentation, automatic",
        )
    except (AttributeError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"the series cannot carry a DICOM segmentation: {error}",
            expected="slices with patient, study and frame of reference",
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path)
