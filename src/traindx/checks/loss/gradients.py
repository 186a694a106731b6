"""Does every parameter get a gradient, and does every loss term give one?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.probing import awake_model, modest_batch
from traindx.core.frames import defined_at
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.evidence.loss import TermGradient
from traindx.evidence.model import SilentParameters
from traindx.finding import Location

if TYPE_CHECKING:
    from torch import Tensor, nn

RUNS = 2
MORE_RUNS = 4  # while something is silent: dropped conditions and skipped layers get another chance
NUDGE = 0.1  # relative change of parameters that asks whether they matter


@check(
    "gradients",
    "does every parameter get a gradient, and does every loss term give one",
    needs=("loss",),
    gives=(SilentParameters, TermGradient),
)
def gradients(ctx: CheckContext) -> None:
    """Differentiate each term on a model with reinitialised gates, in training mode; look at what stays silent."""
    model = awake_model(ctx)
    with in_mode(model, training=True), _unchanged(model):
        study = _Study(ctx, model)
        study.run(RUNS)
        if study.silent():
            study.run(MORE_RUNS)
        for term in study.terms():
            ctx.record(term)
        for part in study.silent_modules():
            ctx.record(part)


class _Study:
    """Gradients of every term, summed over runs."""

    def __init__(self, ctx: CheckContext, model: nn.Module) -> None:
        self.ctx, self.model = ctx, model
        self.parameters = dict(model.named_parameters())
        self.trained = {name: p for name, p in self.parameters.items() if p.requires_grad}
        self.alive: set[str] = set()
        self.norms: dict[str, list[float]] = {}
        self.values: dict[str, list[float]] = {}
        self.connected: dict[str, bool] = {}
        self.ran: set[str] = set()
        self.seeds: list[int] = []

    def run(self, count: int) -> None:
        """Some more losses, each with another seed, over the first batches in turn."""
        for _ in range(count):
            seed = self.ctx.seed + len(self.seeds)
            batch = modest_batch(self.ctx, len(self.seeds))
            self.seeds.append(seed)
            with undisturbed(seed), torch.enable_grad(), _noting(self.model, self.ran):
                terms = self.ctx.case.loss_terms(self.model, batch)
            for name, value in terms.items():
                self._differentiate(name, value)

    def _differentiate(self, name: str, value: Tensor) -> None:
        self.values.setdefault(name, []).append(float(value.detach()))
        self.connected.setdefault(name, False)
        if not value.requires_grad or not self.trained:
            return
        found: tuple[Tensor | None, ...] = torch.autograd.grad(
            value, list(self.trained.values()), retain_graph=True, allow_unused=True
        )
        total = 0.0
        for parameter, gradient in zip(self.trained, found, strict=True):
            if gradient is None:
                continue
            self.connected[name] = True
            size = float(gradient.detach().double().square().sum())
            total += size
            if size > 0:
                self.alive.add(parameter)
        self.norms.setdefault(name, []).append(total**0.5)

    def silent(self) -> list[str]:
        """Parameters without any gradient so far."""
        return [name for name in self.trained if name not in self.alive]

    def terms(self) -> Iterator[TermGradient]:
        """One record a term."""
        means = {name: sum(self.norms.get(name, [0.0])) / max(1, len(self.norms.get(name, []))) for name in self.values}
        total = sum(means.values())
        with _nudged(self.parameters.values()):
            nudged = self._losses()
        plain = self._losses()
        for name, values in self.values.items():
            moved = abs(nudged.get(name, 0.0) - plain.get(name, 0.0)) > 1e-7 * max(1e-12, abs(plain.get(name, 0.0)))
            yield TermGradient(
                where=defined_at(self.ctx.case.loss),
                term=name,
                value=sum(values) / len(values),
                differentiable=self.connected[name],
                norm=means[name] if self.connected[name] else float("nan"),
                share=means[name] / total if total > 0 else 0.0,
                moves=moved,
            )

    def silent_modules(self) -> Iterator[SilentParameters]:
        """The largest modules in which nothing gets a gradient, or everything is frozen."""
        total = sum(parameter.numel() for parameter in self.parameters.values())
        frozen = [name for name, parameter in self.parameters.items() if not parameter.requires_grad]
        groups = [(name, False) for name in _largest(self.model, self.silent())]
        groups += [(name, True) for name in _largest(self.model, frozen)]
        if not groups:
            return
        drawn = self._drawn_at_random()
        modules = dict(self.model.named_modules())
        plain = self._losses()
        for name, is_frozen in groups:
            inside = {key: p for key, p in self.parameters.items() if _is_inside(key, name)}
            with _nudged(inside.values()):
                matters = self._losses() != plain
            leaves = {key for key, module in modules.items() if _is_inside(key, name)}
            yield SilentParameters(
                where=_defined(modules, name),
                module=name,
                parameters=sum(parameter.numel() for parameter in inside.values()),
                total=total,
                ran=bool(leaves & self.ran),
                matters=matters,
                random=any(key in drawn for key in inside),
                frozen=is_frozen,
                duplicate=all(self._is_a_copy(key, parameter) for key, parameter in inside.items()),
            )

    def _losses(self) -> dict[str, float]:
        with undisturbed(self.ctx.seed), torch.no_grad():
            terms = self.ctx.case.loss_terms(self.model, modest_batch(self.ctx))
        return {name: float(value) for name, value in terms.items()}

    def _drawn_at_random(self) -> set[str]:
        """Parameters that differ between two models built from different seeds."""
        one = self.ctx.fresh_model()
        with undisturbed(self.ctx.seed + 1):
            two = self.ctx.case.model()
        others = dict(two.named_parameters())
        return {
            name
            for name, parameter in one.named_parameters()
            if name in others and not torch.equal(parameter.detach().cpu(), others[name].detach().cpu())
        }

    def _is_a_copy(self, name: str, parameter: Tensor) -> bool:
        return any(
            other is not parameter and other.shape == parameter.shape and torch.equal(other, parameter)
            for key, other in self.trained.items()
            if key != name
        )


def _largest(model: nn.Module, names: list[str]) -> list[str]:
    """Paths of the largest modules all of whose parameters are among those named."""
    wanted = set(names)
    found: list[str] = []
    for path, module in model.named_modules():
        inside = [f"{path}.{name}" if path else name for name, _ in module.named_parameters()]
        if inside and wanted.issuperset(inside) and not any(_is_inside(path, known) for known in found):
            found.append(path)
    return found


def _defined(modules: Mapping[str, nn.Module], path: str) -> Location | None:
    """Definition of the module's class, or of the nearest class of the user's that holds it."""
    while True:
        found = defined_at(type(modules[path]))
        if found is not None or not path:
            return found
        path = path.rpartition(".")[0]


def _is_inside(path: str, module: str) -> bool:
    return not module or path == module or path.startswith(module + ".")


@contextmanager
def _noting(model: nn.Module, ran: set[str]) -> Iterator[None]:
    """Add the paths of all modules that are called."""

    def note(path: str) -> Any:
        return lambda *_: ran.add(path)

    handles = [module.register_forward_hook(note(path)) for path, module in model.named_modules() if path]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _nudged(parameters: Any) -> Iterator[None]:
    """Parameters changed by a tenth of their size for a while."""
    kept = [(parameter, parameter.detach().clone()) for parameter in parameters]
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter, value in kept:
            noise = torch.randn(value.shape, generator=generator).to(value)
            parameter.add_(NUDGE * (value.abs().mean() + 1e-3) * noise)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in kept:
                parameter.copy_(value)


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Give buffers (running statistics) back as they were."""
    kept: Mapping[str, Tensor] = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in kept and kept[name].shape == buffer.shape:
                    buffer.copy_(kept[name])
