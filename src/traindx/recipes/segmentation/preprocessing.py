"""One path from a file to network values, used by training, validation and prediction alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from traindx.errors import InputError
from traindx.recipes.segmentation.fingerprint import canonical, from_canonical
from traindx.recipes.segmentation.planning import Normalisation, Plan
from traindx.recipes.segmentation.sources import CaseRef, RawCase

SPACING_TOLERANCE = 0.02
"""Relative difference of spacing below which a volume is left on its own grid."""


@dataclass(frozen=True)
class PreparedCase:
    """A case on the grid of the plan.

    Attributes:
        name: Case name.
        patient: Patient it belongs to.
        image: Network values, float32, shape ``(channels, D, H, W)``.
        label: Class indices with -1 for *ignore*, int8, shape ``(D, H, W)``; None without a label.
        labelled: For each class, True if it was looked for in this case; shape ``(classes,)``.
        spacing: Voxel size of this grid in mm.
    """

    name: str
    patient: str
    image: NDArray[np.float32]
    label: NDArray[np.int8] | None
    labelled: NDArray[np.bool_]
    spacing: tuple[float, float, float]


def normalise(image: NDArray[np.float32], schemes: tuple[Normalisation, ...]) -> NDArray[np.float32]:
    """Raw intensities to network values, channel by channel. A constant channel becomes zero.

    Raises:
        InputError: The number of channels is not the planned one, or a value is not finite.
    """
    if image.shape[0] != len(schemes):
        raise InputError(f"the image has {image.shape[0]} channels", expected=f"{len(schemes)}, as in training")
    if not np.isfinite(image).all():
        raise InputError(f"the image holds {int((~np.isfinite(image)).sum())} voxels that are not finite")
    out = np.empty(image.shape, dtype=np.float32)
    for index, scheme in enumerate(schemes):
        channel = image[index].astype(np.float64)  # float32 sums of 10^6 voxels of 10^5 lose digits
        if scheme.kind == "ct":
            out[index] = (np.clip(channel, scheme.low, scheme.high) - scheme.mean) / scheme.sd
        else:
            out[index] = (channel - channel.mean()) / max(float(channel.std()), 1e-8)
    return out


def target_shape(
    shape: tuple[int, ...], spacing: tuple[float, float, float], wanted: tuple[float, float, float]
) -> tuple[int, int, int] | None:
    """Shape on the wanted grid, or None if the volume can stay as it is."""
    if all(abs(a / b - 1) <= SPACING_TOLERANCE for a, b in zip(spacing, wanted, strict=True)):
        return None
    d, h, w = (max(1, round(n * a / b)) for n, a, b in zip(shape, spacing, wanted, strict=True))
    return int(d), int(h), int(w)


def resample(image: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Trilinear resampling of ``(channels, D, H, W)`` to another size; averages over the voxel when it shrinks.

    Without the averaging, shrinking takes every n-th value and aliases noise into the result.
    """
    old = image.shape[1:]
    smaller = tuple(min(a, b) for a, b in zip(old, shape, strict=True))
    volume = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None]
    if smaller != old:
        volume = F.adaptive_avg_pool3d(volume, smaller)
    if smaller != tuple(shape):
        volume = F.interpolate(volume, size=tuple(shape), mode="trilinear", align_corners=False)
    return volume[0].numpy()


def resample_label(label: NDArray[np.int8], shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Nearest-neighbour resampling of class indices: no value appears that was not there."""
    volume = torch.from_numpy(np.ascontiguousarray(label).astype(np.float32))[None, None]
    return F.interpolate(volume, size=tuple(shape), mode="nearest-exact")[0, 0].numpy().astype(np.int8)


def prepare(ref: CaseRef, plan: Plan) -> PreparedCase:
    """Read a case and bring it to the grid and the values that the network is trained on.

    Raises:
        InputError: It cannot be read, or its label holds values without a meaning.
    """
    raw = canonical(ref.read())
    image, spacing = prepare_image(raw, plan)
    label = None
    if raw.label is not None:
        label = plan.labels.encode(raw.label, where=ref.name)
        if label.shape != image.shape[1:]:
            label = resample_label(label, image.shape[1:])
    labelled = [raw.labelled is None or name in raw.labelled for name in plan.labels.names]
    return PreparedCase(ref.name, ref.patient, image, label, np.array(labelled), spacing)


def prepare_image(raw: RawCase, plan: Plan) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    """Network values of a case in canonical orientation, and their spacing."""
    a, b, c = np.linalg.norm(raw.affine[:3, :3], axis=0).tolist()
    spacing = (a, b, c)
    image = normalise(raw.image.astype(np.float32), plan.normalisation)
    shape = target_shape(image.shape[1:], spacing, plan.spacing)
    return (image, spacing) if shape is None else (resample(image, shape), plan.spacing)


def to_file_grid(
    probabilities: NDArray[np.float32], raw_shape: tuple[int, ...], affine: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Class probabilities from the grid of the plan back to the grid and axis order of the file.

    Args:
        probabilities: Shape ``(classes, D, H, W)`` in canonical orientation.
        raw_shape: Shape of the file ``(D, H, W)``.
        affine: Affine of the file.
    """
    import nibabel as nib

    order = nib.orientations.io_orientation(affine)
    shape = list(raw_shape)
    if not np.isnan(order).any():
        for axis, (to, _) in enumerate(order):
            shape[int(to)] = raw_shape[axis]
    if probabilities.shape[1:] != tuple(shape):
        probabilities = resample(probabilities, tuple(shape))
    return from_canonical(probabilities, affine)


def class_map(probabilities: NDArray[np.float32], threshold: float | None) -> NDArray[np.uint8]:
    """Class indices from probabilities.

    Args:
        probabilities: Shape ``(classes, D, H, W)``, background first, summing to one over classes.
        threshold: A voxel is foreground if ``1 - p(background)`` reaches it, and then belongs to the likeliest class;
            None takes the likeliest of all, background included.
    """
    chosen: NDArray[np.uint8]
    if threshold is None:
        chosen = np.argmax(probabilities, axis=0).astype(np.uint8)
    else:
        best = np.argmax(probabilities[1:], axis=0) + 1
        chosen = np.where(1 - probabilities[0] >= threshold, best, 0).astype(np.uint8)
    return chosen
