"""Augmentation with MONAI: the same movement for image and label, intensity changes for the image alone.

Ranges are nnU-Net's (Isensee et al. 2021, Supplementary Note 4) where it has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Augmentation:
    """Random movement and intensity change of one patch, fully determined by a seed.

    Args:
        rotation: Largest angle about each axis in degrees.
        scale: Zoom range around 1.
        flips: Axes (0, 1, 2) that may be mirrored. Mirroring is only right where left and right mean the same.
        probability: Probability of the movement; each intensity change has a fixed one of its own.
        strength: Multiplies the probability of intensity changes; 0 switches them off.
    """

    def __init__(
        self,
        *,
        rotation: float = 15.0,
        scale: tuple[float, float] = (0.85, 1.25),
        flips: Sequence[int] = (),
        probability: float = 0.7,
        strength: float = 1.0,
    ) -> None:
        from monai import transforms as mt

        angle = float(np.deg2rad(rotation))
        self.flips = tuple(flips)
        self._move: Any = mt.RandAffined(
            keys=("image", "label"),
            prob=probability,
            rotate_range=(angle,) * 3,
            scale_range=tuple((scale[0] - 1, scale[1] - 1) for _ in range(3)),
            translate_range=(3, 3, 3),
            mode=("bilinear", "nearest"),
            padding_mode="zeros",
            cache_grid=False,
        )
        self._change: Any = mt.Compose(
            [
                mt.RandGaussianNoised(keys="image", prob=0.1 * strength, std=0.1),
                mt.RandGaussianSmoothd(
                    keys="image",
                    prob=0.2 * strength,
                    sigma_x=(0.5, 1.0),
                    sigma_y=(0.5, 1.0),
                    sigma_z=(0.5, 1.0),
                ),
                mt.RandScaleIntensityd(keys="image", prob=0.15 * strength, factors=0.25),
                mt.RandSimulateLowResolutiond(keys="image", prob=0.15 * strength, zoom_range=(0.5, 1.0)),
                mt.RandAdjustContrastd(keys="image", prob=0.3 * strength, gamma=(0.7, 1.5), retain_stats=True),
            ]
        )

    def __call__(
        self, image: NDArray[np.float32], label: NDArray[np.int8], seed: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """Augment one patch.

        Args:
            image: Shape ``(channels, D, H, W)``.
            label: Class indices with -1 for *ignore*, shape ``(D, H, W)``.
            seed: Determines every draw.
        """
        import torch

        # Shifted by one, so that what moves in from outside (0) means "not labelled" and not "background".
        sample: dict[str, Any] = {
            "image": torch.from_numpy(np.ascontiguousarray(image)),
            "label": torch.from_numpy(label[None].astype(np.float32) + 1),
        }
        self._move.set_random_state(seed=seed % 2**32)
        sample = self._move(sample)
        self._change.set_random_state(seed=(seed + 1) % 2**32)
        sample = self._change(sample)
        moved = np.asarray(sample["image"], dtype=np.float32)
        moved_label = np.rint(np.asarray(sample["label"][0]) - 1).astype(np.int8)
        coins = np.random.default_rng(seed).random(3)
        for axis in self.flips:
            if coins[axis] < 0.5:
                moved, moved_label = np.flip(moved, axis + 1), np.flip(moved_label, axis)
        return np.ascontiguousarray(moved), np.ascontiguousarray(moved_label)
