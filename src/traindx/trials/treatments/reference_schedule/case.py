r"""``reference-schedule``: the noise schedule recomputed from its betas and rescaled to zero terminal SNR.

The schedule lives in tables that the user's code made from one another. They are recognised by their values: every
tensor of T elements that equals a known function of :math:`\bar\alpha` is overwritten by the same function of the
reference while the case is in use, and put back afterwards.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from traindx.trials.treatment import RANK_SCHEDULE, Tally, Treatment, TreatmentUnfitError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from traindx.case import Case


def reference_schedule(parameters: Mapping[str, Any], case: Case) -> Treatment:
    r"""Recompute :math:`\bar\alpha` as the product of :math:`1-\beta` and rescale it to zero terminal SNR.

    A network that predicts noise cannot be sampled from zero SNR (x0 would be divided by 0), so for ``epsilon`` only
    the product is recomputed.

    Args:
        parameters: None.
        case: The case to be treated.

    Raises:
        TreatmentUnfitError: The case has no diffusion part.
    """
    from traindx.trials.network_calls import needs_diffusion

    needs_diffusion(case, "reference-schedule")
    tally = Tally()
    return Treatment(
        "reference-schedule",
        "alpha bar recomputed and rescaled to zero terminal SNR",
        frozenset({"training", "sampling"}),
        lambda before: _apply(before, tally),
        rank=RANK_SCHEDULE,
        tally=tally,
    )


def zero_terminal_snr(alphas_cumprod: Tensor) -> Tensor:
    r"""Shift and scale :math:`\sqrt{\bar\alpha}` so that it ends at 0 and begins where it began.

    Lin et al. 2024, *Common Diffusion Noise Schedules and Sample Steps are Flawed*, algorithm 1.
    """
    root = alphas_cumprod.double().sqrt()
    first, last = root[0].clone(), root[-1].clone()
    return ((root - last) * first / (first - last)).square().to(alphas_cumprod.dtype)


def reference_of(alphas_cumprod: Tensor, betas: Tensor | None, prediction: str) -> Tensor:
    """The reference table for a schedule."""
    import torch

    table = alphas_cumprod
    if betas is not None:
        table = torch.cumprod(1 - betas.double(), dim=0).to(alphas_cumprod.dtype)
    return table if prediction == "epsilon" else zero_terminal_snr(table)


def _apply(before: Case, tally: Tally) -> Case:
    import torch

    from traindx.trials.network_calls import needs_diffusion

    diffusion = needs_diffusion(before, "reference-schedule")
    old = diffusion.alphas_cumprod.detach().clone()
    new = reference_of(old, diffusion.betas, diffusion.prediction)
    sampled = diffusion.sampling_alphas_cumprod
    tables = [old] if sampled is None else [old, sampled.detach().clone()]
    if all(torch.equal(table, new) for table in tables):
        raise TreatmentUnfitError("the noise schedule is the reference already", expected="a schedule that differs")

    @contextmanager
    def patch() -> Iterator[None]:
        saved = rewrite_live_tables(tables, new)
        tally.hits += len(saved)
        try:
            yield
        finally:
            for tensor, values in reversed(saved):
                tensor.data.copy_(values)

    def model() -> nn.Module:
        made = before.model()  # a model may compute tables of its own when it is built
        for tensor in made.buffers():
            tally.hits += rewrite(tensor, tables, new) is not None
        return made

    changes: dict[str, Any] = {"diffusion__alphas_cumprod": new, "model": model}
    if sampled is not None:
        changes["diffusion__sampling_alphas_cumprod"] = new
    if diffusion.betas is not None:
        changes["diffusion__betas"] = DERIVED["beta"](new)
    return before.replace(contexts=(*before.contexts, patch), **changes)


def _alpha(bar: Tensor) -> Tensor:
    import torch

    previous = torch.cat([torch.ones_like(bar[:1]), bar[:-1]])
    return bar / previous.clamp_min(1e-12)


def _previous(bar: Tensor) -> Tensor:
    import torch

    return torch.cat([torch.ones_like(bar[:1]), bar[:-1]])


def _posterior_variance(bar: Tensor) -> Tensor:
    """Ho et al. 2020, equation 7."""
    return (1 - _alpha(bar)) * (1 - _previous(bar)) / (1 - bar).clamp_min(1e-12)


# What implementations keep beside alpha bar. Quotients that are infinite at zero SNR are bounded, as division is.
DERIVED: Mapping[str, Callable[[Tensor], Tensor]] = {
    "alpha bar": lambda bar: bar,
    "sqrt alpha bar": lambda bar: bar.sqrt(),
    "sqrt one minus alpha bar": lambda bar: (1 - bar).sqrt(),
    "one minus alpha bar": lambda bar: 1 - bar,
    "alpha": _alpha,
    "beta": lambda bar: 1 - _alpha(bar),
    "sqrt alpha": lambda bar: _alpha(bar).sqrt(),
    "sqrt one over alpha": lambda bar: 1 / _alpha(bar).clamp_min(1e-12).sqrt(),
    "previous alpha bar": _previous,
    "sqrt one over alpha bar": lambda bar: 1 / bar.clamp_min(1e-8).sqrt(),
    "sqrt one over alpha bar minus one": lambda bar: (1 / bar.clamp_min(1e-8) - 1).sqrt(),
    "log one minus alpha bar": lambda bar: (1 - bar).clamp_min(1e-20).log(),
    "signal to noise": lambda bar: bar / (1 - bar).clamp_min(1e-12),
    "posterior variance": _posterior_variance,
}


def rewrite(tensor: Tensor, tables: list[Tensor], new: Tensor) -> Tensor | None:
    """Overwrite one tensor if it is a known function of one of the tables; returns its old values if so."""
    import torch

    if tensor.numel() != new.numel() or not tensor.is_floating_point() or tensor.requires_grad:
        return None
    values = tensor.detach().double().flatten().cpu()
    for table in tables:
        for function in DERIVED.values():
            expected = function(table.detach().double().cpu())
            # float32 tables are products of up to 1000 factors: relative round-off stays below 1e-4
            if torch.allclose(values, expected, rtol=1e-4, atol=1e-7):
                saved = tensor.detach().clone()
                tensor.data.copy_(function(new.double().cpu()).to(tensor).reshape(tensor.shape))
                return saved
    return None


def rewrite_live_tables(tables: list[Tensor], new: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Overwrite every live tensor of T elements that is a known function of the schedule.

    Returns:
        The tensors that were overwritten, with their old values.
    """
    import torch

    own = {id(new), *map(id, tables)}
    saved: list[tuple[Tensor, Tensor]] = []
    storages: set[int] = set()
    for thing in gc.get_objects():
        if type(thing) is not torch.Tensor or id(thing) in own or thing.numel() != new.numel():
            continue
        if thing.layout is not torch.strided or thing.is_meta or thing.untyped_storage().data_ptr() in storages:
            continue
        values = rewrite(thing, tables, new)
        if values is not None:
            storages.add(thing.untyped_storage().data_ptr())
            saved.append((thing, values))
    if not saved:
        raise TreatmentUnfitError(
            "no table of the noise schedule was found in memory", expected="a live tensor that equals alphas_cumprod"
        )
    return saved
