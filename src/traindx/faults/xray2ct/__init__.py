"""Faults of the X-ray-to-CT diffusion model (postmortems/xray-to-ct-diffusion.md), one file a group."""

from __future__ import annotations

from traindx.faults.base import Fault

FAULTS: tuple[Fault, ...] = ()
