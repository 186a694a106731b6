"""Is a frozen part still? Some losses in training mode, and what changed in modules that no gradient reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from traindx.checks.base import CheckContext, check
from traindx.checks.probing import modest_batch
from traindx.core.frames import defined_at
from traindx.core.undisturbed import undisturbed
from traindx.evidence.model import FrozenPart

if TYPE_CHECKING:
    from torch import Tensor, nn

LOSSES = 2


@check("frozen-parts", "whether frozen parts stay what they are", needs=("loss",), gives=(FrozenPart,))
def frozen_parts(ctx: CheckContext) -> None:
    """Compute losses on a fresh model as training does, and compare the buffers of every frozen part."""
    import torch

    with undisturbed(ctx.seed):
        model = ctx.fresh_model()
        model.train()
    parts = frozen_modules(model)
    if not parts:
        return
    before = {name: {key: value.clone() for key, value in part.named_buffers()} for name, part in parts.items()}
    for number in range(LOSSES):
        batch = modest_batch(ctx, number)
        with undisturbed(ctx.seed + number), torch.enable_grad():
            ctx.case.loss_terms(model, batch)
    for name, part in parts.items():
        now = dict(part.named_buffers())
        moved = (key for key, value in before[name].items() if key in now and not _same(value, now[key]))
        ctx.record(
            FrozenPart(
                where=defined_at(type(part)),
                module=name,
                parameters=sum(weight.numel() for weight in part.parameters()),
                moved=tuple(sorted(key for key in moved if before[name][key].is_floating_point())),
                random=tuple(key for key, module in part.named_modules() if _draws(module)),
                losses=LOSSES,
            )
        )


def frozen_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The largest modules all of whose parameters are frozen, in a model that has others that learn."""
    if not any(weight.requires_grad for weight in model.parameters()):
        return {}
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        weights = list(module.parameters())
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if weights and not inside and not any(weight.requires_grad for weight in weights):
            found[name] = module
    return found


def _same(one: Tensor, other: Tensor) -> bool:
    import torch

    return one.shape == other.shape and torch.equal(one, other)


def _draws(module: nn.Module) -> bool:
    """True for dropout that is on."""
    from torch.nn.modules.dropout import _DropoutNd

    return isinstance(module, _DropoutNd) and module.training and module.p > 0
