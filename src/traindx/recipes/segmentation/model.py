"""The network: MONAI's DynUNet (the nnU-Net topology), plain or residual, with instance normalisation."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from traindx.recipes.segmentation.planning import Plan

Architecture = Literal["dynunet", "residual"]


def build_network(
    plan: Plan, *, architecture: Architecture = "dynunet", deep_supervision: int = 0, dropout: float = 0.0
) -> nn.Module:
    """A fresh network for a plan.

    Args:
        plan: Gives channels, classes, kernels, strides and filters.
        architecture: Plain double convolutions, or residual blocks.
        deep_supervision: Number of coarser outputs that are trained as well (0 for none).
        dropout: Dropout of feature maps.

    Returns:
        Maps ``(B, channels, D, H, W)`` to logits ``(B, classes, D, H, W)``. In training mode with deep supervision,
        to ``(B, 1 + deep_supervision, classes, D, H, W)``, the finest first.
    """
    from monai.networks.nets import DynUNet

    options = network_options(plan, architecture=architecture, deep_supervision=deep_supervision, dropout=dropout)
    network: nn.Module = DynUNet(**options)
    # instance normalisation and convolutions of oneDNN are faster in this layout
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload,no-any-return]


def network_options(plan: Plan, *, architecture: Architecture, deep_supervision: int, dropout: float) -> dict[str, Any]:
    """What MONAI's ``DynUNet`` is made with, in plain values; see :func:`build_network`."""
    strides = [list(stride) for stride in plan.strides]
    heads = min(deep_supervision, len(strides) - 2)
    return {
        "spatial_dims": 3,
        "in_channels": plan.channels,
        "out_channels": plan.labels.channels,
        "kernel_size": [list(kernel) for kernel in plan.kernels],
        "strides": strides,
        "upsample_kernel_size": strides[1:],
        "filters": list(plan.filters),
        "norm_name": ["INSTANCE", {"affine": True}],
        "act_name": ["leakyrelu", {"inplace": True, "negative_slope": 0.01}],
        "dropout": dropout or None,
        "deep_supervision": heads > 0,
        "deep_supr_num": max(heads, 1),
        "res_block": architecture == "residual",
    }


def finest(output: Tensor) -> Tensor:
    """The full-resolution logits of an output with or without deep supervision."""
    return output[:, 0] if output.ndim == 6 else output
