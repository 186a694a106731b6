"""Checks of the radiograph physics: phantoms with exactly known line integrals through the case's own renderer."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from traindx.checks.base import CheckContext, check
from traindx.core.frames import defined_at
from traindx.evidence.projection import (
    PhantomResponse,
    ProjectionGradient,
    SampleCoupling,
    ViewAgreement,
    ViewDifference,
)

if TYPE_CHECKING:
    from traindx.case_parts import Projection
    from traindx.finding import Location

MU_PHANTOM = 0.005
"""Attenuation of the phantoms in 1/mm: a quarter of water's, so that doubling it stays within any sensible window."""


@check(
    "projection",
    "the renderer against phantoms of known attenuation",
    needs=("projection.render", "target"),
    gives=(PhantomResponse, ProjectionGradient, SampleCoupling, ViewAgreement, ViewDifference),
)
def projection(ctx: CheckContext) -> None:
    """Render cubes, air, an asymmetric body and the real targets, in every view."""
    part = ctx.case.projection
    assert part is not None
    where = defined_at(part.render)
    target = ctx.target(ctx.batch())
    with torch.random.fork_rng():
        torch.manual_seed(ctx.seed)
        for view in part.views:
            _phantoms(ctx, part, view, target, where)
            _coupling(ctx, part, view, target, where)
            _gradient(ctx, part, view, target, where)
        _view_differences(ctx, part, target, where)
        if part.observed is not None:
            _agreement(ctx, part, target, where)


def integral(part: Projection, volume: Tensor, view: str) -> Tensor:
    """Render a volume in network units and read the image as line integrals, as far as the case declares how."""
    image = part.render(volume, view)
    if part.output == "transmission":
        return -torch.log(image.clamp_min(torch.finfo(image.dtype).tiny))
    if part.output == "display" and part.to_line_integral is not None:
        return part.to_line_integral(image)
    return image


