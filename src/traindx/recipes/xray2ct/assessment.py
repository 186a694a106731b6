"""What a reconstruction is worth: figures of merit for each patient, intervals over patients, and a table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from traindx.recipes.kit.estimate import Score, Table
from traindx.recipes.xray2ct.data import Data
from traindx.recipes.xray2ct.geometry import VIEWS
from traindx.recipes.xray2ct.metrics import DATA_RANGE_HU, evaluated, psnr_hu, ssim_hu
from traindx.recipes.xray2ct.radiograph import from_network, line_integral, mu_from_hu

TISSUES_HU = {
    "air": (-np.inf, -950.0),
    "lung": (-950.0, -400.0),
    "soft": (-150.0, 200.0),
    "bone": (200.0, np.inf),
}
"""HU of the truth that an error counts for; see :data:`traindx.recipes.xray2ct.hounsfield.TISSUES`. Between lung and
fat lie only voxels that are partly air."""

BANDS = (0.0, 0.125, 0.25, 0.5, 1.0)
"""Edges of the bands of spatial frequency, as shares of the Nyquist frequency along an axis."""

PUBLISHED = (
    "Published, on other patients and by another protocol, so not to be compared digit by digit: LIDC-IDRI chest CT, "
    "128³, two rendered radiographs, 916 patients to train on and 102 to test, PSNR averaged over slices: "
    "X2CT-CNN 27.29 dB, SSIM 0.721; X2CT-GAN 26.19 dB, SSIM 0.656 (Ying et al. 2019, CVPR, table 1)."
)
"""Averaging over slices gives about 4 dB more than one error over the volume; compare it with ``slice psnr``."""

_FLOOR = 1e-10  # of the squared data range: 100 dB

Predict = Callable[[dict[str, Any]], Tensor]


def figures(prediction: Tensor, truth: Tensor, radiographs: Mapping[str, Tensor], data: Data) -> dict[str, float]:
    """All figures of one volume.

    Args:
        prediction: HU, shape ``(1, 1, D, H, W)``.
        truth: The same.
        radiographs: The given ones in network values, each ``(1, 1, h, w)``.
        data: Knows the geometry.

    Returns:
        By name: ``psnr`` over the volume, ``slice psnr`` (mean over axial slices, each with its own error: about 4 dB
        higher, and what papers mostly print), ``ssim``, ``mae <tissue>`` in HU, ``radiographs`` (root mean square
        difference of line integrals, dimensionless), and ``energy <band>`` (energy of the prediction over that of the
        truth; below 1 it is blurred).
    """
    truth, prediction = evaluated(truth), evaluated(prediction)
    found = {
        "psnr": float(psnr_hu(prediction, truth)),
        "slice psnr": slice_psnr(prediction, truth),
        "ssim": float(ssim_hu(prediction, truth)),
    }
    error = (prediction - truth).abs()
    for tissue, (low, high) in TISSUES_HU.items():
        inside = (truth >= low) & (truth < high)
        found[f"mae {tissue}"] = float(error[inside].mean()) if inside.any() else float("nan")
    if prediction.shape[2:] == data.geometry.shape:
        away = [
            line_integral(mu_from_hu(prediction), view, data.geometry) - from_network(radiographs[view])
            for view in VIEWS
        ]
        found["radiographs"] = float(torch.stack(away).square().mean().sqrt())
    for name, (said, wanted) in zip(band_names(), zip(energies(prediction), energies(truth), strict=True), strict=True):
        found[f"energy {name}"] = said / wanted if wanted > 0 else float("nan")
    return found


def slice_psnr(prediction: Tensor, truth: Tensor) -> float:
    """Mean of the PSNR of axial slices, data range 2000 HU, of volumes ``(1, 1, D, H, W)``; at most 100 dB a slice."""
    squared = (evaluated(prediction) - evaluated(truth)).double().square().mean(dim=(0, 1, 3, 4))
    return float((10 * torch.log10(DATA_RANGE_HU**2 / squared.clamp_min(_FLOOR * DATA_RANGE_HU**2))).mean())


def energies(volume: Tensor) -> list[float]:
    """Energy of a volume ``(1, 1, D, H, W)`` around its mean in each band of :data:`BANDS`."""
    spectrum = torch.fft.fftn((volume - volume.mean()).double(), dim=(2, 3, 4), norm="ortho").abs().square()[0, 0]
    axes = [torch.fft.fftfreq(count).double().abs() * 2 for count in volume.shape[2:]]
    frequency = torch.stack(torch.meshgrid(*axes, indexing="ij")).amax(dim=0)
    return [float(spectrum[(frequency > low) & (frequency <= high)].sum()) for low, high in pairwise(BANDS)]


def band_names() -> list[str]:
    """Names of the bands, such as ``0.25-0.5``."""
    return [f"{low:g}-{high:g}" for low, high in pairwise(BANDS)]


def assess(data: Data, predict: Predict, keep: int = 0) -> tuple[dict[str, Score], list[Tensor]]:
    """All figures of a predictor from batches to HU on the validation patients.

    Args:
        data: The patients.
        predict: ``batch -> HU``, ``(B, 1, D, H, W)``.
        keep: Return this many predictions for pictures.
    """
    rows: list[dict[str, float]] = []
    kept: list[Tensor] = []
    for batch in data.val_batches():
        said = predict(batch).float().cpu()
        for index in range(len(said)):
            one = slice(index, index + 1)
            images = {view: batch[view][one] for view in VIEWS}
            rows.append(figures(said[one], batch["hu"][one], images, data))
            if len(kept) < keep:
                kept.append(said[index, 0])
    return {name: Score(tuple(row[name] for row in rows)) for name in rows[0]}, kept


def trivial(data: Data, views: Sequence[str] = VIEWS) -> dict[str, Predict]:
    """Predictors that know nothing: the mean training volume, and the training volume with the nearest radiographs."""
    known = evaluated(data.train.patients.hu)
    mean = known.mean(dim=0, keepdim=True)

    def nearest(batch: dict[str, Any]) -> Tensor:
        parts = [torch.cdist(batch[v].flatten(1), data.train.radiographs[v].flatten(1)).square() for v in views]
        return known[torch.stack(parts).sum(dim=0).argmin(dim=1)]

    return {"mean volume": lambda batch: mean.expand_as(batch["hu"]), "nearest radiographs": nearest}


def text(table: Table, patients: int) -> str:
    """The table as text: every figure with its 95 % bootstrap interval, then the differences that matter."""
    names = list(table)
    lines = [f"{patients} patients, data range 2000 HU, mean [95 % bootstrap interval over patients]"]
    width = max(len(name) for name in names) + 2
    for title, keys in _GROUPS.items():
        shown = [key for key in keys if any(key in row for row in table.values())]
        if not shown:
            continue
        lines += ["", title, " " * width + "".join(f"{key:>26}" for key in shown)]
        for name in names:
            cells = "".join(f"{_cell(table[name].get(key)):>26}" for key in shown)
            lines.append(f"{name:{width}}{cells}")
    return "\n".join(lines)


_GROUPS = {
    "PSNR in dB (over the volume; mean over axial slices, as most papers print it), SSIM": (
        "psnr",
        "slice psnr",
        "ssim",
    ),
    "Mean absolute error in HU by tissue of the truth": tuple(f"mae {tissue}" for tissue in TISSUES_HU),
    "Difference of the prediction's radiographs from the given ones (line integrals, RMS)": ("radiographs",),
    "Energy over that of the truth by spatial frequency (share of Nyquist)": tuple(f"energy {b}" for b in band_names()),
}


def _cell(score: Score | None) -> str:
    if score is None:
        return "-"
    return score.estimate().text(2 if abs(score.mean) >= 2 else 3)
