"""The normalisation check: which tissues survive the window, measured on real targets."""

from __future__ import annotations

import torch

from traindx.checks.base import CheckContext, check
from traindx.core.frames import defined_at
from traindx.evidence.normalisation import TissueWindow

SAMPLES = 512
"""Points at which a tissue's raw range is encoded: steps of a few HU for any tissue."""


@check(
    "window",
    "what the intensity window leaves of each tissue",
    needs=("normaliser.tissues", "target"),
    gives=(TissueWindow,),
)
def window(ctx: CheckContext) -> None:
    """Encode the raw range of every declared tissue, and the real voxels in it."""
    normaliser = ctx.case.normaliser
    assert normaliser is not None
    batch = ctx.batch()
    target = ctx.target(batch)
    with torch.no_grad():
        raw = (normaliser.raw(batch) if normaliser.raw is not None else normaliser.decode(target)).float()
        encoded = normaliser.encode(raw)
        span = float(encoded.max() - encoded.min())
        scale = torch.linspace(float(raw.min()), float(raw.max()), 8 * SAMPLES, device=raw.device)
        clip_low, clip_high = _clips(scale, normaliser.encode(scale))
        for tissue, (low, high) in normaliser.tissues.items():
            values = torch.linspace(low, high, SAMPLES, device=raw.device)
            codes = normaliser.encode(values)
            inside = (raw >= low) & (raw <= high)
            clipped = (raw <= clip_low) | (raw >= clip_high)
            ctx.record(
                TissueWindow(
                    where=defined_at(normaliser.encode),
                    tissue=tissue,
                    low=low,
                    high=high,
                    unit=normaliser.unit,
                    share_of_range=float(codes.max() - codes.min()) / span if span > 0 else 0.0,
                    constant_share=float((inside & clipped).sum() / inside.sum().clamp_min(1)),
                    volume_share=float(inside.float().mean()),
                    clip_low=clip_low,
                    clip_high=clip_high,
                )
            )


def _clips(scale: torch.Tensor, codes: torch.Tensor) -> tuple[float, float]:
    """Raw values below and above which the encoding is constant, over at least a hundredth of the raw range."""
    same_as_first = int((codes == codes[0]).int().cumprod(0).sum())
    same_as_last = int((codes.flip(0) == codes[-1]).int().cumprod(0).sum())
    least = len(scale) // 100
    low = float(scale[same_as_first - 1]) if same_as_first > least else float("-inf")
    high = float(scale[len(scale) - same_as_last]) if same_as_last > least else float("inf")
    return low, high
