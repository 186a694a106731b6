"""What every case on these data is made of: target, metric in HU, and radiographs as line integrals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

import traindx as dx
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
from traindx.recipes.xray2ct.metrics import psnr_hu
from traindx.recipes.xray2ct.radiograph import from_network, hu_from_mu

NEGLIGIBLE_DB = 0.15
"""Differences below this are of no importance: two trainings that differ in nothing but the seed differ by more."""


def psnr_metric(window: HounsfieldWindow) -> dx.Metric:
    """PSNR in HU of volumes in network values."""

    def psnr(prediction: Tensor, target: Tensor) -> Tensor:
        return psnr_hu(window.decode(prediction), window.decode(target))

    return dx.Metric(psnr, unit="dB", negligible=NEGLIGIBLE_DB, raw=psnr_hu)


def target_of(batch: Mapping[str, Any]) -> Tensor:
    """Volumes in network values."""
    ct: Tensor = batch["ct"]
    return ct


def observed(batch: Mapping[str, Any], view: str) -> Tensor:
    """The given radiograph as line integrals."""
    return from_network(batch[view])


def volume_of_mu(window: HounsfieldWindow, mu: Tensor) -> Tensor:
    """Attenuation to network values without clipping, so that phantoms reach a renderer as they are."""
    hu = hu_from_mu(mu)
    return (hu - window.low) / (window.high - window.low) * 2 - 1
