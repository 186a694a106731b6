"""From a fingerprint and a machine to a plan: grid, patch, depth, width, batch and normalisation.

The topology rules follow nnU-Net (Isensee et al., Nat Methods 18:203, 2021, Methods and Supplementary Note 2): median
spacing; patch from the median shape; an axis is halved while its feature map stays at least 4 voxels wide; strides and
kernels leave an axis alone while its voxels are more than twice as long as the finest. Sizes are scaled to the cores:
nnU-Net's own budget assumes a GPU with 8 GB.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from traindx.errors import InputError
from traindx.finding import Frozen
from traindx.machine import usable_cores
from traindx.recipes.segmentation.fingerprint import Fingerprint
from traindx.recipes.segmentation.labels import LabelMeaning

Triple = tuple[int, int, int]


class Machine(Frozen):
    """What there is to train on.

    Attributes:
        cores: Processor cores.
        gpu_gib: Memory of the GPU, 0 without one.
        bf16: True if the processor or GPU multiplies bfloat16 natively.
    """

    cores: int = 2
    gpu_gib: float = 0.0
    bf16: bool = False

    @classmethod
    def here(cls) -> Machine:
        """This machine."""
        import torch

        cores = usable_cores()
        if torch.cuda.is_available():
            memory = torch.cuda.get_device_properties(0).total_memory / 2**30
            return cls(cores=cores, gpu_gib=memory, bf16=torch.cuda.is_bf16_supported())
        flags = ""
        info = Path("/proc/cpuinfo")
        if info.exists():
            flags = next((line for line in info.read_text().splitlines() if line.startswith("flags")), "")
        return cls(cores=cores, bf16="avx512_bf16" in flags or "amx_bf16" in flags)


class Normalisation(Frozen):
    """How intensities of one channel become network values.

    Attributes:
        kind: ``zscore``: each volume by its own mean and standard deviation (units not comparable between
            cases, as in MR); ``ct``: clipped to ``low..high`` and standardised with fixed ``mean`` and ``sd``, all
            measured on foreground voxels of the training cases (nnU-Net's CT scheme).
        mean: Mean of the data set.
        sd: Standard deviation of the data set.
        low: Lower clip.
        high: Upper clip.
    """

    kind: Literal["zscore", "ct"] = "zscore"
    mean: float = 0.0
    sd: float = 1.0
    low: float = 0.0
    high: float = 0.0


class Plan(Frozen):
    """Everything that training and inference must agree on. It is stored in every checkpoint.

    Attributes:
        labels: Meaning of the label values.
        label_dtype: Data type of label files, and of the masks that are written.
        channels: Image channels.
        spacing: Grid in mm that volumes are resampled to.
        patch: Patch size in voxels of that grid.
        kernels: Kernel size of every level.
        strides: Stride of every level; the first is one.
        filters: Feature channels of every level.
        batch: Patches a step.
        normalisation: One a channel.
        precision: Lightning precision string.
    """

    labels: LabelMeaning
    label_dtype: str = "uint8"
    channels: int = 1
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    patch: Triple
    kernels: tuple[Triple, ...]
    strides: tuple[Triple, ...]
    filters: tuple[int, ...]
    batch: int = 2
    normalisation: tuple[Normalisation, ...] = (Normalisation(),)
    precision: str = "32-true"

    @property
    def divisor(self) -> Triple:
        """Patch sizes must be multiples of this."""
        product = np.prod(np.array(self.strides), axis=0)
        return int(product[0]), int(product[1]), int(product[2])


CPU_PATCH_VOXELS = 50_000
"""Voxels of a patch per core: on two cores of 2024 a step of two 40x56x40 patches takes about 0.15 s in bfloat16."""

GPU_PATCH_VOXELS_PER_GIB = 262_144
"""Voxels of a patch per GiB of GPU memory: 128³ at 8 GiB, the size nnU-Net plans for that memory."""

MAX_LEVELS = 6
MIN_FEATURE_EDGE = 4
"""nnU-Net: 'until the feature maps are smaller than 4 voxels'."""


def plan_patch(median_shape: tuple[float, float, float], budget: int) -> Triple:
    """Median shape, shrunk evenly to a budget of voxels, never larger than the (rounded up) median."""
    size = np.maximum(np.array(median_shape, dtype=float), 1)
    while np.prod(size) > budget:
        size[np.argmax(size)] *= 0.95
    return int(np.ceil(size[0])), int(np.ceil(size[1])), int(np.ceil(size[2]))


def plan_levels(
    patch: Triple, spacing: tuple[float, float, float], max_levels: int = MAX_LEVELS
) -> tuple[Triple, tuple[Triple, ...], tuple[Triple, ...]]:
    """Kernels and strides for a patch, and the patch rounded up to what the strides divide.

    Returns:
        ``(patch, kernels, strides)``.
    """
    voxel = np.array(spacing, dtype=float)
    edge = np.array(patch, dtype=float)
    kernels: list[list[int]] = []
    strides: list[list[int]] = [[1, 1, 1]]
    while True:
        fine = voxel <= 2 * voxel.min()
        kernels.append([3 if ok and size > 1 else 1 for ok, size in zip(fine, edge, strict=True)])
        halve = fine & (edge >= 2 * MIN_FEATURE_EDGE)
        if len(strides) == max_levels or not halve.any():
            break
        step = np.where(halve, 2, 1)
        strides.append([int(s) for s in step])
        edge, voxel = np.ceil(edge / step), voxel * step
    divisor = np.prod(np.array(strides), axis=0)
    rounded = (np.ceil(np.array(patch) / divisor) * divisor).astype(int)

    def triples(rows: list[list[int]]) -> tuple[Triple, ...]:
        return tuple((row[0], row[1], row[2]) for row in rows)

    return (int(rounded[0]), int(rounded[1]), int(rounded[2])), triples(kernels), triples(strides)


def plan(
    fingerprint: Fingerprint,
    meaning: LabelMeaning,
    machine: Machine,
    *,
    base_filters: int = 16,
    max_filters: int = 320,
    batch: int = 2,
) -> Plan:
    """Plan patch, network and normalisation.

    Args:
        fingerprint: Facts of the *training* cases (validation and test cases must not shape the plan's statistics).
        meaning: Meaning of the label values.
        machine: What there is to train on.
        base_filters: Feature channels of the first level; doubled at each level.
        max_filters: Upper limit of feature channels (320 in nnU-Net).
        batch: Patches a step.

    Raises:
        InputError: A label value occurs that has no meaning.
    """
    declared = {*meaning.background, *meaning.ignore, *(v for group in meaning.classes.values() for v in group)}
    strangers = {value: n for value, n in fingerprint.label_values.items() if value not in declared}
    if strangers:
        raise InputError(
            "label values without a meaning: " + ", ".join(f"{v} (in {n} cases)" for v, n in strangers.items()),
            expected=f"only {sorted(declared)}",
            do='declare them, for example --data.labels \'{"background": 0, "tumour": 1, "ignore": 2}\'',
        )
    spacing = fingerprint.median_spacing
    shapes = np.array([case.shape for case in fingerprint.cases], dtype=float)
    spacings = np.array([case.spacing for case in fingerprint.cases])
    median = np.median(shapes * spacings / np.array(spacing), axis=0)
    budget = (
        int(GPU_PATCH_VOXELS_PER_GIB * machine.gpu_gib) if machine.gpu_gib else CPU_PATCH_VOXELS * max(machine.cores, 2)
    )
    patch = plan_patch((float(median[0]), float(median[1]), float(median[2])), budget)
    patch, kernels, strides = plan_levels(patch, spacing, MAX_LEVELS if machine.gpu_gib else 4)
    normalisation = []
    for channel in range(fingerprint.channels):
        inside = [case.foreground_intensity[channel] for case in fingerprint.cases if case.foreground_intensity]
        if fingerprint.is_ct(channel) and inside:
            low, high, mean, sd = np.median(inside, axis=0)
            normalisation.append(
                Normalisation(kind="ct", mean=float(mean), sd=max(float(sd), 1.0), low=float(low), high=float(high))
            )
        else:
            normalisation.append(Normalisation())
    return Plan(
        labels=meaning,
        label_dtype=fingerprint.label_dtype,
        channels=fingerprint.channels,
        spacing=spacing,
        patch=patch,
        kernels=kernels,
        strides=strides,
        filters=tuple(min(base_filters * 2**level, max_filters) for level in range(len(strides))),
        batch=batch,
        normalisation=tuple(normalisation),
        precision="bf16-mixed" if machine.bf16 else "32-true",
    )
