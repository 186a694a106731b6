"""The fingerprint of a data set: sizes, spacings, intensities and label values, measured once and kept as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from pydantic import Field

from traindx.errors import InputError
from traindx.finding import Frozen
from traindx.recipes.segmentation.labels import LabelMeaning
from traindx.recipes.segmentation.sources import CaseRef, RawCase, Unreadable


class CaseFacts(Frozen):
    """What was measured on one case.

    Attributes:
        name: Case name.
        shape: Voxels along the three axes of the file.
        spacing: Voxel size in mm along the same axes.
        axes: Orientation codes of those axes, for example ``RAS``.
        channels: Number of image channels.
        intensity: Minimum, 0.5th, 50th and 99.5th percentile and maximum of each channel.
        foreground_intensity: 0.5th and 99.5th percentile, mean and standard deviation of the voxels of any class, for
            each channel; empty where there is none.
        labels: Voxels of each label value.
    """

    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    axes: str
    channels: int
    intensity: tuple[tuple[float, float, float, float, float], ...]
    foreground_intensity: tuple[tuple[float, float, float, float], ...] = ()
    labels: dict[int, int] = Field(default_factory=dict)


class Fingerprint(Frozen):
    """Facts about a data set.

    Attributes:
        cases: Facts of every case that could be read.
        unreadable: Name and reason of every other.
        label_dtype: Data type of the label files (the most common one).
    """

    cases: tuple[CaseFacts, ...]
    unreadable: tuple[tuple[str, str], ...] = ()
    label_dtype: str = "uint8"

    @property
    def channels(self) -> int:
        """Image channels, the same in every case."""
        return self.cases[0].channels

    @property
    def label_values(self) -> dict[int, int]:
        """Number of cases in which each label value occurs."""
        return dict(sorted(Counter(value for case in self.cases for value in case.labels).items()))

    @property
    def median_shape(self) -> tuple[float, float, float]:
        """Median size along each axis, in voxels."""
        a, b, c = np.median([case.shape for case in self.cases], axis=0)
        return float(a), float(b), float(c)

    @property
    def median_spacing(self) -> tuple[float, float, float]:
        """Median voxel size along each axis, in mm."""
        a, b, c = np.median([case.spacing for case in self.cases], axis=0)
        return float(a), float(b), float(c)

    def is_ct(self, channel: int = 0) -> bool:
        """True if a channel looks like Hounsfield units: air near -1000 in most cases.

        A threshold of -500 HU lies half-way between air (-1000) and water (0); no other modality is stored with such
        values unless it is shifted on purpose.
        """
        lows = [case.intensity[channel][0] for case in self.cases]
        highs = [case.intensity[channel][4] for case in self.cases]
        return float(np.median(lows)) <= -500 and float(np.median(highs)) <= 10000

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(self.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Fingerprint:
        """Read JSON written by :meth:`save`."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))


def canonical(raw: RawCase) -> RawCase:
    """A case with its axes permuted and flipped to right-anterior-superior, so that all cases agree.

    Oblique affines stay oblique: only whole axes are exchanged, no voxel is interpolated.
    """
    import nibabel as nib

    transform = nib.orientations.io_orientation(raw.affine)
    if np.isnan(transform).any() or np.array_equal(transform, [[0, 1], [1, 1], [2, 1]]):
        return raw
    image = np.stack([nib.orientations.apply_orientation(channel, transform) for channel in raw.image])
    label = None if raw.label is None else nib.orientations.apply_orientation(raw.label, transform)
    affine = raw.affine @ nib.orientations.inv_ornt_aff(transform, raw.image.shape[1:])
    return RawCase(image, label, affine, raw.labelled, raw.label_dtype)


def from_canonical(
    array: np.ndarray[tuple[int, ...], np.dtype[np.float32]], affine: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Undo :func:`canonical` for an array ``(channels, D, H, W)``, given the affine of the file."""
    import nibabel as nib

    to_ras = nib.orientations.io_orientation(affine)
    if np.isnan(to_ras).any():
        return array
    ras = np.array([[0, 1], [1, 1], [2, 1]], dtype=float)
    back = nib.orientations.ornt_transform(ras, to_ras)
    return np.stack([nib.orientations.apply_orientation(channel, back) for channel in array])


def measure(name: str, raw: RawCase, meaning: LabelMeaning | None = None) -> CaseFacts:
    """Facts of one case.

    Args:
        name: Case name.
        raw: The case; its axes are taken as they are.
        meaning: Tells background and *ignore* from classes; without it every value above 0 counts as a class.

    Raises:
        InputError: The image holds NaN or infinity, or the label holds fractions.
    """
    import nibabel as nib

    image = raw.image.astype(np.float32)
    if not np.isfinite(image).all():
        raise InputError(f"{name} holds {int((~np.isfinite(image)).sum())} voxels that are not finite")
    labels: dict[int, int] = Field(default_factory=dict)
    foreground: tuple[tuple[float, float, float, float], ...] = ()
    if raw.label is not None:
        values, counts = np.unique(raw.label, return_counts=True)
        if np.any(values != np.round(values)):
            raise InputError(
                f"the label of {name} holds fractions such as {values[values != np.round(values)][0]:g}",
                expected="whole numbers",
                do="resample label maps with nearest neighbour, never by interpolation",
            )
        labels = {int(value): int(count) for value, count in zip(values, counts, strict=True)}
        not_a_class = (0,) if meaning is None else meaning.background + meaning.ignore
        inside = ~np.isin(raw.label, not_a_class)
        if inside.any():
            foreground = tuple(
                (*np.percentile(c[inside], (0.5, 99.5)).tolist(), float(c[inside].mean()), float(c[inside].std()))
                for c in image
            )
    spacing = np.linalg.norm(raw.affine[:3, :3], axis=0)
    return CaseFacts(
        name=name,
        shape=raw.image.shape[1:],
        spacing=tuple(spacing.tolist()),
        axes="".join(code or "?" for code in nib.aff2axcodes(raw.affine)),
        channels=raw.image.shape[0],
        intensity=tuple((float(c.min()), *np.percentile(c, (0.5, 50, 99.5)).tolist(), float(c.max())) for c in image),
        foreground_intensity=foreground,
        labels=labels,
    )


def fingerprint(
    cases: Iterable[CaseRef],
    *,
    meaning: LabelMeaning | None = None,
    unreadable: Iterable[Unreadable] = (),
    progress: Callable[[str], None] | None = None,
) -> Fingerprint:
    """Measure every case, in the axis order that training uses.

    Raises:
        InputError: Not one case can be read.
    """
    facts: list[CaseFacts] = []
    lost = [(item.name, item.reason) for item in unreadable]
    dtypes: Counter[str] = Counter()
    for case in cases:
        if progress is not None:
            progress(case.name)
        try:
            raw = canonical(case.read())
            facts.append(measure(case.name, raw, meaning))
            dtypes[raw.label_dtype] += 1
        except InputError as error:
            lost.append((case.name, str(error)))
    channels = Counter(item.channels for item in facts)
    if channels:
        usual = channels.most_common(1)[0][0]
        lost += [(c.name, f"{c.channels} channels instead of {usual}") for c in facts if c.channels != usual]
        facts = [c for c in facts if c.channels == usual]
    if not facts:
        raise InputError(
            "not one case can be read: " + "; ".join(f"{name}: {reason}" for name, reason in lost[:3]),
            expected="at least one pair of image and label",
        )
    return Fingerprint(cases=tuple(facts), unreadable=tuple(lost), label_dtype=dtypes.most_common(1)[0][0])
