"""From a raw image to the network: the same for training, validation and prediction, but for the augmentation.

Image and boxes are moved by one matrix. Draws of a training image follow from the seed, the epoch and the image alone,
so that ranks, workers and a resumed run agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from traindx.finding import Frozen
from traindx.recipes.concepts.boxes import Boxes, moved

Matrix = NDArray[np.float64]


class Augmentation(Frozen):
    """Strength of the training augmentation.

    Attributes:
        flip: Probability of a left-right flip. Chest findings of these sets have no side.
        rotation: Largest rotation in degrees, either way.
        scale: Largest relative change of size.
        shift: Largest shift as a share of the image.
        contrast: Largest relative change of contrast.
        gamma: Largest change of the logarithm of gamma.
        flip_vertical: Probability of an up-down flip, where there is no up (skin lesions).
        quarter_turns: Turn by 0, 90, 180 or 270 degrees, where there is no up.
        colour: Largest change of the logarithm of each channel's gain (the colour of the light).
        outside: What lies outside the image: ``zeros`` (air) or its ``reflection`` (more skin).
    """

    flip: float = 0.5
    rotation: float = 6.0
    scale: float = 0.1
    shift: float = 0.05
    contrast: float = 0.15
    gamma: float = 0.15
    flip_vertical: float = 0.0
    quarter_turns: bool = False
    colour: float = 0.0
    outside: Literal["zeros", "reflection"] = "zeros"


@dataclass(frozen=True)
class Draw:
    """What is done to one image: where its points go, and to its values; ``colour`` is the gain of each channel."""

    matrix: Matrix
    contrast: float = 1.0
    gamma: float = 1.0
    colour: tuple[float, ...] = ()
    outside: str = "zeros"


IDENTITY = Draw(np.array([[1.0, 0, 0], [0, 1.0, 0]]))


def normalise(raw: Tensor, low: float = 0.5, high: float = 99.5) -> Tensor:
    """Grey values scaled so that two percentiles of the image itself become 0 and 1; colours by 255.

    Radiographs have no unit: exposure, detector and export scale them, so each image is its own reference. Only one
    pixel in a hundred is clipped. Colours of a photograph are what a dermatologist reads, so they stay as they are.

    Args:
        raw: Any grey scale ``(1, H, W)``, bright is dense; or 8-bit colours ``(3, H, W)``.
        low: Percentile that becomes 0.
        high: Percentile that becomes 1.
    """
    values = raw.float()
    if len(values) == 3:
        return (values / 255).clamp(0, 1)
    a, b = torch.quantile(values.flatten(), torch.tensor([low / 100, high / 100], device=raw.device))
    scaled: Tensor = ((values - a) / (b - a).clamp_min(1e-6)).clamp(0, 1)
    return scaled


def drawn(augmentation: Augmentation, *seed: int) -> Draw:
    """The draw of one image; the same seeds give the same draw in every process."""
    generator = np.random.default_rng(list(seed))
    flip = -1.0 if generator.random() < augmentation.flip else 1.0
    angle = math.radians(generator.uniform(-augmentation.rotation, augmentation.rotation))
    size = 1 + generator.uniform(-augmentation.scale, augmentation.scale)
    shift = generator.uniform(-augmentation.shift, augmentation.shift, 2)
    turn = size * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turn = turn @ np.diag([flip, 1.0])
    contrast = 1 + generator.uniform(-augmentation.contrast, augmentation.contrast)
    gamma = math.exp(generator.uniform(-augmentation.gamma, augmentation.gamma))
    # drawn last, and only where asked for: the draws of a radiograph stay what they were
    if augmentation.flip_vertical and generator.random() < augmentation.flip_vertical:
        turn = turn @ np.diag([1.0, -1.0])
    if augmentation.quarter_turns:
        turn = turn @ np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), int(generator.integers(4)))
    colour: tuple[float, ...] = ()
    if augmentation.colour:
        colour = tuple(np.exp(generator.uniform(-augmentation.colour, augmentation.colour, 3)).tolist())
    centre = np.array([0.5, 0.5])
    matrix = np.column_stack([turn, centre - turn @ centre + shift])
    return Draw(matrix, contrast, gamma, colour, augmentation.outside)


def warp(images: Tensor, draws: Sequence[Draw], size: int) -> Tensor:
    """Images moved by their draws and sampled at ``size`` pixels a side.

    Args:
        images: ``(B, C, H, W)`` in [0, 1].
        draws: One for each image; all have the same ``outside``.
        size: Side of the result.

    Returns:
        ``(B, C, size, size)`` in [0, 1].
    """
    factor = images.shape[-1] // size
    if factor > 1:  # sampling every n-th pixel would alias: average first
        images = F.avg_pool2d(images, factor)
    if any(draw is not IDENTITY for draw in draws) or images.shape[-1] != size:
        shape = [*images.shape[:2], size, size]
        grid = F.affine_grid(_sampling(draws).to(images), shape, align_corners=False)
        outside = draws[0].outside
        images = F.grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False)
    contrast = torch.tensor([draw.contrast for draw in draws]).to(images).view(-1, 1, 1, 1)
    gamma = torch.tensor([draw.gamma for draw in draws]).to(images).view(-1, 1, 1, 1)
    if any(draw.contrast != 1 or draw.gamma != 1 for draw in draws):
        images = (images.clamp(0, 1) ** gamma - 0.5) * contrast + 0.5
    if any(draw.colour for draw in draws):
        gain = torch.tensor([draw.colour or (1.0,) * images.shape[1] for draw in draws]).to(images)
        images = images * gain[:, :, None, None]
    return images.clamp(0, 1)


def _sampling(draws: Sequence[Draw]) -> Tensor:
    """For ``affine_grid``: where each new point (in [-1, 1]) comes from in the old image."""
    thetas = []
    to_unit = np.array([[0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 1]])
    for draw in draws:
        forth = np.vstack([draw.matrix, [0, 0, 1]])
        back = np.linalg.inv(to_unit) @ np.linalg.inv(forth) @ to_unit
        thetas.append(back[:2])
    return torch.from_numpy(np.stack(thetas).astype(np.float32))


def apply(image: Tensor, boxes: Boxes, draw: Draw, size: int) -> tuple[Tensor, Boxes]:
    """One normalised image ``(C, H, W)`` and its boxes, moved together."""
    return warp(image[None], [draw], size)[0], boxes if draw is IDENTITY else moved(boxes, draw.matrix)


def to_network(image: Tensor) -> Tensor:
    """[0, 1] to about zero mean and unit variance: fixed numbers, so that nothing depends on the batch."""
    return (image - 0.5) / 0.25
