"""What the header of a column says: boxes, splits, patients, labels, and what is never learned."""

from __future__ import annotations

import re

ID_COLUMNS = (
    "image_id", "imageid", "image", "image_index", "image_name", "img", "img_id", "filename", "file_name", "file",
    "dateiname", "path", "file_path", "filepath", "image_path", "img_path", "dicom_id", "sopinstanceuid", "id",
    "id_code", "isic_id", "slice_id", "case", "case_id", "caseid", "study_id", "name", "scan", "scan_id", "seriesuid",
    "series_uid", "uid", "accession", "participant_id", "frame",
)  # fmt: skip
SPLIT_COLUMNS = (
    "split", "subset", "partition", "set", "fold", "kfold", "cv_fold", "fold_id", "folds", "train_val_test", "phase",
)  # fmt: skip
PATIENT_COLUMNS = (
    "patient", "patientid", "patient_id", "patient_index", "patientenid", "patienten_id", "subject", "subject_id",
    "subjectid", "pid", "participant_id",
)  # fmt: skip
CLASS_COLUMNS = (
    "class", "class_name", "classname", "label", "labels", "label_name", "category", "finding", "findings",
    "finding_label", "finding_labels", "diagnosis", "dx", "pathology", "disease", "concept", "target", "lesion",
    "lung", "organ", "name", "kind", "type", "level", "grade",
)  # fmt: skip
CORNERS = (
    ("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"),
)  # fmt: skip
SIZES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"))
CENTRES = (("cx", "cy", "w", "h"), ("x_center", "y_center", "width", "height"))
BOX_CELLS = ("bbox", "bounding_box", "bounding_boxes", "box", "boxes")
"""Columns that hold all four numbers in one cell."""

RUN_COLUMNS = ("encodedpixels", "encoded_pixels", "rle", "rle_mask", "mask_rle")
READER_COLUMNS = ("rad_id", "reader", "reader_id", "annotator", "annotator_id", "observer", "rater", "radiologist")
NEGATIVE_NAMES = frozenset(
    ("no finding", "no findings", "normal", "negative", "background", "none", "healthy", "no lesion", "no")
)
"""Names that stand where there is nothing to draw."""

_NEVER_WORDS = (
    # who, where and when
    "id ids uid path file filename dateiname folder url doi license licence source reader rad radiologist annotator "
    "observer rater grader doctor physician institute institution hospital center centre site clinic scanner "
    "manufacturer vendor model device kvp date time year notes note comment remark "
    # how it was cut and tried
    "fold folds kfold cv split subset partition epoch epochs step steps seed run batch version lr "
    # what came out of a model
    "auc auroc acc accuracy loss dice iou jaccard f1 precision recall sensitivity specificity metric oof pred preds "
    "prediction predicted prob probability logit logits confidence "
    # how it was acquired
    "acquisition echo repetition flip tesla fourier resolution bandwidth inversion coil sequence protocol exposure "
    # what is measured of the picture or the patient
    "index idx row rows column columns unnamed width height spacing pixel size orig thickness slice slices nx ny nz "
    "dx_type dy dz age sex gender weight view position viewposition projection orientation frontal lateral ap pa "
    "modality series study follow offset location localization localisation anatom site quality"
)
_NEVER = frozenset(_NEVER_WORDS.split())
_PLAIN = re.compile(r"[^a-z0-9]+")


_COORDINATE = re.compile(r"^(?:(?P<before>.*?)_?)?(?P<axis>[xyz])(?P<after>_?\d*)$")
_NO_PLACE_WORDS = (
    "spacing size pixel voxel origin resolution dim dimension shape orientation offset translation shift scale "
    "position patient direction bbox box umap tsne pca embedding max min ma mi inde e pre d n v f"
)
_NO_PLACES = frozenset(_NO_PLACE_WORDS.split())
"""What stands before x where it is no place in an image, or no x at all (``max``, ``index``)."""


def coordinate(name: str) -> tuple[str, str, dict[str, str]] | None:
    """What a plain header that ends in x, y or z is a coordinate of, which one, and the headers of the others."""
    found = _COORDINATE.match(name)
    if found is None:
        return None
    before, axis, after = found["before"] or "", found["axis"], found["after"]
    if _NO_PLACES.intersection(before.split("_")):
        return None
    head = name[: found.start("axis")]
    called = (before + after).strip("_") or "point"
    return called, axis, {other: f"{head}{other}{after}" for other in "xyz"}


def plain(header: str) -> str:
    """A header in lower case with single underscores: ``Bbox [x`` gives ``bbox_x``."""
    return _PLAIN.sub("_", header.strip().lower()).strip("_")


def without_box(name: str) -> str:
    """``bbox_left`` gives ``left``."""
    for prefix in ("bbox_", "box_", "bb_", "bounding_box_"):
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def of_dicom(header: str) -> bool:
    """True for the keyword of an attribute of more than one word (``PartialFourier``), as tables of headers have it."""
    from pydicom.datadict import tag_for_keyword

    return tag_for_keyword(header) is not None


def never_learned(header: str) -> bool:
    """True for columns that identify, describe or report and are never a label."""
    name = plain(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", header))
    if name in ("dx", "") or name in CLASS_COLUMNS:
        return name == ""
    if name.count("_") and of_dicom(header.strip()):
        return True
    words = name.split("_")
    return (
        bool(_NEVER.intersection(words)) or name in _NEVER or re.fullmatch(r"column_\d+|unnamed_\d+", name) is not None
    )
