"""P601 to P606 end to end: somebody's renderer, through the check, to the rules.

The healthy reference is a closed form: parallel rays along an axis, whose line integral is the sum of attenuation times
the voxel size. A cone-beam renderer of another library must be silent too.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import traindx as dx
from traindx import rules
from traindx.checks.base import CheckContext
from traindx.checks.projection.phantoms import projection
from traindx.evidence import Evidence
from traindx.evidence.projection import PhantomResponse

SPACING = (3.0, 2.0, 2.5)
AXES = {"frontal": 3, "lateral": 4}
MU_WATER = 0.0206


def to_mu(volume):
    """Network units to attenuation: [-1, 1] is [-1000, 1000] HU."""
    return (MU_WATER * (1 + volume)).clamp_min(0)


def from_mu(mu):
    return mu / MU_WATER - 1


def parallel(volume, view):
    axis = AXES[view]
    return to_mu(volume).sum(axis) * SPACING[axis - 2]


def non_attenuating(volume, view):
    return torch.exp(-to_mu(volume)).sum(AXES[view])


def per_sample(volume, view):
    image = parallel(volume, view)
    low, high = image.amin((-2, -1), keepdim=True), image.amax((-2, -1), keepdim=True)
    return (image - low) / (high - low + 1e-8)


def per_batch(volume, view):
    image = parallel(volume, view)
    return image / (image.max() + 1e-8)


def one_angle(volume, view):
    return parallel(volume, "frontal")


def in_cm(volume, view):
    return parallel(volume, view) / 10


def without_spacing(volume, view):
    return to_mu(volume).sum(AXES[view])


def cut_off(volume, view):
    return parallel(volume.detach(), view)


def mirrored(volume, view):
    return parallel(volume, view).flip(-1)


def transmission(volume, view):
    return torch.exp(-parallel(volume, view))


def scaled_for_display(volume, view):
    return (parallel(volume, view) - 2) / 2


def patients(size=(20, 24, 28)):
    generator = torch.Generator().manual_seed(0)
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in size), indexing="ij")
    volumes = []
    for _ in range(2):
        shift = 0.2 * torch.rand(3, generator=generator)
        body = ((z / 0.9) ** 2 + (y / 0.5) ** 2 + (x / 0.8) ** 2 < 1).float() - 1
        heart = ((z - shift[0]) ** 2 + (y + 0.1) ** 2 + (x - 0.3 - shift[1]) ** 2 < 0.05).float()
        volumes.append((body + 0.5 * heart)[None])
    return torch.stack(volumes)


def diagnose(render, **changes):
    volume = patients()
    batch = {"ct": volume, **{view: parallel(volume, view) for view in AXES}}
    part = dx.Projection(
        **{
            "render": render,
            "views": tuple(AXES),
            "spacing_mm": SPACING,
            "from_mu": from_mu,
            "observed": lambda batch, view: batch[view],
            "geometry": "parallel",
            **changes,
        }
    )
    case = dx.Case(model=nn.Identity, train=[batch], target=lambda batch: batch["ct"], parts=(part,))
    evidence = Evidence()
    projection.function(CheckContext(case, evidence))
    found = [
        finding for code, rule in rules.catalogue().items() if code.startswith("P") for finding in rule.check(evidence)
    ]
    return found, evidence


@pytest.mark.parametrize(
    ("render", "code", "symbol"),
    [
        (non_attenuating, "P601", "non_attenuating"),
        (per_sample, "P602", "per_sample"),
        (per_batch, "P602", "per_batch"),
        (one_angle, "P603", "one_angle"),
        (mirrored, "P604", "mirrored"),
        (cut_off, "P605", "cut_off"),
        (in_cm, "P606", "in_cm"),
        (without_spacing, "P606", "without_spacing"),
    ],
)
def test_each_fault_is_found_by_its_own_rule_and_by_no_other(render, code, symbol):
    found, _ = diagnose(render)
    assert {finding.code for finding in found} == {code}, found
    assert all(finding.standing == "demonstrated" for finding in found)
    assert found[0].location.symbol == symbol
    assert found[0].location.file.endswith("test_projection_rules.py")


def test_healthy_parallel_renderer_is_silent_and_measured_exactly():
    found, evidence = diagnose(parallel)
    assert found == []
    for response in evidence.of(PhantomResponse):
        assert response.single == pytest.approx(response.expected, rel=1e-5)
        assert response.empty == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("render", "changes"),
    [
        (transmission, {"output": "transmission", "observed": None}),
        (
            scaled_for_display,
            {"output": "display", "to_line_integral": lambda image: 2 * image + 2, "observed": None},
        ),
        (scaled_for_display, {"output": "display", "to_line_integral": lambda image: 2 * image + 2}),
    ],
    ids=["declared transmission", "fixed affine display", "affine display against raw integrals"],
)
def test_near_misses_are_silent(render, changes):
    found, _ = diagnose(render, **changes)
    assert found == []


def test_a_cone_beam_renderer_of_another_library_is_silent():
    from traindx.recipes.xray2ct.geometry import ConeGeometry
    from traindx.recipes.xray2ct.radiograph import line_integral

    geometry = ConeGeometry((20, 24, 28), SPACING, (32, 32))

    def cone(volume, view):
        return line_integral(to_mu(volume), view, geometry)

    found, evidence = diagnose(cone, geometry="cone", observed=None)
    assert found == []
    for response in evidence.of(PhantomResponse):
        assert response.single == pytest.approx(response.expected, rel=0.05)


def test_factor_of_ten_is_named():
    found, _ = diagnose(in_cm)
    assert "mm" in found[0].message
    assert found[0].numbers["factor"] == pytest.approx(0.1, rel=1e-3)


def test_without_from_mu_only_what_needs_no_unit_is_judged():
    found, evidence = diagnose(per_sample, from_mu=None)
    assert [finding.code for finding in found] == ["P602"]
    assert evidence.of(PhantomResponse) == []


def test_a_radiograph_that_fits_nothing_is_only_suspected():
    noise = torch.Generator().manual_seed(1)
    volume = patients()
    images = {view: torch.randn(parallel(volume, view).shape, generator=noise) for view in AXES}
    found, _ = diagnose(parallel, observed=lambda batch, view: images[view])
    assert all(finding.standing == "suspected" for finding in found)