def _phantoms(ctx: CheckContext, part: Projection, view: str, like: Tensor, where: Location | None) -> None:
    if part.from_mu is None:
        return
    shape = tuple(like.shape[2:])
    axis = _viewing_axis(part, view, like)
    side = max(2, min(shape) // 4 // 2 * 2)
    with torch.no_grad():
        values = {
            name: _peak(part, view, _cube(like, sides, mu))
            for name, sides, mu in (
                ("empty", (0, 0, 0), 0.0),
                ("single", (side,) * 3, MU_PHANTOM),
                ("denser", (side,) * 3, 2 * MU_PHANTOM),
                ("thicker", tuple(2 * side if k == axis else side for k in range(3)), MU_PHANTOM),
            )
        }
    ctx.record(
        PhantomResponse(
            where=where,
            view=view,
            expected=MU_PHANTOM * side * part.spacing_mm[axis],
            physical=part.output != "display" or part.to_line_integral is not None,
            **values,
        )
    )


def _cube(like: Tensor, sides: tuple[int, ...], mu: float) -> Tensor:
    volume = torch.zeros_like(like[:1])
    if all(sides):
        core = volume
        for axis, (count, side) in enumerate(zip(like.shape[2:], sides, strict=True)):
            core = core.narrow(2 + axis, (count - side) // 2, side)
        core.fill_(mu)  # a view, so this fills the cube inside the volume
    return volume


def _peak(part: Projection, view: str, mu: Tensor) -> float:
    """The line integral through the centre: the mean of the four central pixels, which look through the cube's core."""
    assert part.from_mu is not None
    image = integral(part, part.from_mu(mu), view)[0, 0]
    rows, columns = image.shape
    return float(image[rows // 2 - 1 : rows // 2 + 1, columns // 2 - 1 : columns // 2 + 1].mean())


def _viewing_axis(part: Projection, view: str, like: Tensor) -> int:
    """The volume axis nearest to the viewing direction: a thin sheet across it shadows the most pixels.

    Sheets perpendicular to the viewing direction cover the whole image; the other two are seen edge-on.
    """
    assert part.from_mu is not None
    shares = []
    with torch.no_grad():
        air = integral(part, part.from_mu(torch.zeros_like(like[:1])), view)
        for axis in range(3):
            sheet = torch.zeros_like(like[:1])
            middle = like.shape[2 + axis] // 2
            sheet.narrow(2 + axis, middle - 1, 2).fill_(MU_PHANTOM)
            shadow = (integral(part, part.from_mu(sheet), view) - air).abs()
            shares.append(float((shadow > 0.2 * shadow.max().clamp_min(1e-12)).float().mean()))
    return max(range(3), key=shares.__getitem__)


def _coupling(ctx: CheckContext, part: Projection, view: str, target: Tensor, where: Location | None) -> None:
    with torch.no_grad():
        image = part.render(target[:1], view)
        if part.from_mu is not None:
            mu = _body(target[:1], 0.5 * MU_PHANTOM)
            base, doubled = part.render(part.from_mu(mu), view), part.render(part.from_mu(2 * mu), view)
        else:
            low = float(target.min())
            base, doubled = image, part.render(low + 0.5 * (target[:1] - low), view)
        pair = torch.cat((target[:1], target[:1]))
        brighter = torch.cat((target[:1], target[:1] + 0.5 * target[:1].std()))
        alone, beside = part.render(pair, view)[:1], part.render(brighter, view)[:1]
    ctx.record(
        SampleCoupling(
            where=where,
            view=view,
            scaled_change=_of_contrast(doubled, base),
            neighbour_change=_of_contrast(beside, alone),
            lowest=float(image.min()),
            highest=float(image.max()),
        )
    )


def _gradient(ctx: CheckContext, part: Projection, view: str, target: Tensor, where: Location | None) -> None:
    volume = target[:1].clone().requires_grad_(True)
    with torch.enable_grad():
        image = part.render(volume, view)
    if not image.requires_grad:
        ctx.record(ProjectionGradient(where=where, view=view, connected=False, share=0.0, finite=True))
        return
    weights = torch.linspace(0.5, 1.5, image.numel(), device=image.device, dtype=image.dtype).reshape(image.shape)
    gradient: Tensor | None = torch.autograd.grad((image * weights).sum(), volume, allow_unused=True)[0]
    if gradient is None:
        ctx.record(ProjectionGradient(where=where, view=view, connected=False, share=0.0, finite=True))
        return
    core = gradient
    for axis, count in enumerate(gradient.shape[2:]):
        core = core.narrow(2 + axis, count // 4, count - 2 * (count // 4))
    ctx.record(
        ProjectionGradient(
            where=where,
            view=view,
            connected=True,
            share=float((core != 0).float().mean()),
            finite=bool(torch.isfinite(gradient).all()),
        )
    )


def _view_differences(ctx: CheckContext, part: Projection, target: Tensor, where: Location | None) -> None:
    volume = _body(target[:1], MU_PHANTOM)
    volume = part.from_mu(volume) if part.from_mu is not None else volume / volume.max() * target.std() + target.mean()
    with torch.no_grad():
        images = {view: part.render(volume, view) for view in part.views}
    for first, second in itertools.combinations(part.views, 2):
        same_shape = images[first].shape == images[second].shape
        relative = _of_contrast(images[second], images[first]) if same_shape else 1.0
        ctx.record(ViewDifference(where=where, first=first, second=second, relative=relative))


def _agreement(ctx: CheckContext, part: Projection, target: Tensor, where: Location | None) -> None:
    assert part.observed is not None
    batch = ctx.batch()
    observed = {view: part.observed(batch, view).detach() for view in part.views}
    with torch.no_grad():
        rendered = {view: part.render(target, view) for view in part.views}
    for view in part.views:
        candidates = {"as it is": _correlation(rendered[view], observed[view])}
        for name, flip in _SYMMETRIES.items():
            candidates[name] = _correlation(flip(rendered[view]), observed[view])
        for other in part.views:
            if other != view:
                candidates[f"the {other} view"] = _correlation(rendered[other], observed[view])
        best = max(candidates, key=candidates.__getitem__)
        ctx.record(
            ViewAgreement(
                where=where,
                view=view,
                correlation=candidates["as it is"],
                best=best,
                best_correlation=candidates[best],
            )
        )


_SYMMETRIES: dict[str, Callable[[Tensor], Tensor]] = {
    "flipped left-right": lambda image: image.flip(-1),
    "flipped up-down": lambda image: image.flip(-2),
    "turned by 180 degrees": lambda image: image.flip(-1, -2),
    "transposed": lambda image: image.transpose(-1, -2),
    "turned by 90 degrees": lambda image: image.transpose(-1, -2).flip(-1),
    "turned by 270 degrees": lambda image: image.transpose(-1, -2).flip(-2),
}


def _body(like: Tensor, mu: float) -> Tensor:
    """An asymmetric phantom: an ellipsoid with three different axes and a denser ball off its centre."""
    axes = [torch.linspace(-1, 1, n, device=like.device, dtype=like.dtype) for n in like.shape[2:]]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    ellipsoid = ((z / 0.8) ** 2 + (y / 0.4) ** 2 + (x / 0.6) ** 2 < 1).to(like)
    ball = ((z - 0.3) ** 2 + (y + 0.15) ** 2 + (x - 0.25) ** 2 < 0.04).to(like)
    return (mu * (ellipsoid + ball))[None, None]


def _of_contrast(changed: Tensor, base: Tensor) -> float:
    """Mean absolute change relative to the contrast of the image, so that a constant offset hides nothing."""
    contrast = float(base.std())
    change = float((changed - base).abs().mean())
    return change / contrast if contrast > 0 else float(change > 0)


def _correlation(a: Tensor, b: Tensor) -> float:
    """Absolute Pearson correlation: an inverted grey scale is no matter of axes."""
    if a.shape != b.shape:
        return 0.0
    a, b = a.flatten(1).double(), b.flatten(1).double()
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    scale = (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-12)
    return float(((a * b).sum(1) / scale).abs().mean())
