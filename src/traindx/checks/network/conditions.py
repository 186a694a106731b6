"""Is every input used? Swap, flip, move and blank one input at a time and see whether the output follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.probing import NetworkProbe, awake_model, network_of, network_probe, other_awake_model
from traindx.core.batches import flat, part_of, with_part
from traindx.core.frames import defined_at
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.evidence.model import InputEffect
from traindx.finding import Location

if TYPE_CHECKING:
    from torch import Tensor, nn

NOISY = 0.1  # alpha bar of the timestep: where x_t says little, the conditions must say the rest
VIEWS = range(2, 5)  # sizes of an axis that may hold views
LOOK_CLOSER = 0.3  # a flip that does less than this share of what another sample does calls for a closer look


@check("input-effects", "does the output follow every input, view and time", needs=(), gives=(InputEffect,))
def input_effects(ctx: CheckContext) -> None:
    """Effects of every input on a fresh model with reinitialised gates."""
    _measure(ctx, awake_model(ctx), trained=False)


@check(
    "trained-input-effects",
    "does the trained model follow every input, view and time",
    needs=(),
    phase="after",
    gives=(InputEffect,),
)
def trained_input_effects(ctx: CheckContext) -> None:
    """The same for the trained model."""
    assert ctx.trained is not None
    with in_mode(ctx.trained, training=False):
        _measure(ctx, ctx.trained, trained=True)


@dataclass
class _Bench:
    """The base call and everything that is compared with it."""

    probe: NetworkProbe
    model: nn.Module
    trained: bool
    x_t: Tensor | None
    t: Tensor | None
    base: Tensor
    spread: float
    noise: float
    spatial_target: tuple[int, ...]
    reference: float = float("nan")
    learned: float = float("nan")

    def outputs(self, **changes: Any) -> list[Tensor]:
        """The outputs with some parts replaced."""
        return self.probe.outputs(**{"model": self.model, "x_t": self.x_t, "t": self.t, **changes})

    def effect(self, **changes: Any) -> float:
        """Root mean square change of the output over its own spread."""
        output = flat(self.outputs(**changes))
        if output.shape != self.base.shape:
            return float("inf")
        return float((output - self.base).square().mean().sqrt()) / self.spread

    def record(self, source: str, change: str, effect: float, value: Any = None, differs: bool = True) -> InputEffect:
        """The record of one change."""
        shape = tuple(value.shape[2:]) if isinstance(value, torch.Tensor) and value.ndim >= 4 else ()
        return InputEffect(
            where=forward_of(type(network_of(self.probe.case, self.model))),
            source=source,
            change=change,
            effect=effect,
            reference=self.reference,
            learned=self.learned,
            noise=self.noise,
            spatial=bool(shape),
            registered=bool(shape) and shape == self.spatial_target,
            trained=self.trained,
            differs=differs,
        )


def _measure(ctx: CheckContext, model: nn.Module, *, trained: bool) -> None:
    bench = _bench(ctx, model, trained)
    probe = bench.probe
    bench.reference = _main_effect(ctx, bench)
    bench.learned = bench.effect(model=other_awake_model(ctx))
    main = "x_t" if bench.x_t is not None else "all inputs"
    if bench.reference == bench.reference:  # NaN where there is no other sample
        ctx.record(bench.record(main, "other sample", bench.reference))
    if bench.t is not None:
        assert ctx.case.diffusion is not None
        last = len(ctx.case.diffusion.alphas_cumprod) - 1
        early = torch.full_like(bench.t, last // 10)
        ctx.record(bench.record("time", "other time", bench.effect(t=early)))
    for key in ctx.case.conditions:
        value = part_of(probe.batch, key)
        if isinstance(value, torch.Tensor):
            for record in _of_condition(bench, key, value):
                ctx.record(record)
    for record in _of_swaps(bench, ctx.case.conditions):
        ctx.record(record)


def _bench(ctx: CheckContext, model: nn.Module, trained: bool) -> _Bench:
    probe = network_probe(ctx)
    x_t = t = None
    if probe.x_t is not None and probe.noise is not None:
        assert ctx.case.diffusion is not None
        alphas = ctx.case.diffusion.alphas_cumprod.detach().to(probe.x_t)
        step = int((alphas - NOISY).abs().argmin())
        x0 = ctx.target(probe.batch)
        x_t = alphas[step].sqrt() * x0 + (1 - alphas[step]).sqrt() * probe.noise
        t = torch.full((len(x0),), step, dtype=torch.long, device=x0.device)
    base = flat(probe.outputs(model, x_t=x_t, t=t))
    again = flat(probe.outputs(model, x_t=x_t, t=t, seed=1))
    spread = max(float(base.std()), 1e-3 * float(base.square().mean().sqrt()), 1e-12)
    noise = float((again - base).square().mean().sqrt()) / spread if again.shape == base.shape else 0.0
    spatial = tuple(ctx.target(probe.batch).shape[2:]) if ctx.case.target is not None else ()
    return _Bench(probe, model, trained, x_t, t, base, spread, noise, spatial)


def _main_effect(ctx: CheckContext, bench: _Bench) -> float:
    """Effect of another sample's x_t with other noise; without diffusion, of another sample altogether."""
    other = bench.probe.other
    if bench.x_t is None:
        return bench.effect(batch=other) if other is not None else float("nan")
    with undisturbed(ctx.seed + 1):
        noise = torch.randn_like(bench.x_t)
    assert ctx.case.diffusion is not None
    assert bench.t is not None
    alpha = ctx.case.diffusion.alphas_cumprod.detach().to(bench.x_t)[int(bench.t[0])]
    x0 = ctx.target(other if other is not None else bench.probe.batch)
    if x0.shape != bench.x_t.shape:
        x0 = ctx.target(bench.probe.batch)
    return bench.effect(x_t=alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise)


