"""Sliding-window inference: every voxel is covered, every weight is positive, windows blend without seams.

MONAI's `sliding_window_inference` does the work. :func:`weight_sum` adds up the very weights it uses, so that a test
can show for odd sizes that no voxel is left out; :func:`predict_probabilities` adds flips and refuses a result with
holes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations

import torch
from torch import Tensor, nn

from traindx.errors import CaseError
from traindx.recipes.segmentation.model import finest
from traindx.recipes.segmentation.planning import Triple

OVERLAP = 0.5
"""Overlap of neighbouring windows, as in nnU-Net."""

SIGMA_SCALE = 0.125
"""Standard deviation of the Gaussian weight as a share of the window, as in nnU-Net."""


def weight_sum(shape: Triple, patch: Triple, overlap: float = OVERLAP) -> Tensor:
    """Sum of window weights at each voxel of a volume, from the same MONAI parts that inference uses.

    Args:
        shape: Size of the volume.
        patch: Window.
        overlap: Overlap of neighbouring windows.

    Returns:
        Shape ``(D, H, W)``; positive everywhere if every voxel is covered.
    """
    from monai.data.utils import compute_importance_map, dense_patch_slices
    from monai.inferers.utils import _get_scan_interval

    padded = tuple(max(n, p) for n, p in zip(shape, patch, strict=True))
    interval = _get_scan_interval(padded, patch, 3, (overlap,) * 3)
    weight = compute_importance_map(patch, mode="gaussian", sigma_scale=SIGMA_SCALE)
    total = torch.zeros(padded)
    for window in dense_patch_slices(padded, patch, interval):
        total[window] += weight
    # MONAI pads half of what is missing in front
    front = [(p - n) // 2 for p, n in zip(padded, shape, strict=True)]
    return total[tuple(slice(f, f + n) for f, n in zip(front, shape, strict=True))]


def flip_sets(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Every combination of mirrored axes, the empty one first: 2^n views."""
    return list(chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1)))


@torch.inference_mode()
def predict_probabilities(
    networks: nn.Module | Sequence[nn.Module],
    image: Tensor,
    patch: Triple,
    *,
    overlap: float = OVERLAP,
    flips: Sequence[int] = (),
    windows: int = 1,
    progress: bool = False,
    bf16: bool = False,
) -> Tensor:
    """Class probabilities of a whole volume, averaged over windows, mirrored views and networks.

    Args:
        networks: One network or an ensemble, each mapping a patch to logits. Put in evaluation mode, and restored.
        image: Shape ``(B, channels, D, H, W)``; smaller volumes than the window are padded with 0.
        patch: Window size.
        overlap: Overlap of neighbouring windows.
        flips: Axes (0, 1, 2) that training mirrored.
        windows: Windows a forward pass.
        progress: Show a progress bar.
        bf16: Run the network in bfloat16; probabilities are float32 all the same.

    Returns:
        Shape ``(B, classes, D, H, W)``, float32, each voxel sums to one.

    Raises:
        CaseError: A probability is not finite (a network that returns NaN).
    """
    from monai.inferers import sliding_window_inference

    members = [networks] if isinstance(networks, nn.Module) else list(networks)
    device = next(members[0].parameters()).device
    views = flip_sets(flips)
    share = 1.0 / (len(members) * len(views))

    def probabilities(window: Tensor) -> Tensor:
        total: Tensor | None = None
        for network in members:
            for view in views:
                axes = [axis + 2 for axis in view]
                seen = torch.flip(window, axes) if axes else window
                with torch.autocast(window.device.type, torch.bfloat16, enabled=bf16):
                    logits = finest(network(seen))
                # one softmax, here and nowhere else
                p = torch.softmax(logits.float(), dim=1) * share
                p = torch.flip(p, axes) if axes else p
                total = p if total is None else total.add_(p)
        assert total is not None
        return total

    modes = [network.training for network in members]
    for network in members:
        network.eval()
    try:
        result = sliding_window_inference(
            image.float(),
            patch,
            windows,
            probabilities,
            overlap=overlap,
            mode="gaussian",
            sigma_scale=SIGMA_SCALE,
            progress=progress,
            sw_device=device,
            device=image.device,
        )
    finally:
        for network, mode in zip(members, modes, strict=True):
            network.train(mode)
    assert isinstance(result, Tensor)
    if not bool(torch.isfinite(result).all()):
        raise CaseError(
            f"{int((~torch.isfinite(result)).sum())} predicted probabilities are not finite",
            expected="numbers",
            do="look for the step at which the training loss became NaN",
        )
    return result
