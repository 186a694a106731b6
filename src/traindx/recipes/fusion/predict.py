"""``traindx predict fusion``: fuse registered CT and MR into NIfTI on the grid of the CT, with uncertainty.

Pairs of plain images go to :mod:`traindx.recipes.fusion.pairs.predict`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from traindx.errors import InputError, UsageError
from traindx.recipes.fusion import inference, pictures, studies
from traindx.recipes.fusion.pairs import predict as pairs
from traindx.recipes.fusion.pairs.methods import METHODS
from traindx.recipes.fusion.roi import PRESETS, RoiWeights
from traindx.recipes.fusion.studies import Study
from traindx.recipes.fusion.train import MOVED
from traindx.recipes.kit import options as kit
from traindx.recipes.kit.nifti import write_nifti
from traindx.recipes.kit.run_folder import checkpoint_in


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = kit.parser(
        "predict",
        "fusion",
        "Fuse registered CT and MR. Written for each case: <case>_fused.nii.gz (0 to 1, on the grid of the CT), with "
        "several samples <case>_uncertainty.nii.gz, and a picture of MR, CT and fused. A --pair of plain images of any "
        "modality (PNG, TIFF, NIfTI) gives <name>_fused.png in their depth and colour, or NIfTI on their grid.",
        "--checkpoint runs/fusion --case patient7 --samples 4",
    )
    images = kit.data(made, ())
    images.add_argument("--case", type=Path, action="append", default=[], help="folder with ct.nii.gz and mri.nii.gz")
    images.add_argument("--ct", type=Path, help="CT in NIfTI, instead of a case")
    images.add_argument("--mri", type=Path, help="MR in NIfTI")
    images.add_argument(
        "--pair", type=Path, nargs=2, action="append", default=[], metavar=("A", "B"), help="two plain images"
    )
    images.add_argument("--root", type=Path, help="folder of pairs, such as ct/NAME.png and mri/NAME.png")
    pairs.add_ranges(images)
    group = kit.model(made, required=False)
    group.add_argument("--method", choices=list(METHODS), help="of a pair, instead of a checkpoint")
    pairs.add_refine(group)
    kit.sampling(group, 10, "images")
    group.add_argument("--sampler", choices=("ddim", "student"), default="ddim", help="student: one pass, distilled")
    group.add_argument("--guidance", type=float, default=0.0, help="ROI guidance, which made the measured model worse")
    group.add_argument("--roi-weights", choices=list(PRESETS), help="of guidance, instead of the checkpoint's")
    kit.results(made, "volumes and pictures", default="predicted")
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: No images or no model are given, or images of several kinds.
        InputError: A file cannot be used.
    """
    kit.refuse_old(argv, MOVED)
    options = parser().parse_args(list(argv))
    if options.pair or options.root is not None:
        if options.case or options.ct is not None or options.mri is not None:
            raise UsageError("CT and MR in HU and pairs of plain images are given", expected="one kind at a time")
        return pairs.run(options)
    if options.checkpoint is None:
        raise UsageError("no model is given", expected="--checkpoint; --method goes with --pair alone")
    if bool(options.case) == (options.ct is not None) or (options.ct is None) != (options.mri is None):
        raise UsageError(
            "the images to fuse are not clear", expected="either --case (repeatable), or --ct and --mri, or --pair"
        )
    if options.sampler == "student" and options.samples > 1:
        raise UsageError("a student draws nothing, so all its samples are one", expected="--samples 1")
    weights: RoiWeights | None = PRESETS[options.roi_weights] if options.roi_weights else None
    model = inference.load(
        checkpoint_in(options.checkpoint),
        sampler=options.sampler,
        sampling_steps=options.sampling_steps,
        guidance=options.guidance,
        weights=weights,
        device=options.device,
    )
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    given = [studies.from_folder(folder) for folder in options.case]
    if options.ct is not None:
        given.append(studies.from_files(options.ct, options.mri))
    for study in given:
        fused, spread, prepared = inference.fuse_study(model, study, options.samples)
        written = [options.out / f"{study.id}_fused.nii.gz"]
        _write(written[0], fused, study)
        if options.samples > 1:
            written.append(options.out / f"{study.id}_uncertainty.nii.gz")
            _write(written[1], spread, study)
        row = {"MR": prepared.mr, "CT": prepared.ct, "fused": fused}
        middle = _busiest(prepared.where.body)
        named = {name: volume[middle][None] for name, volume in row.items()}
        masks = {"bone": prepared.where.bone, "lesion": study.lesion}
        named |= {name: torch.from_numpy(mask[middle])[None].float() for name, mask in masks.items()}
        written.append(options.out / f"{study.id}_fused.png")
        pictures.panels(written[-1], [{"id": study.id, **named}], ("MR", "CT", "fused", "regions"), enlarge=3)
        print("wrote " + ", ".join(str(path) for path in written), flush=True)
    return 0


def _write(path: Path, volume: Tensor, study: Study) -> None:
    """Write a volume ``(D, H, W)`` as float32 on the grid of a study.

    Raises:
        InputError: It has another shape than the study.
    """
    if tuple(volume.shape) != study.hu.shape:
        raise InputError(f"the volume is {tuple(volume.shape)}, the CT {study.hu.shape}", expected="one grid")
    write_nifti(path, volume.float(), study.affine, (2, 1, 0))


def _busiest(body: NDArray[np.bool_]) -> int:
    """The slice that shows most of the body."""
    return int(body.sum(axis=(1, 2)).argmax())
