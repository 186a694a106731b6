"""``traindx predict segmentation``: segment every volume of a folder; report what cannot be read, and go on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from traindx.errors import InputError, TraindxError, UsageError
from traindx.extras import require
from traindx.recipes.kit import options as kit
from traindx.recipes.segmentation.channels import ImageFiles, of_prediction, read
from traindx.recipes.segmentation.dicom_seg import Code, read_codes
from traindx.recipes.segmentation.volumes import (
    TIFF_SUFFIXES,
    Volume,
    list_volumes,
    stem_of,
    suffix_of,
    write_mask,
)

if TYPE_CHECKING:
    from traindx.recipes.segmentation.inference import Predictor

TEST_IMAGES = "imagesTs"
"""Folder of a data set of nnU-Net that holds what is to be segmented."""


@dataclass(frozen=True)
class Written:
    """What became of one volume.

    Attributes:
        name: File name of the volume.
        mask: Where its mask is, or None where it could not be made.
        dicom: Where its DICOM segmentation is, if one was asked for.
        problem: Why not.
        seconds: Time to predict it.
        volumes_ml: Predicted volume of each class.
        foreground_ratio: Share of voxels of any class.
        output_spread: Standard deviation of p(foreground) over the volume.
    """

    name: str
    mask: Path | None
    problem: str = ""
    dicom: Path | None = None
    seconds: float = 0.0
    volumes_ml: dict[str, float] | None = None
    foreground_ratio: float = float("nan")
    output_spread: float = float("nan")


def predict_folder(
    predictor: Predictor,
    inputs: Sequence[Path],
    out: Path,
    *,
    probabilities: bool = False,
    dtype: str | None = None,
    overlap: float = 0.5,
    progress: bool = False,
    dicom_seg: bool = False,
    codes: Mapping[str, Code] | None = None,
) -> Iterator[Written]:
    """Segment volumes one after another.

    Args:
        predictor: Networks and settings.
        inputs: Volumes, or folders of volumes.
        out: Folder for the masks. A mask has the name, the kind and the affine of its volume.
        probabilities: Also write ``NAME_probabilities.npz`` (float16, classes first).
        dtype: Data type of the masks; default: that of the training labels. ``"image"`` takes that of each volume.
        overlap: Overlap of windows.
        progress: Show a bar over the windows of each volume.
        dicom_seg: Also write ``NAME_seg.dcm``, a DICOM segmentation; volumes must be DICOM series.
        codes: What each class is, for that, by name.

    Yields:
        What became of each volume, in order.
    """
    for image in _volumes(inputs, predictor.plan.channels):
        try:
            yield _predict_one(predictor, image, out, probabilities, dtype, overlap, progress, dicom_seg, codes)
        except TraindxError as error:
            yield Written(_shown(image), None, str(error))
        except (MemoryError, OSError) as error:
            yield Written(_shown(image), None, f"{type(error).__name__}: {error}")


def _volumes(inputs: Sequence[Path], channels: int) -> list[ImageFiles]:
    found: list[ImageFiles] = []
    for path in inputs:
        if (path / "dataset.json").is_file() and (path / TEST_IMAGES).is_dir():
            path = path / TEST_IMAGES  # noqa: PLW2901
        inside = list_volumes(path) if path.is_dir() else []
        found += of_prediction(inside, channels) if inside else [ImageFiles(stem_of(path), (path,))]
    return found


def _predict_one(
    predictor: Predictor,
    image: ImageFiles,
    out: Path,
    probabilities: bool,
    dtype: str | None,
    overlap: float,
    progress: bool,
    dicom_seg: bool,
    codes: Mapping[str, Code] | None,
) -> Written:
    from traindx.recipes.segmentation.sources import RawCase

    path = image.paths[0]
    if problem := image.problem(predictor.plan.channels):
        raise InputError(problem, expected=f"{predictor.plan.channels} channels, as in training")
    volume = read(image)
    if dicom_seg and volume.series is None:
        raise InputError(
            f"{path} is no DICOM series, and a DICOM segmentation refers to the slices of one",
            expected="the folder of a series",
            do="leave --dicom-seg out for this volume",
        )
    prediction = predictor(RawCase(volume.array, None, volume.affine), progress=progress, overlap=overlap)
    wanted = np.dtype(volume.dtype if dtype == "image" else dtype or predictor.plan.label_dtype)
    mask = predictor.plan.labels.decode(prediction.classes, wanted)
    target = out / mask_name(volume, image.name)
    write_mask(target, mask, volume)
    segmentation: Path | None = None
    if dicom_seg and volume.series is not None:
        from traindx.recipes.segmentation import dicom_seg as seg

        segmentation = out / f"{image.name}_seg.dcm"
        seg.write(segmentation, prediction.classes, predictor.plan.labels.names, volume.series, codes)
    if probabilities:
        np.savez_compressed(
            out / f"{image.name}_probabilities.npz",
            probabilities=prediction.probabilities.astype(np.float16),
            classes=np.array(["background", *predictor.plan.labels.names]),
        )
    voxel_ml = abs(float(np.linalg.det(volume.affine[:3, :3]))) / 1000
    return Written(
        _shown(image),
        target,
        dicom=segmentation,
        seconds=prediction.seconds,
        volumes_ml={
            name: int((prediction.classes == index).sum()) * voxel_ml
            for index, name in enumerate(predictor.plan.labels.names, start=1)
        },
        foreground_ratio=float((prediction.classes > 0).mean()),
        output_spread=float(prediction.probabilities[0].std()),
    )


def _shown(image: ImageFiles) -> str:
    """What a case is called in messages: its file, or its name where it has several."""
    return image.name if image.numbers else image.paths[0].name


def mask_name(volume: Volume, name: str) -> str:
    """File name of a mask: the kind of its volume, NIfTI for a DICOM series, one file for a folder of TIFF pages.

    Args:
        volume: The volume.
        name: Name of its case, without the number of a channel.
    """
    if volume.series is not None:
        return f"{name}.nii.gz"
    stack = volume.path.is_dir() or suffix_of(volume.path) in TIFF_SUFFIXES
    return f"{name}.tif" if stack else name + volume.path.name[len(stem_of(volume.path)) :]


def warn_of_collapse(results: Sequence[Written]) -> str:
    """A sentence if all masks have the same foreground ratio or the outputs hardly vary, else an empty string.

    Different patients with equal ratios to four digits do not happen: something after the network is broken, or the
    network outputs a constant.
    """
    done = [one for one in results if one.mask is not None]
    ratios = {round(one.foreground_ratio, 4) for one in done}
    if len(done) >= 3 and len(ratios) == 1:
        return f"all {len(done)} masks have the same foreground ratio {ratios.pop():.2%}: do not use them"
    if len(done) >= 3 and max(one.output_spread for one in done) < 0.02:
        return "p(foreground) hardly varies within any volume: the network outputs a constant; do not use these masks"
    return ""


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = kit.parser(
        "predict",
        "segmentation",
        "Segment volumes (NIfTI, TIFF stacks, folders of DICOM slices). Exit code 0: all done; 2: some were not read.",
        "images/ --checkpoint runs/fold0 --out masks/",
    )
    kit.data(made, ()).add_argument(
        "inputs",
        nargs="+",
        type=Path,
        help="volumes, DICOM series, folders of them, or the folder of a data set (its imagesTs)",
    )
    group = kit.model(made, many=True)
    group.add_argument("--overlap", type=float, default=0.5, help="overlap of windows (default: 0.5)")
    group.add_argument("--no-flips", action="store_true", help="do not average over mirrored views")
    group = kit.results(made, "the masks", default="predicted", json="what became of each volume")
    group.add_argument("--probabilities", action="store_true", help="also write class probabilities")
    group.add_argument(
        "--dtype", help="data type of the masks (default: of the training labels); 'image': of each volume"
    )
    group.add_argument(
        "--dicom-seg",
        action="store_true",
        help="of a DICOM series also write NAME_seg.dcm, a DICOM segmentation in its frame of reference (extra dicom)",
    )
    group.add_argument(
        "--segment-codes",
        type=Path,
        help='JSON of what each class is: {"liver": ["10200004", "SCT", "Liver"]} (default: an anatomical structure)',
    )
    group.add_argument("--progress", action="store_true", help="a bar over the windows of each volume")
    return made


def predict(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: Codes are given for nothing.
        InputError: No checkpoint or no volume can be used at all.
    """
    options = parser().parse_args(list(argv))
    if options.segment_codes is not None and not options.dicom_seg:
        raise UsageError("--segment-codes is given without --dicom-seg", expected="both, or neither")
    if options.dicom_seg:
        require("dicom", "a DICOM segmentation")
    from traindx.recipes.segmentation.inference import Predictor

    predictor = Predictor.load(options.checkpoint, options.device)
    codes = read_codes(options.segment_codes, predictor.plan.labels.names)
    if options.no_flips:
        predictor.settings = predictor.settings.model_copy(update={"flips": ()})
    if not _volumes(options.inputs, predictor.plan.channels):
        raise InputError("there is no volume to segment")
    results: list[Written] = []
    for one in predict_folder(
        predictor,
        options.inputs,
        options.out,
        probabilities=options.probabilities,
        dtype=options.dtype,
        overlap=options.overlap,
        progress=options.progress,
        dicom_seg=options.dicom_seg,
        codes=codes,
    ):
        results.append(one)
        if not options.json:
            print(_line(one), flush=True)
    failed = [one for one in results if one.mask is None]
    warning = warn_of_collapse(results)
    if options.json:
        print(json.dumps([_as_json(one) for one in results]))
    else:
        print(f"{len(results) - len(failed)} of {len(results)} volumes segmented" + (f"; {warning}" if warning else ""))
    return 2 if failed else 0


def _line(one: Written) -> str:
    if one.mask is None:
        return f"NOT READ {one.name}: {one.problem}"
    parts = ", ".join(f"{name} {ml:.2f} ml" for name, ml in (one.volumes_ml or {}).items())
    made = f"{one.mask} and {one.dicom}" if one.dicom else one.mask
    return f"{one.name} -> {made} ({parts}; {one.seconds:.2f} s)"


def _as_json(one: Written) -> dict[str, Any]:
    paths = {name: str(path) if path else None for name, path in (("mask", one.mask), ("dicom", one.dicom))}
    return {**one.__dict__, **paths}
