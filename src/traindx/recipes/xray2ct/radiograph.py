r"""Radiographs of volumes: Beer-Lambert line integrals by nanodrr, differentiable with respect to the volume.

A detector pixel sees :math:`I = I_0 \exp(-\int \mu\,dl)`. What is rendered, stored and compared is the line integral
:math:`-\log(I/I_0) = \int \mu\,dl`, dimensionless; the network is given an affine map of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from traindx.recipes.xray2ct.geometry import ConeGeometry

MU_WATER_PER_MM = 0.02059
"""Linear attenuation of water at 60 keV: mass attenuation 0.2059 cm^2/g (NIST XCOM, table of liquid water), 1 g/cm^3.

60 keV is near the mean energy of a filtered chest spectrum of 120 kV."""

DISPLAY_CENTRE = 2.0
DISPLAY_WIDTH = 2.0
"""The network sees ``(line integral - 2) / 2``: 2 is a typical line integral through a chest of 25 cm that is half lung
(0.0206 / mm * 250 mm * 0.4), so lungs, mediastinum and air differ by about one unit each. Fixed for all patients."""


def mu_from_hu(hu: Tensor) -> Tensor:
    r"""Linear attenuation in 1/mm from Hounsfield units by their definition, :math:`\mu_w (1 + HU/1000)`, never < 0."""
    return (MU_WATER_PER_MM * (1 + hu / 1000)).clamp_min(0)


def hu_from_mu(mu: Tensor) -> Tensor:
    """The inverse of :func:`mu_from_hu` for non-negative attenuation."""
    return (mu / MU_WATER_PER_MM - 1) * 1000


def line_integral(mu: Tensor, view: str, geometry: ConeGeometry) -> Tensor:
    """Render the line integrals of attenuation along the rays of a view.

    Args:
        mu: Linear attenuation in 1/mm, shape ``(B, 1, D, H, W)``.
        view: ``frontal`` or ``lateral``.
        geometry: Where source, volume and detector are.

    Returns:
        Dimensionless line integrals, shape ``(B, 1, rows, columns)``.
    """
    from nanodrr.camera import make_k_inv
    from nanodrr.data import Subject
    from nanodrr.drr import render

    rows, columns = geometry.pixels
    height, width = geometry.pixel_mm
    sd, sh, sw = geometry.spacing_mm
    d, h, w = geometry.shape
    world_from_voxel = torch.diag(torch.tensor([sw, sh, sd, 1.0]))
    world_from_voxel[:3, 3] = -torch.tensor([(w - 1) * sw, (h - 1) * sh, (d - 1) * sd]) / 2
    size = torch.tensor([w, h, d], dtype=torch.float32)
    grid_from_voxel = torch.diag(torch.cat((2 / size, torch.ones(1))))
    grid_from_voxel[:3, 3] = 1 / size - 1  # grid_sample's cube, align_corners=False
    like = mu.float()
    subject = Subject(
        like,
        torch.zeros(1, 1, 1, 1, 1, device=mu.device),
        world_from_voxel.to(like),
        torch.linalg.inv(world_from_voxel).to(like),
        grid_from_voxel.to(like),
        torch.zeros(3).to(like),
        max_label=0,
        convert_to_mu=False,
    )
    distance = geometry.source_to_detector_mm
    image: Tensor = render(
        subject,
        make_k_inv(distance, width, height, 0.0, 0.0, rows, columns).to(like),
        geometry.world_from_camera(view, like).expand(len(mu), 4, 4),
        torch.tensor([distance]).to(like),
        rows,
        columns,
        n_samples=2 * max(geometry.shape),  # two samples a voxel: the trapezoid of a trilinear volume is exact to 1e-3
    )
    return image


def to_network(integral: Tensor) -> Tensor:
    """Line integrals to the values that the network sees; one affine map for all patients and views."""
    return (integral - DISPLAY_CENTRE) / DISPLAY_WIDTH


def from_network(image: Tensor) -> Tensor:
    """The inverse of :func:`to_network`."""
    return image * DISPLAY_WIDTH + DISPLAY_CENTRE
