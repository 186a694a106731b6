"""Does the output depend on the model at all? Every network on the prediction path is made to say noise.

What is the same for every draw of noise was not said by a network: a mask after a second activation, the part of a
volume that no sliding window visits, a constant that stands in for a result.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.stand_ins import is_binary
from traindx.core.frames import defined_at
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.evidence import NotExamined
from traindx.evidence.deployment import ModelSwap

if TYPE_CHECKING:
    from torch import Tensor, nn

DRAWS = 6  # a mask of two classes is the same by chance in 2^-5 of the voxels
NOISE = 4.0  # standard deviation: as large as the logits of a trained network
SUBJECT = "whether the output depends on the model"


@check("model-swap", "does the output depend on the model", needs=("predict", "target"), gives=(ModelSwap,))
def model_swap(ctx: CheckContext) -> None:
    """Predict one validation batch several times while the networks say noise, then once more from noisy images."""
    if ctx.case.diffusion is not None:
        return  # a sampling loop is examined with exact denoisers
    batch = ctx.batch("val")
    model = ctx.fresh_model()
    calls: list[int] = []
    outputs = [_predict(ctx, model, batch, seed, calls) for seed in range(DRAWS)]
    if not calls:
        ctx.record(NotExamined(subject=SUBJECT, reason="the prediction calls no module of the model"))
        return
    if any(one.shape != outputs[0].shape for one in outputs):
        ctx.record(NotExamined(subject=SUBJECT, reason="the shape of the prediction depends on the network's output"))
        return
    stacked = torch.stack(outputs)
    same = _same(stacked)
    masks = _masks(stacked, ctx.target(batch).cpu())
    planes: tuple[tuple[int, int], ...] = ()
    value = float("nan")
    if stacked.ndim >= 5 and 0 < float(same.double().mean()) < 1:
        dead = same & _same(torch.stack([_predict(ctx, model, _noisy(batch), seed, calls) for seed in range(DRAWS)]))
        planes = _planes(dead)
        if any(map(any, planes)):
            value = float(stacked[0][dead].median())
    ctx.record(
        ModelSwap(
            where=defined_at(ctx.case.predict),
            draws=DRAWS,
            same=float(same.double().mean()),
            same_mask=float((masks == masks[0]).all(dim=0).double().mean()) if masks is not None else float("nan"),
            low=float(stacked.min()),
            high=float(stacked.max()),
            planes=planes,
            shape=tuple(stacked.shape[3:]) if stacked.ndim >= 5 else (),
            value=value,
        )
    )


def _predict(ctx: CheckContext, model: nn.Module, batch: Any, seed: int, calls: list[int]) -> Tensor:
    with in_mode(model, training=False), undisturbed(ctx.seed), torch.no_grad(), _noise(model, seed, calls):
        return ctx.case.prediction(model, batch).detach().cpu().double()


@contextmanager
def _noise(model: nn.Module, seed: int, calls: list[int]) -> Iterator[None]:
    """Replace the output of every outermost call of a module of the model by noise."""
    own = {id(module) for module in model.modules()}
    depth = [0]
    generator = torch.Generator().manual_seed(seed)

    def noise(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            drawn = NOISE * torch.randn(value.shape, generator=generator)
            return drawn.to(value) if value.is_floating_point() else value
        if isinstance(value, dict):
            return {key: noise(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            parts = [noise(item) for item in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        return value

    def enter(module: nn.Module, _arguments: Any) -> None:
        depth[0] += id(module) in own

    def leave(module: nn.Module, _arguments: Any, output: Any) -> Any:
        if id(module) not in own:
            return None
        depth[0] -= 1
        if depth[0]:
            return None
        calls.append(1)
        return noise(output)

    handles = [
        torch.nn.modules.module.register_module_forward_pre_hook(enter),
        torch.nn.modules.module.register_module_forward_hook(leave, always_call=False),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _same(stacked: Tensor) -> Tensor:
    """True where an element hardly differs between draws; shape of one prediction."""
    spread = stacked.amax(dim=0) - stacked.amin(dim=0)
    scale = float(stacked.max() - stacked.min())
    return spread <= 1e-6 * scale


def _masks(stacked: Tensor, target: Tensor) -> Tensor | None:
    """Class or thresholded value of each voxel, by draw; None where the target is no mask."""
    if target.is_floating_point() and not is_binary(target):
        return None
    if stacked.ndim >= 3 and stacked.shape[2] > 1 and (stacked.shape[1:] != target.shape or _one_hot(target)):
        return stacked.argmax(dim=2)
    return stacked >= 0.5


def _one_hot(target: Tensor) -> bool:
    return target.ndim > 1 and target.shape[1] > 1 and bool((target.sum(dim=1) <= 1).all())


def _noisy(batch: Any) -> Any:
    """The batch with noise in every floating-point image: what is derived from the image moves, too."""
    if isinstance(batch, torch.Tensor) and batch.is_floating_point() and batch.ndim >= 3:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(batch.shape, generator=generator).to(batch)
    if isinstance(batch, dict):
        return {key: _noisy(value) for key, value in batch.items()}
    if isinstance(batch, list | tuple) and not hasattr(batch, "_fields"):
        return type(batch)(_noisy(value) for value in batch)
    return batch


def _planes(dead: Tensor) -> tuple[tuple[int, int], ...]:
    """Whole planes at the start and the end of each spatial axis of ``(B, C, ...)`` in which nothing arrives."""
    whole = dead.all(dim=0).all(dim=0)
    found: list[tuple[int, int]] = []
    for axis in range(whole.ndim):
        others = [other for other in range(whole.ndim) if other != axis]
        lines = whole
        for other in sorted(others, reverse=True):
            lines = lines.all(dim=other)
        flags = lines.tolist()
        start = next((i for i, flag in enumerate(flags) if not flag), len(flags))
        end = next((i for i, flag in enumerate(reversed(flags)) if not flag), len(flags))
        found.append((start, end))
    return tuple(found)
