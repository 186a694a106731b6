"""M215 for tensors with a gradient that are plain attributes."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import PlainTensorSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "M215",
    "tensor-outside-the-state",
    Severity.MAJOR,
    needs=(PlainTensorSeen,),
    thing="networks of modules",
    with_gradient=Threshold(2, "looks at which it had a gradient that is not zero"),
    steps_apart=Threshold(3, "iterations between the first and the last look; an activation is another tensor by then"),
)
def plain_tensor_with_gradient(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A tensor with a gradient is a plain attribute of a module, and no optimiser has it.

    `nn.Parameter(torch.ones(1, 3)).squeeze(0)` is no parameter any more, nor is one that was moved by `.to(device)`,
    and `torch.zeros(3, requires_grad=True)` never was one: `parameters()` does not return it, so it keeps its first
    value, and no state holds it. `demonstrated` where it is the same tensor with the same values over `steps_apart`
    iterations, and the loss gave it, or the parameter that it was computed from, a gradient at `with_gradient` looks.
    Tensors that an optimiser was given by hand, or that the script itself changes, are left alone.
    """
    for one in evidence.of(PlainTensorSeen):
        if not one.owner or one.changed or one.gradients < limits.with_gradient or one.iterations < limits.steps_apart:
            continue
        if one.in_optimizer and not one.computed:
            continue
        what = (
            "was computed once from a parameter and is none itself"
            if one.computed
            else "takes gradients and is no nn.Parameter"
        )
        yield Found(
            variant="plain-tensor",
            message=f"self.{one.name} of {one.owner} {what}: parameters() does not return it, no step changes it, and "
            f"the state_dict does not hold it. It had a gradient at {one.gradients} looks and kept its values.",
            standing=Standing.DEMONSTRATED,
            location=one.where,
            numbers={"looks_with_gradient": one.gradients, "iterations": one.iterations},
            remedy="Make the nn.Parameter last: nn.Parameter(torch.ones(1, 3).squeeze(0)).",
        )
