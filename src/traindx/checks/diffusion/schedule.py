"""The noise schedule by itself: is ᾱ the product of α, does it fall, where does it start and end?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from traindx.checks.base import CheckContext, check
from traindx.errors import CaseError
from traindx.evidence.sampling import ScheduleTable

if TYPE_CHECKING:
    from torch import Tensor

TITLE = "the noise schedule"


@check("schedule", TITLE, needs=("diffusion",), gives=(ScheduleTable,))
def schedule(ctx: CheckContext) -> None:
    """Measure the table of the case.

    Raises:
        CaseError: A table has another shape than ``(T,)``.
    """
    diffusion = ctx.case.diffusion
    assert diffusion is not None
    table = _table(diffusion.alphas_cumprod, "alphas_cumprod")
    falls = table.diff()
    product, product_at = float("nan"), -1
    if diffusion.betas is not None:
        product, product_at = _product_error(table, diffusion.betas.detach().cpu())
    other, other_at = float("nan"), -1
    if diffusion.sampling_alphas_cumprod is not None:
        second = _table(diffusion.sampling_alphas_cumprod, "sampling_alphas_cumprod")
        if len(second) != len(table):
            raise CaseError(
                f"sampling_alphas_cumprod has {len(second)} timesteps and alphas_cumprod {len(table)}",
                expected="one table for each training timestep",
            )
        off = (second.clamp_min(0).sqrt() - table.clamp_min(0).sqrt()).abs()
        other, other_at = float(off.max()), int(off.argmax())
    ctx.record(
        ScheduleTable(
            timesteps=len(table),
            alpha_bar_first=float(table[0]),
            alpha_bar_last=float(table[-1]),
            lowest=float(table.min()),
            highest=float(table.max()),
            finite=bool(table.isfinite().all()),
            rises=int((falls > 0).sum()),
            largest_rise=float(falls.max().clamp_min(0)) if len(falls) else 0.0,
            stalls=int((falls == 0).sum()),
            product_error=product,
            product_error_at=product_at,
            sampling_error=other,
            sampling_error_at=other_at,
            prediction=diffusion.prediction,
            starts_from_noise=diffusion.starts_from_noise,
        )
    )


def _table(values: Tensor, name: str) -> Tensor:
    if values.ndim != 1 or len(values) == 0:
        raise CaseError(f"{name} has shape {tuple(values.shape)}", expected="shape (T,), index 0 = least noise")
    return values.detach().double().cpu()


def _product_error(table: Tensor, betas: Tensor) -> tuple[float, int]:
    """Largest ``|ᾱ - Π(1-β)|``, with the product taken as exactly as possible and as the betas' own type would."""
    if betas.shape != table.shape:
        raise CaseError(
            f"betas have shape {tuple(betas.shape)} and alphas_cumprod {tuple(table.shape)}", expected="the same shape"
        )
    exactly = (table - (1 - betas.double()).cumprod(0)).abs()
    natively = (table - (1 - betas).cumprod(0).double()).abs()
    error = exactly if float(exactly.max()) <= float(natively.max()) else natively
    return float(error.max()), int(error.argmax())
