"""Radiographs made by code, for checkouts without data: a thorax with lungs, heart and ribs, and lesions in boxes.

The log-attenuation of a frontal view is drawn as a sum of smooth parts, then exposed by Beer-Lambert's law with photon
noise and stored as a detector does, in 12 bits. Lesions add attenuation inside the lungs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from traindx.recipes.concepts.boxes import NO_BOXES
from traindx.recipes.concepts.radiographs import Radiographs

CONCEPTS = ("nodule", "opacity", "cavity")
PREVALENCE = (0.35, 0.35, 0.3)
TWICE = 0.35
"""Share of the positive images that have two lesions of the concept."""

WHITE = 4095.0
PHOTONS = 20_000
"""Photons a pixel in air: the noise of a chest exposure at this pixel size is a fraction of one per cent."""


def phantom(images: int, *, size: int = 64, seed: int = 0) -> Radiographs:
    """Phantoms with independent concepts; two images in a row are of one patient.

    Args:
        images: Number of radiographs.
        size: Side in pixels.
        seed: Everything follows from it.
    """
    generator = np.random.default_rng(seed)
    labels = (generator.random((images, len(CONCEPTS))) < PREVALENCE).astype(np.float32)
    drawn, boxes = [], []
    for row in labels:
        attenuation, lungs = _thorax(size, generator)
        mine: list[tuple[float, ...]] = []
        for concept in np.flatnonzero(row):
            for _ in range(1 + (generator.random() < TWICE)):
                lesion, box = _lesion(int(concept), size, lungs, generator)
                attenuation = attenuation + lesion
                mine.append((float(concept), *box))
        drawn.append(_exposed(attenuation, generator))
        boxes.append(np.asarray(mine, np.float32) if mine else NO_BOXES)
    return Radiographs(
        "phantom",
        np.stack(drawn),
        tuple(f"phantom-{index:04d}" for index in range(images)),
        tuple(f"patient-{index // 2:04d}" for index in range(images)),
        CONCEPTS,
        labels,
        tuple(boxes),
        ("normal", "abnormal", "severe"),
        np.minimum(labels.sum(axis=1), 2).astype(np.int64),
        WHITE,
    )


def _grid(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    axis = (np.arange(size) + 0.5) / size
    return np.meshgrid(axis, axis)  # x, y


def _soft(distance: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """1 where the distance is negative, 0 where it is positive, with a smooth edge."""
    return 1 / (1 + np.exp(np.clip(distance / width, -40, 40)))


def _ellipse(
    x: NDArray[np.float64], y: NDArray[np.float64], centre: tuple[float, float], axes: tuple[float, float]
) -> NDArray[np.float64]:
    return np.sqrt(((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2) - 1


Lung = tuple[float, float, float, float]


def _thorax(size: int, generator: np.random.Generator) -> tuple[NDArray[np.float64], list[Lung]]:
    """Log-attenuation of a thorax, and centre and half-axes of its lungs."""
    x, y = _grid(size)
    jitter = generator.normal(0, 0.012, 8)
    body = _soft(_ellipse(x, y, (0.5 + jitter[0], 0.55), (0.47, 0.56)), 0.05)
    total = 2.6 * body
    lungs: list[Lung] = []
    for side, centre in ((0, 0.3), (1, 0.7)):
        lung = (centre + jitter[1 + side], 0.48 + jitter[3], 0.155 + jitter[4] / 2, 0.31 + jitter[5])
        total -= 1.3 * _soft(_ellipse(x, y, lung[:2], lung[2:]), 0.06)
        lungs.append(lung)
    total += 0.7 * _soft(_ellipse(x, y, (0.56 + jitter[6], 0.66), (0.14, 0.15)), 0.12)  # heart
    total += 0.6 * np.exp(-(((x - 0.5) / 0.04) ** 2)) * body  # spine
    for number in range(7):  # ribs
        curve = 0.17 + 0.095 * number + 0.35 * (np.abs(x - 0.5) - 0.2) ** 2 + jitter[7]
        total += 0.1 * np.exp(-(((y - curve) / 0.012) ** 2)) * body
    return total * generator.uniform(0.9, 1.1), lungs


def _lesion(
    concept: int, size: int, lungs: list[Lung], generator: np.random.Generator
) -> tuple[NDArray[np.float64], tuple[float, float, float, float]]:
    """Added log-attenuation of a lesion in a lung, and its box."""
    x, y = _grid(size)
    lung = lungs[int(generator.integers(2))]
    angle, away = generator.uniform(0, 2 * np.pi), 0.6 * np.sqrt(generator.random())
    cx, cy = lung[0] + lung[2] * away * np.cos(angle), lung[1] + lung[3] * away * np.sin(angle)
    if concept == 0:  # nodule: small, dense, sharp
        radius = generator.uniform(0.035, 0.055)
        lesion = 0.8 * _soft(_ellipse(x, y, (cx, cy), (radius, radius)), 0.1)
    elif concept == 1:  # opacity: large, faint, without an edge
        radius = generator.uniform(0.09, 0.14)
        lesion = 0.7 * np.exp(-2.0 * (_ellipse(x, y, (cx, cy), (radius, radius)) + 1) ** 2)
    else:  # cavity: a wall around air
        radius = generator.uniform(0.065, 0.095)
        rim = _ellipse(x, y, (cx, cy), (radius, radius)) + 1
        lesion = 0.8 * np.exp(-(((rim - 0.8) / 0.2) ** 2))
    box = (cx - radius, cy - radius, cx + radius, cy + radius)
    x0, y0, x1, y1 = (float(np.clip(value, 0, 1)) for value in box)
    return lesion, (x0, y0, x1, y1)


def _exposed(attenuation: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.uint16]:
    """Counts behind the body, turned so that dense is bright, as a radiograph is displayed, in 12 bits."""
    counts = generator.poisson(PHOTONS * np.exp(-attenuation)).clip(1)
    density = np.log(PHOTONS / counts)
    return np.clip(density / 4.0 * WHITE, 0, WHITE).astype(np.uint16)
