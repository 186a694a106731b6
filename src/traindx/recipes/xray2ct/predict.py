"""``traindx predict xray2ct``: from radiographs, or from a CT whose radiographs are rendered first, to a volume."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from traindx.errors import InputError, UsageError
from traindx.recipes.kit import dicom_ct, dicom_series
from traindx.recipes.kit import options as kit
from traindx.recipes.kit.contract import CONTRACT_KEY
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.kit.nifti import write_nifti
from traindx.recipes.kit.run_folder import checkpoint_in
from traindx.recipes.xray2ct import contract
from traindx.recipes.xray2ct.folders import read_volume
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry
from traindx.recipes.xray2ct.metrics import psnr_hu
from traindx.recipes.xray2ct.population import resized
from traindx.recipes.xray2ct.radiograph import line_integral, mu_from_hu, to_network
from traindx.recipes.xray2ct.sampling import draw


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = kit.parser(
        "predict",
        "xray2ct",
        "Draw CT volumes by a trained model and write each as NIfTI, with a picture of three planes.",
        "--checkpoint runs/xray2ct --ct chest.nii.gz --out predicted",
    )
    add_images(made)
    kit.sampling(kit.model(made), 8, "volumes")
    add_dicom(kit.results(made, "volumes and pictures", default="predicted"))
    return made


def add_images(made: argparse.ArgumentParser) -> None:
    """``--ct``, or one option a view."""
    group = kit.data(made, ())
    group.add_argument(
        "--ct",
        type=Path,
        help="CT in NIfTI, or folder of a DICOM series; its radiographs are rendered, the result compared to it",
    )
    for view in VIEWS:
        group.add_argument(f"--{view}", type=Path, help=f"{view} radiograph: line integrals -log(I/I0) in .npy")


def add_dicom(group: Any) -> None:
    """``--dicom``."""
    group.add_argument(
        "--dicom",
        action="store_true",
        help="also write the volume as a DICOM CT series; patient, study and frame of reference are those of --ct "
        "where that is a series",
    )


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: Neither a CT nor both radiographs are given, or both.
        InputError: A file cannot be used.
    """
    options = parser().parse_args(list(argv))
    check_given(options, VIEWS)
    checkpoint = contract.read(checkpoint_in(options.checkpoint))
    saved = checkpoint[CONTRACT_KEY]
    geometry, window = contract.geometry_from(saved), contract.window_from(saved)
    process = Process.of(saved, options.sampling_steps)
    network = contract.network_from(checkpoint).to(options.device)
    truth, affine = None, centred_affine(geometry)
    if options.ct is not None:
        truth, affine = truth_of(options.ct, geometry)
        images = {view: line_integral(mu_from_hu(truth), view, geometry) for view in VIEWS}
        name = options.ct.name.removesuffix(".gz").removesuffix(".nii")
    else:
        images = {view: radiograph_of(getattr(options, view), geometry) for view in VIEWS}
        name = options.frontal.stem
    batch = {view: to_network(image).to(options.device) for view, image in images.items()}
    torch.manual_seed(options.seed)
    drawn = [draw(process, network, batch, geometry.shape) for _ in range(options.samples)]
    hu = window.decode(torch.stack(drawn).mean(dim=0).clamp(-1, 1)).cpu()
    store(options.out, name, hu, affine, truth)
    if options.dicom:
        store_dicom(options.out, name, hu, affine, options.ct)
    return 0


def check_given(options: argparse.Namespace, views: Sequence[str]) -> None:
    """Refuse anything but a CT, or all the radiographs that a model needs.

    Raises:
        UsageError: Neither is given, or both, or other views.
    """
    given = [view for view in VIEWS if getattr(options, view) is not None]
    if (options.ct is None) == (not given) or (given and set(given) != set(views)):
        names = ["--ct"] * (options.ct is not None) + [f"--{view}" for view in given]
        raise UsageError(
            f"given are {', '.join(names) or 'no images'}",
            expected="either --ct, or " + " and ".join(f"--{view}" for view in views),
        )


