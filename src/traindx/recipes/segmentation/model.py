"""The network: MONAI's DynUNet (the nnU-Net topology) or its residual U-Net, with instance normalisation."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from traindx.errors import InputError
from traindx.recipes.segmentation.planning import Plan

Architecture = Literal["dynunet", "residual", "unet"]


def build_network(
    plan: Plan, *, architecture: Architecture = "dynunet", deep_supervision: int = 0, dropout: float = 0.0
) -> nn.Module:
    """A fresh network for a plan.

    Args:
        plan: Gives channels, classes, kernels, strides and filters.
        architecture: `dynunet`, plain double convolutions; `residual`, the same with residual blocks; `unet`, MONAI's
            residual U-Net (Kerfoot et al., STACOM 2018), which halves the resolution with its first convolution: a step
            of it costs a third, so it is what to train in minutes on a processor.
        deep_supervision: Number of coarser outputs that are trained as well (0 for none, as `unet` needs it).
        dropout: Dropout of feature maps.

    Returns:
        Maps ``(B, channels, D, H, W)`` to logits ``(B, classes, D, H, W)``. In training mode with deep supervision,
        to ``(B, 1 + deep_supervision, classes, D, H, W)``, the finest first.

    Raises:
        InputError: Deep supervision is asked of a network that has none.
    """
    from monai.networks import nets

    options = network_options(plan, architecture=architecture, deep_supervision=deep_supervision, dropout=dropout)
    network: nn.Module = getattr(nets, class_of(architecture))(**options)
    # instance normalisation and convolutions of oneDNN are faster in this layout
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload,no-any-return]


def class_of(architecture: Architecture) -> str:
    """Name of MONAI's class."""
    return "UNet" if architecture == "unet" else "DynUNet"


def network_options(plan: Plan, *, architecture: Architecture, deep_supervision: int, dropout: float) -> dict[str, Any]:
    """What MONAI's class is made with, in plain values; see :func:`build_network`."""
    strides = [list(stride) for stride in plan.strides]
    norm: list[Any] = ["INSTANCE", {"affine": True}]
    act: list[Any] = ["leakyrelu", {"inplace": True, "negative_slope": 0.01}]
    if architecture == "unet":
        if deep_supervision:
            raise InputError(
                f"deep_supervision is {deep_supervision}, and the architecture `unet` has one output",
                expected="0",
                do="leave it out, or take --model.architecture=dynunet",
            )
        return {
            "spatial_dims": 3,
            "in_channels": plan.channels,
            "out_channels": plan.labels.channels,
            "channels": list(plan.filters),
            "strides": strides[1:],
            "num_res_units": 2,
            "norm": norm,
            "act": act,
            "dropout": dropout,
        }
    heads = min(deep_supervision, len(strides) - 2)
    return {
        "spatial_dims": 3,
        "in_channels": plan.channels,
        "out_channels": plan.labels.channels,
        "kernel_size": [list(kernel) for kernel in plan.kernels],
        "strides": strides,
        "upsample_kernel_size": strides[1:],
        "filters": list(plan.filters),
        "norm_name": norm,
        "act_name": act,
        "dropout": dropout or None,
        "deep_supervision": heads > 0,
        "deep_supr_num": max(heads, 1),
        "res_block": architecture == "residual",
    }


def finest(output: Tensor) -> Tensor:
    """The full-resolution logits of an output with or without deep supervision."""
    return output[:, 0] if output.ndim == 6 else output
