"""What one wants to hear of while a fusion trains: ranges and figures of every epoch, and a flag where one goes wrong.

The thresholds are those of the post-mortem's own list, where it has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from traindx.recipes.kit.red_flags import RedFlags, not_finite

RANGE_FACTOR = 4.0
"""Widest over narrowest range of the two conditions; z-scored beside [-1, 1] has about 3."""

_SHOWN = ("loss_epoch", "val_fusion_score", "val_psnr", "val_brain_ssim", "val_bone_ssim", "val_bone_psnr", "val_Qabf")
_BOUND_SHARE = 0.02
_PATIENCE = 1


def ranges(named: Mapping[str, Tensor]) -> dict[str, tuple[float, float, float]]:
    """Minimum, maximum and standard deviation of every tensor."""
    return {
        name: (float(values.min()), float(values.max()), float(values.float().std())) for name, values in named.items()
    }


def judge(figures: Mapping[str, float], seen: Mapping[str, tuple[float, float, float]], epoch: int) -> list[str]:
    """Flags for the figures and ranges of one validation.

    Args:
        figures: ``val_*`` and losses.
        seen: Ranges of ``ct``, ``mr``, ``target`` and ``fused``, as :func:`ranges` gives them.
        epoch: Flags about quality are raised from the second epoch on: every run starts badly.
    """
    found = not_finite(figures)
    spans = {name: seen[name][1] - seen[name][0] for name in ("ct", "mr") if name in seen}
    if len(spans) == 2 and min(spans.values()) > 0 and max(spans.values()) / min(spans.values()) > RANGE_FACTOR:
        found.append(f"CT spans {spans['ct']:.2f} and MR {spans['mr']:.2f}: one condition is far weaker")
    if "fused" in seen and seen["fused"][2] < 0.1 * seen["target"][2]:
        found.append(
            f"fused images vary by {seen['fused'][2]:.4f}, targets by {seen['target'][2]:.4f}: constant output"
        )
    if figures.get("val_share_at_bounds", 0.0) > _BOUND_SHARE:
        found.append(f"{100 * figures['val_share_at_bounds']:.0f} % of tissue sits exactly on a bound: a clamp")
    if figures.get("val_uncertainty", 1.0) == 0.0:
        found.append("repeated samples are identical: the uncertainty is exactly 0")
    if epoch < _PATIENCE:
        return found
    if figures.get("val_bone_psnr", math.inf) < 5:
        found.append(f"bone PSNR is {figures['val_bone_psnr']:.1f} dB: CT is not used")
    if figures.get("val_brain_ssim", math.inf) < 0.05:
        found.append(f"SSIM to MR in soft tissue is {figures['val_brain_ssim']:.3f}: no structure is learned")
    return found


def red_flags(path: Path) -> RedFlags:
    """The callback that writes ranges, figures and flags after each validation."""
    return RedFlags(path, _SHOWN, _judged, _range_lines)


def _judged(figures: Mapping[str, float], module: Any, epoch: int) -> list[str]:
    # a patient without bone or lesion in view has no such figure: that is not a failure
    absent = {name for name in figures if name.startswith(("val_bone", "val_lesion")) and math.isnan(figures[name])}
    return judge({name: value for name, value in figures.items() if name not in absent}, module.ranges, epoch)


def _range_lines(module: Any) -> list[str]:
    return [f"{name}: {low:.3f} to {high:.3f}, sd {sd:.3f}" for name, (low, high, sd) in module.ranges.items()]