def store(out: Path, name: str, hu: Tensor, affine: NDArray[np.float64], truth: Tensor | None) -> None:
    """Write a volume ``(1, 1, D, H, W)`` and its picture, beside the truth where there is one, and say so."""
    out.mkdir(parents=True, exist_ok=True)
    volume, picture = out / f"{name}_predicted.nii.gz", out / f"{name}_predicted.png"
    write_nifti(volume, hu[0, 0].round().to(torch.int16), affine)
    write_picture(picture, {"truth": truth[0, 0], "predicted": hu[0, 0]} if truth is not None else {"": hu[0, 0]})
    compared = f"; PSNR {float(psnr_hu(hu, truth)):.2f} dB against the CT" if truth is not None else ""
    print(f"wrote {volume} and {picture}{compared}")


def store_dicom(out: Path, name: str, hu: Tensor, affine: NDArray[np.float64], ct: Path | None) -> None:
    """Write a volume ``(1, 1, D, H, W)`` as a DICOM series, where the CT lay, and say so."""
    reference = dicom_series.header_of(ct) if ct is not None and ct.is_dir() else None
    folder = out / f"{name}_predicted_dicom"
    made = dicom_ct.write(
        folder,
        hu[0, 0].round().numpy(),
        affine,
        description="traindx xray2ct: SYNTHETIC, from radiographs",
        derivation="Estimated from two radiographs or fewer by a neural network. Not an acquired CT.",
        reference=reference,
    )
    where = "in the frame of reference of the CT" if reference is not None else "in a frame of reference of its own"
    print(f"wrote {folder}: {len(made)} DICOM slices, {where}")


def truth_of(path: Path, geometry: ConeGeometry) -> tuple[Tensor, NDArray[np.float64]]:
    """A CT on the grid of the model, ``(1, 1, D, H, W)``, and the affine of that grid."""
    ct = read_volume(path)
    volume = resized(ct.hu, geometry.shape[0])
    factors = np.array(ct.hu.shape) / np.array(volume.shape)
    affine = ct.affine @ np.diag([*factors, 1.0])
    affine[:3, 3] += ct.affine[:3, :3] @ ((factors - 1) / 2)  # voxel centres, not corners
    return volume[None, None], affine


def radiograph_of(path: Path, geometry: ConeGeometry) -> Tensor:
    """Line integrals from a file, ``(1, 1, rows, columns)``.

    Raises:
        InputError: It cannot be read, has another shape, or cannot be line integrals.
    """
    try:
        image = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read: {error}", expected="an array written by numpy.save") from error
    if image.shape != geometry.pixels or not np.isfinite(image).all() or image.min() < -0.1 or image.max() > 50:
        raise InputError(
            f"{path} has shape {image.shape} and values from {image.min():.3g} to {image.max():.3g}",
            expected=f"shape {geometry.pixels}, and line integrals -log(I/I0), 0 in air and up to 10 in the body",
            do="take -log(I / I0) of the detector's linear signal, and resample it to the geometry of the checkpoint",
        )
    return torch.from_numpy(image.astype(np.float32))[None, None]


def centred_affine(geometry: ConeGeometry) -> NDArray[np.float64]:
    """NIfTI affine of a volume around the origin whose axes run to inferior, posterior and left."""
    affine = np.zeros((4, 4))
    d, h, w = geometry.spacing_mm
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = -d, -h, -w, 1.0
    centre = (np.array(geometry.shape) - 1) / 2
    affine[:3, 3] = -affine[:3, :3] @ centre
    return affine


def write_picture(path: Path, volumes: dict[str, Tensor]) -> None:
    """A row of three planes through the middle for each volume ``(D, H, W)`` of HU, from -1000 to 600."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.1 * len(volumes)), layout="constrained")
    axes: Any = figure.subplots(len(volumes), 3, squeeze=False)
    for row, (name, hu) in zip(axes, volumes.items(), strict=True):
        d, h, w = hu.shape
        planes = {"coronal": hu[:, h // 2], "sagittal": hu[:, :, w // 2], "axial": hu[d // 2]}
        for cell, (plane, image) in zip(row, planes.items(), strict=True):
            cell.imshow(image.numpy(), cmap="gray", vmin=-1000, vmax=600)
            cell.set_title(f"{plane} {name}".strip(), fontsize=9)
            cell.axis("off")
    figure.savefig(path, dpi=110)
