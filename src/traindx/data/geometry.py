"""Where the voxels are: spacing, orientation codes and affines, all in DICOM patient coordinates (L, P, S positive).

NIfTI uses R, A, S positive (NIfTI-1 header, ``qform`` and ``sform``); its affines are turned here, so that one code
means one thing for every format.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_POSITIVE = "LPS"
_NEGATIVE = "RAI"


def orientation_code(directions: NDArray[np.float64]) -> tuple[str, float]:
    """Letters of the array axes and how far they are tilted against the patient's axes.

    Args:
        directions: (3, 3), column i is the direction in LPS of array axis i (any length).

    Returns:
        For example ``("LPS", 0.0)``, and the largest angle in degrees between an axis and its letter. A tilt that
        leaves the letters ambiguous gives the nearest ones; a singular matrix gives an empty code.
    """
    lengths = np.linalg.norm(directions, axis=0)
    if not np.all(np.isfinite(lengths)) or np.any(lengths < 1e-9):
        return "", math.nan
    unit = directions / lengths
    code, tilt, taken = ["", "", ""], 0.0, set()
    for axis in np.argsort(-np.abs(unit).max(axis=0)):
        choices = [index for index in np.argsort(-np.abs(unit[:, axis])) if int(index) not in taken]
        letter = int(choices[0])
        taken.add(letter)
        value = float(unit[letter, axis])
        code[int(axis)] = _POSITIVE[letter] if value > 0 else _NEGATIVE[letter]
        tilt = max(tilt, math.degrees(math.acos(min(1.0, abs(value)))))
    return "".join(code), tilt


def voxel_sizes(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Edge lengths in mm of an affine (3, 4) or (4, 4)."""
    first, second, third = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)
    return float(first), float(second), float(third)


def nifti_to_lps(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """NIfTI affine (4, 4, RAS mm) to (3, 4) LPS mm."""
    return np.asarray(np.diag([-1.0, -1.0, 1.0]) @ np.asarray(affine, np.float64)[:3])


def pack(affine: NDArray[np.float64]) -> bytes:
    """Twelve little-endian float64."""
    return np.ascontiguousarray(affine[:3, :4], dtype="<f8").tobytes()


def unpack(data: bytes) -> NDArray[np.float64]:
    """The affine (3, 4) that :func:`pack` packed."""
    return np.frombuffer(data, "<f8").reshape(3, 4).astype(np.float64)


def corner_distance(first: NDArray[np.float64], second: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Largest distance in mm between the places that two affines give the corners of one array."""
    corners = np.array(
        [[i, j, k, 1.0] for i in (0, shape[0] - 1) for j in (0, shape[1] - 1) for k in (0, shape[2] - 1)]
    )
    difference = corners @ (first - second).T
    return float(np.linalg.norm(difference, axis=1).max())


def slice_normal(orientation: tuple[float, ...]) -> NDArray[np.float64]:
    """Unit normal of a DICOM image plane: row direction cross column direction (PS3.3 C.7.6.2.1.1)."""
    rows = np.asarray(orientation[:3], np.float64)
    columns = np.asarray(orientation[3:6], np.float64)
    normal = np.cross(rows, columns)
    length = float(np.linalg.norm(normal))
    return normal / length if length > 1e-6 else np.zeros(3)
