"""Predictions of known quality in the place of the network: perfect, nearly so, another sample's, blank, inverted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.probing import modest_batch, network_of
from traindx.core.batches import tensors_in
from traindx.core.calls import recorded_outputs
from traindx.core.parameterisation import from_x0
from traindx.core.undisturbed import undisturbed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from traindx.case import Case
    from traindx.checks.base import CheckContext

LOGITS = (8.0, 2.0)  # sigmoid gives 0.9997 and 0.88: as certain as a network gets, and as soft labels ask for
NEAR = 0.05  # of the targets' spread

ANSWERS = ("perfect", "near", "shuffled", "blank", "inverted")


@dataclass
class StandIns:
    """Targets of known quality, and how they are made into outputs of the network.

    Attributes:
        targets: Tensors like the target, by name (see :data:`ANSWERS`).
        encodings: ``{name: (target, call arguments) -> output}``; more than one where it is not known what the
            network's output means.
        shape: Shape of the network's output.
    """

    case: Case
    model: nn.Module
    batch: Any
    targets: dict[str, Tensor]
    encodings: dict[str, Callable[[Tensor, tuple[Any, ...], dict[str, Any]], Tensor]]
    template: Any

    @contextmanager
    def answering(
        self,
        answer: str,
        encoding: str,
        change: Tensor | None = None,
        told: Callable[[Tensor], None] | None = None,
    ) -> Iterator[list[Tensor]]:
        """Let the network answer with a stand-in; yields the tensors it said, which carry a gradient.

        Args:
            answer: One of :data:`ANSWERS`.
            encoding: One of :attr:`encodings`.
            change: Added to the answer.
            told: Called with each answer before the loss sees it.
        """
        network = network_of(self.case, self.model)
        said: list[Tensor] = []
        encode = self.encodings[encoding]

        def forward(*args: Any, **kwargs: Any) -> Any:
            output = encode(self.targets[answer], args, kwargs).detach()
            if change is not None:
                output = output + change
            output.requires_grad_()
            said.append(output)
            if told is not None:
                told(output)
            return _like(self.template, output)

        before = vars(network).get("forward")
        vars(network)["forward"] = forward
        try:
            yield said
        finally:
            if before is None:
                del vars(network)["forward"]
            else:
                vars(network)["forward"] = before

    def losses(self, answer: str, encoding: str, seed: int = 0, change: Tensor | None = None) -> dict[str, Tensor]:
        """The loss terms for an answer; the same seed draws the same noise and time."""
        with self.answering(answer, encoding, change), undisturbed(seed), torch.enable_grad():
            return self.case.loss_terms(self.model, self.batch)

    def prediction(self, answer: str, encoding: str) -> Tensor | None:
        """What ``predict`` makes of an answer; None for diffusion and where there is no such path."""
        if self.case.predict is None or self.case.diffusion is not None:
            return None
        with self.answering(answer, encoding), undisturbed(0), torch.no_grad():
            return self.case.predict(self.model, self.batch).detach()

    def add_deployed(self) -> None:
        """Add the encoding that inverts the deployment path, where that is a scale and a shift of the output.

        So for residual learning (image minus output) and for networks that speak in standardised units.
        """
        target = self.targets["perfect"]
        if "identity" not in self.encodings or not target.is_floating_point():
            return
        self.encodings["zero"] = lambda y, a, k: torch.zeros_like(y)
        self.encodings["one"] = lambda y, a, k: torch.ones_like(y)
        at_zero, at_one = self.prediction("perfect", "zero"), self.prediction("perfect", "one")
        del self.encodings["zero"], self.encodings["one"]
        if at_zero is None or at_one is None or not at_zero.shape == at_one.shape == target.shape:
            return
        slope = at_one - at_zero
        plain = torch.equal(at_zero, torch.zeros_like(at_zero)) and torch.equal(slope, torch.ones_like(slope))
        if not plain and float(slope.abs().min()) > 1e-6:
            self.encodings["deployed"] = lambda y, a, k: (y - at_zero) / slope


def stand_ins(ctx: CheckContext, model: nn.Module) -> StandIns | None:
    """Stand-ins for a case, or None where the network's output cannot be made from the target.

    The network must return one tensor (or several of one shape) and be called while the loss is computed.
    """
    case = ctx.case
    batch = modest_batch(ctx)
    target = ctx.target(batch)
    if bool((target == target.flatten()[0]).all()):
        return None  # one value everywhere: there is nothing to prefer
    with undisturbed(ctx.seed), torch.no_grad(), recorded_outputs(network_of(case, model)) as recorded:
        case.loss_terms(model, batch)
    outputs = tensors_in(recorded)
    if not outputs or len({output.shape for output in outputs}) != 1:
        return None
    encodings = _encodings(case, outputs[0], target)
    if not encodings:
        return None
    found = StandIns(case, model, batch, answers_for(target, ctx.seed), encodings, recorded[0])
    found.add_deployed()
    return found


def answers_for(target: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """Targets of known quality, by name (see :data:`ANSWERS`), of the target's shape and type.

    Of classes and masks, 2 % are flipped for the nearly perfect answer and all for the inverted one.
    """
    other = target.roll(1, 0) if len(target) > 1 else None
    if other is None or torch.equal(other, target):
        axes = tuple(range(1, target.ndim))
        halves = tuple(max(1, target.shape[axis] // 2) for axis in axes)
        other = target.roll(halves, axes) if axes else target
    if not target.is_floating_point() or is_binary(target):
        top = int(target.max()) if target.numel() else 1
        generator = torch.Generator().manual_seed(seed)
        flips = (torch.rand(target.shape, generator=generator) < 0.02).to(target.device)
        flipped = (top - target).to(target.dtype)
        values = sorted({int(value) for value in target.flatten().tolist()})
        commonest = max(values, key=lambda value: int((target == value).sum()))
        blank = torch.full_like(target, commonest)
        near = torch.where(flips, flipped, target)
        return {"perfect": target, "near": near, "shuffled": other, "blank": blank, "inverted": flipped}
    mean = target.mean()
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(target.shape, generator=generator).to(target)
    return {
        "perfect": target,
        "near": target + NEAR * target.std() * noise,
        "shuffled": other,
        "blank": mean.expand_as(target).clone(),
        "inverted": 2 * mean - target,
    }


def is_binary(target: Tensor) -> bool:
    """True if a target holds nothing but zeros and ones, and both."""
    return bool(((target == 0) | (target == 1)).all()) and float(target.max()) != float(target.min())


def _encodings(
    case: Case, output: Tensor, target: Tensor
) -> dict[str, Callable[[Tensor, tuple[Any, ...], dict[str, Any]], Tensor]]:
    if case.diffusion is not None:
        return _diffusion_encodings(case, output, target)
    found: dict[str, Callable[[Tensor, tuple[Any, ...], dict[str, Any]], Tensor]] = {}
    if output.shape == target.shape:
        found["identity"] = lambda y, a, k: y.to(output.dtype)
        if is_binary(target):
            for size in LOGITS:
                found[f"logits of {size:g}"] = partial(_logits, size=size, dtype=output.dtype)
    elif not target.is_floating_point() and output.ndim >= 2:
        classes = output.shape[1]
        squeezed = target.squeeze(1) if target.ndim == output.ndim and target.shape[1] == 1 else target
        if squeezed.shape == (output.shape[0], *output.shape[2:]) and classes > 1 and int(target.max()) < classes:

            def one_hot(y: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], size: float = 1.0) -> Tensor:
                y = y.squeeze(1) if y.ndim == output.ndim else y
                hot = torch.nn.functional.one_hot(y.long().clamp(0, classes - 1), classes).movedim(-1, 1)
                return size * (2 * hot.to(output.dtype) - 1)

            for size in LOGITS:
                found[f"one-hot logits of {size:g}"] = partial(one_hot, size=size)
    return found


def _logits(y: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], *, size: float, dtype: torch.dtype) -> Tensor:
    return size * (2 * y.to(dtype) - 1)


def _diffusion_encodings(
    case: Case, output: Tensor, target: Tensor
) -> dict[str, Callable[[Tensor, tuple[Any, ...], dict[str, Any]], Tensor]]:
    """x0 as a v, epsilon or x0 output, for the x_t of the call, whose level is found by maximum likelihood."""
    assert case.diffusion is not None
    if output.shape != target.shape or not target.is_floating_point():
        return {}
    diffusion = case.diffusion
    alphas = diffusion.alphas_cumprod.detach().to(target)

    def levels(x_t: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, *[1] * (target.ndim - 1))
        flat_x, flat_0 = x_t.detach().flatten(1), target.flatten(1)
        a = alphas.sqrt()[:, None]
        rest = (flat_x**2).mean(1) - 2 * a * (flat_x * flat_0).mean(1) + a**2 * (flat_0**2).mean(1)
        variance = (1 - alphas).clamp_min(1e-8)[:, None]
        best = (rest / (2 * variance) + 0.5 * variance.log()).argmin(0)
        return alphas[best].sqrt().view(shape), (1 - alphas[best]).clamp_min(1e-8).sqrt().view(shape)

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        if diffusion.read_call is not None:
            return diffusion.read_call(args, kwargs)[0]
        return next(t for t in tensors_in([args, kwargs]) if t.shape == target.shape)

    def encoded(y: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], kind: str) -> Tensor:
        x_t = read(args, kwargs)
        return from_x0(y, x_t, *levels(x_t), kind)

    return {
        **{kind: partial(encoded, kind=kind) for kind in ("v", "epsilon")},
        "sample": lambda y, a, k: y,
    }


def _like(template: Any, value: Tensor) -> Any:
    """The value in the structure that the network returns."""
    if isinstance(template, torch.Tensor):
        return value
    if isinstance(template, Mapping):
        parts_by_key = {key: _like(item, value) for key, item in template.items()}
        return parts_by_key if type(template) is dict else type(template)(**parts_by_key)  # e.g. an output dataclass
    if isinstance(template, list | tuple):
        parts = [_like(item, value) for item in template]
        return type(template)(*parts) if hasattr(template, "_fields") else type(template)(parts)
    return template
