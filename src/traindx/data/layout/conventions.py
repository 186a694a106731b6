"""The public layouts that are known by name: how each is recognised, and what its names mean beyond their words.

Most of these sets need no line but their name: pairs, tables and boxes are understood by family, and an unknown set of
the same family is understood as well. An entry says what no name can say: that DRIVE's ``mask`` is the field of view
and no label, that ISIC's superpixels are neither image nor mask, that a split has no labels on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from traindx.data.layout.patterns import matches
from traindx.errors import UsageError


@dataclass(frozen=True)
class Convention:
    """One public layout.

    Attributes:
        key: What ``--layout`` calls it.
        title: What reports call it.
        signs: Patterns of names; each must fit a file.
        images: Patterns of images, where names do not tell.
        masks: Patterns of masks, where names do not tell.
        others: Patterns of pictures that are neither: fields of view, superpixels, whole cycles of frames.
        partial: True if images without a mask are part of the set as published.
        says: What a reader of the report should know of it.
    """

    key: str
    title: str
    signs: tuple[str, ...]
    images: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    partial: bool = False
    says: str = ""


CONVENTIONS = (
    Convention(
        "nnunet", "nnU-Net", ("dataset.json", "imagesTr/*_0000.*", "labelsTr/*"), says="imagesTs come without labels"
    ),
    Convention(
        "decathlon", "Medical Segmentation Decathlon", ("dataset.json", "imagesTr/*.nii*", "labelsTr/*.nii*"),
        says="imagesTs come without labels",
    ),
    Convention(
        "bids", "BIDS", ("dataset_description.json", "sub-*/**/sub-*_*.nii*"), says="masks are in derivatives"
    ),
    Convention("brats", "BraTS", ("*/*_seg.nii*", "*/*_flair.nii*"), says="labels 0, 1, 2, 4"),
    Convention("brats-2023", "BraTS 2023", ("*/*-seg.nii*", "*/*-t2f.nii*")),
    Convention("kits", "KiTS", ("case_*/imaging.nii*",), partial=True, says="test cases come without segmentation"),
    Convention("lits", "LiTS", ("volume-*.nii*", "segmentation-*.nii*")),
    Convention(
        "acdc", "ACDC", ("patient*/patient*_4d.nii*", "patient*/patient*_frame*_gt.nii*"),
        others=("patient*/patient*_4d.nii*",), says="masks belong to single frames, not to the cycle (_4d)",
    ),
    Convention(
        "totalsegmentator", "TotalSegmentator", ("*/ct.nii*", "*/segmentations/*.nii*"),
        says="one mask a structure; a structure outside the field of view has an empty mask",
    ),
    Convention("amos", "AMOS", ("dataset.json", "imagesTr/amos_*.nii*", "labelsTr/amos_*.nii*")),
    Convention("luna16", "LUNA16", ("subset*/*.mhd", "annotations.csv"), masks=("seg-lungs-LUNA16/*.mhd",),
               says="coordinates are in mm of the patient, not in pixels"),
    Convention("lidc", "LIDC-IDRI", ("LIDC-IDRI-*/*/*/*.dcm",), says="the readers' contours are XML and are not read"),
    Convention("fastmri", "fastMRI", ("*coil_*/file*.h5",)),
    Convention("isic-2016", "ISIC 2016", ("ISBI2016_ISIC_Part*/ISIC_*",)),
    Convention("isic-2017", "ISIC 2017", ("ISIC-2017_*/ISIC_*",), others=("*_superpixels.png",)),
    Convention("isic-2018", "ISIC 2018", ("ISIC2018_Task*/ISIC_*",), says="Task 2 has one mask an attribute"),
    Convention("isic-2019", "ISIC 2019", ("ISIC_2019_*/ISIC_*",),
               says="labels are columns of 0 and 1, one a diagnosis"),
    Convention("ham10000", "HAM10000", ("HAM10000_images_part_*/ISIC_*", "HAM10000_metadata*")),
    Convention("dsb-2018", "Data Science Bowl 2018", ("stage1_train/*/images/*", "stage1_train/*/masks/*"),
               says="one mask a nucleus"),
    Convention("montgomery", "Montgomery", ("CXR_png/MCUCXR_*", "ManualMask/leftMask/*"),
               says="left and right lung apart"),
    Convention("shenzhen", "Shenzhen", ("CXR_png/CHNCXR_*",), partial=True, says="not every radiograph has a mask"),
    Convention("jsrt", "JSRT with SCR masks", ("fold*/masks/*/JPC*",), says="one mask a structure"),
    Convention(
        "drive", "DRIVE", ("training/images/*_training.*", "training/1st_manual/*"),
        masks=("1st_manual/*", "2nd_manual/*"), others=("training/mask/*", "test/mask/*", "testing/mask/*"),
        says="mask/ is the field of view; the vessels are in 1st_manual",
    ),
    Convention("chase", "CHASE_DB1", ("Image_*_1stHO.*",), masks=("Image_*_1stHO.*", "Image_*_2ndHO.*"),
               says="two observers"),
    Convention("kvasir", "Kvasir-SEG", ("images/cju*", "masks/cju*"), says="masks are JPEG"),
    Convention("voc", "Pascal VOC", ("JPEGImages/*", "Annotations/*.xml"), masks=("SegmentationClass/*",),
               others=("SegmentationObject/*",), partial=True),
    Convention("coco", "COCO", ("annotations/instances_*.json",)),
    Convention("yolo", "YOLO", ("images/**/*.*", "labels/**/*.txt")),
    Convention("nih", "NIH ChestX-ray14", ("Data_Entry_2017*.csv",),
               says="findings are joined by |; boxes are x, y, w, h"),
    Convention(
        "chexpert", "CheXpert", ("train/patient*/study*/view*", "train.csv"),
        says="a blank is not mentioned, -1 is uncertain; images are named by their path",
    ),
    Convention("mimic-cxr", "MIMIC-CXR", ("mimic-cxr-2.0.0-*",), says="labels belong to studies"),
    Convention(
        "vindr-cxr", "VinDr", ("annotations/annotations_*.csv", "annotations/image_labels_*.csv"),
        says="several readers an image; “No finding” has no box",
    ),
    Convention("rsna-pneumonia", "RSNA pneumonia", ("stage_2_train_labels.csv", "stage_2_train_images/*"),
               says="negatives have a row without a box"),
    Convention("rsna-ich", "RSNA intracranial hemorrhage", ("stage_2_train.csv", "stage_2_train*/ID_*"),
               says="one row an image and type"),
    Convention("siim", "SIIM-ACR pneumothorax", ("*train-rle*.csv",), says="masks are run lengths; -1 is none"),
    Convention("mura", "MURA", ("*_image_paths.csv", "*_labeled_studies.csv"),
               says="tables without header; labels belong to studies"),
    Convention("deeplesion", "DeepLesion", ("DL_info.csv",), says="boxes belong to the key slice"),
    Convention("medmnist", "MedMNIST", ("*mnist*.npz",), says="one file, keys by split"),
)  # fmt: skip


def check_layout(chosen: str) -> None:
    """Raise if there is no such layout.

    Raises:
        UsageError: See above.
    """
    known = [one.key for one in CONVENTIONS]
    if chosen and chosen != "none" and chosen not in known:
        raise UsageError(f"there is no layout {chosen!r}", expected=f"none, or one of {', '.join(known)}")


def recognised(names: Iterable[str], chosen: str = "") -> Convention | None:
    """The first convention all of whose signs are there; the one of that key where the user chose."""
    if chosen:
        return next((one for one in CONVENTIONS if one.key == chosen), None)
    listed = list(names)
    for one in CONVENTIONS:
        if all(any(matches(sign, name) is not None for name in listed) for sign in one.signs):
            return one
    return None