def _of_condition(bench: _Bench, key: str, value: Tensor) -> Iterator[InputEffect]:
    """Another sample's (zero where there is none); flipped; and if that does little, a spot that is moved."""
    other = part_of(bench.probe.other, key) if bench.probe.other is not None else None
    usable = isinstance(other, torch.Tensor) and other.shape == value.shape and not torch.equal(other, value)
    name, replacement = ("other sample", other) if usable and other is not None else ("zero", torch.zeros_like(value))

    def changed(name: str, to: Tensor) -> InputEffect:
        batch = with_part(bench.probe.batch, key, to)
        return bench.record(key, name, bench.effect(batch=batch), value, differs=not torch.equal(to, value))

    whole = changed(name, replacement)
    yield whole
    if value.ndim < 4 or len(bench.spatial_target) < 2 or whole.effect <= bench.noise:
        return
    flipped = changed("flip", value.flip(-1))
    yield flipped
    if flipped.effect < LOOK_CLOSER * whole.effect:
        plain = torch.full_like(value, float(value.mean()))
        pictures = (plain, plain + spot(value, 1), plain + spot(value, 3))
        empty, here, there = (flat(bench.outputs(batch=with_part(bench.probe.batch, key, to))) for to in pictures)
        for name, difference in (("spot", here - empty), ("spot moved", there - here)):
            yield bench.record(key, name, float(difference.square().mean().sqrt()) / bench.spread, value)


def spot(like: Tensor, quarters: int) -> Tensor:
    """A soft bright spot of two standard deviations, a quarter (1) or three quarters (3) along every spatial axis.

    Away from the edges and on positions that common strides divide, so that a network which pools the image to a vector
    answers exactly alike wherever the spot is.
    """
    shape = torch.ones(())
    for size in like.shape[2:]:
        axis = torch.exp(-0.5 * ((torch.arange(size) - size * quarters // 4) / max(1.0, size / 16)) ** 2)
        shape = shape[..., None] * axis
    return 2 * like.std() * shape.to(like)


def _of_swaps(bench: _Bench, keys: tuple[str, ...]) -> Iterator[InputEffect]:
    """Two inputs of the same shape exchanged; and two views exchanged that are stacked in one tensor."""
    batch = bench.probe.batch
    tensors = {key: part_of(batch, key) for key in keys}
    tensors = {key: value for key, value in tensors.items() if isinstance(value, torch.Tensor) and value.ndim >= 3}
    for first, second in combinations(tensors, 2):
        a, b = tensors[first], tensors[second]
        if a.shape == b.shape:
            swapped = with_part(with_part(batch, first, b), second, a)
            effect = bench.effect(batch=swapped)
            yield bench.record(f"{first} <-> {second}", "swap", effect, a, differs=not torch.equal(a, b))
    for key, value in tensors.items():
        if value.ndim >= 5 and value.shape[1] in VIEWS:
            turned = value.roll(1, 1)
            effect = bench.effect(batch=with_part(batch, key, turned))
            yield bench.record(
                f"{key}: its {value.shape[1]} views", "swap", effect, value, not torch.equal(turned, value)
            )


def forward_of(kind: type) -> Location | None:
    """The line of a class's own ``forward``, or of the class where it inherits one: what is special is in the class."""
    return defined_at(vars(kind).get("forward", kind))
