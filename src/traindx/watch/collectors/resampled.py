"""Label maps that are resampled by interpolation: does that give labels which nobody drew there?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import ModuleType
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_items import LabelsResampled
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.patching import Patches
from traindx.watch.runtime.schedule import Bursts

FEW, LARGEST_LABEL = 64, 255
MOST_VALUES = 8_000_000  # of an array; larger ones are left alone
REACH = 2  # voxels by which rounding may move a border

Again = Callable[[], Any]
"""Makes the same call once more with the nearest neighbour."""


class Resampling:
    """Wraps the functions of array libraries that resample, from the script's first line on.

    In processes that were forked (workers of a loader) nothing is noted: what they see never comes back.
    """

    def __init__(self) -> None:
        self.patches = Patches()
        self.active = True
        self.muted: Callable[[], bool] = lambda: False  # our own code runs
        self.bursts = Bursts(8, 3.0)
        self._seen: dict[tuple[CallSite, str], LabelsResampled] = {}

    def install_scipy(self, module: ModuleType) -> None:
        """``scipy.ndimage``."""
        for name, position in (("zoom", 3), ("rotate", 5), ("shift", 3), ("affine_transform", 5)):
            self.patches.wrap(module, name, self._make(name, "order", 3, 0, position, ("input",)))

    def install_skimage(self, module: ModuleType) -> None:
        """``skimage.transform``."""
        self.patches.wrap(module, "resize", self._make("resize", "order", 1, 0, 2, ("image",), keeps="preserve_range"))

    def install_cv2(self, module: ModuleType) -> None:
        """OpenCV, where 0 is ``INTER_NEAREST`` and 1 ``INTER_LINEAR``."""
        self.patches.wrap(module, "resize", self._make("resize", "interpolation", 1, 0, 5, ("src",)))
        self.patches.wrap(module, "warpAffine", self._make("warpAffine", "flags", 1, 0, 4, ("src",)))

    def install_pil(self, module: ModuleType) -> None:
        """Pillow, where 0 is ``NEAREST``."""
        self.patches.wrap(module.Image, "resize", self._make("resize", "resample", 3, 0, 2, ("self",)))
        self.patches.wrap(module.Image, "rotate", self._make("rotate", "resample", 0, 0, 2, ("self",)))

    def _make(
        self, name: str, option: str, default: int, nearest: int, position: int, first: tuple[str, ...], keeps: str = ""
    ) -> Callable[[Any], Any]:
        """A wrapper of a function whose argument ``option``, at ``position``, says how values are interpolated."""

        def make(original: Any) -> Any:
            def resample(*args: Any, **kwargs: Any) -> Any:
                out = original(*args, **kwargs)
                if not self.active or self.muted():
                    return out
                with suppress(Exception):  # whatever it is, it is not the script's concern
                    how = args[position] if len(args) > position else kwargs.get(option, default)
                    how = default if how is None else how
                    given = args[0] if args else kwargs.get(first[0])
                    plain = how != nearest and "dst" not in kwargs and (not keeps or kwargs.get(keeps))
                    if plain and not hasattr(kwargs.get("output"), "shape"):

                        def again() -> Any:
                            if len(args) > position:
                                return original(*args[:position], nearest, *args[position + 1 :], **kwargs)
                            more = {"anti_aliasing": False} if keeps else {}
                            return original(*args, **{**kwargs, option: nearest, **more})

                        self.look(name, str(how), given, out, again, here(2))
                return out

            return resample

        return make

    def look(self, name: str, how: str, given: Any, out: Any, again: Again, site: CallSite | None) -> None:
        """Compare what interpolation gave with what the nearest neighbour gives, if this is a label map."""
        numpy = sys.modules.get("numpy")
        if site is None or numpy is None or not self.bursts.wanted((site, name)):
            return
        labels = numpy.asarray(given)
        if labels.dtype.kind not in "uif" or not 64 <= labels.size <= MOST_VALUES:
            return
        values = numpy.unique(labels.reshape(-1)[:: max(1, labels.size // 16384)])
        if not is_label_map(numpy, values):
            return
        values = numpy.unique(labels)
        if not is_label_map(numpy, values):
            return
        result, nearest = numpy.asarray(out), numpy.asarray(again())
        if result.shape != nearest.shape:
            return
        made_up = invented(numpy, result, nearest, values)
        wrong = result[made_up]
        known = self._seen.get((site, name))
        self._seen[site, name] = LabelsResampled(
            function=name,
            how=how,
            values=tuple(float(one) for one in values),
            voxels=result.size + (known.voxels if known else 0),
            invented=int(made_up.sum()) + (known.invented if known else 0),
            between=int((~numpy.isin(wrong, values)).sum()) + (known.between if known else 0),
            looks=1 + (known.looks if known else 0),
            where=site.location(),
        )

    def stop(self) -> None:
        """The watching is over; a wrapper that somebody holds passes everything through."""
        self.active = False

    def records(self) -> Iterable[Record]:
        """One record a line."""
        yield from self._seen.values()


def is_label_map(numpy: Any, values: Any) -> bool:
    """Three or more small whole numbers, zero among them; two are a mask, which a threshold brings back."""
    if not 3 <= len(values) <= FEW or not bool(numpy.isfinite(values).all()):
        return False
    return bool(values[0] == 0 and values[-1] <= LARGEST_LABEL and (values == numpy.round(values)).all())


def invented(numpy: Any, result: Any, nearest: Any, values: Any) -> Any:
    """Where a result holds a label that the nearest neighbour has nowhere near."""
    fine = numpy.zeros(result.shape, bool)
    for value in values:
        here_ = result == value
        if not here_.any():
            continue
        near = nearest == value
        for axis in range(near.ndim):
            near = _spread(numpy, near, axis)
        fine |= here_ & near
    return ~fine


def _spread(numpy: Any, mask: Any, axis: int) -> Any:
    """A mask that is wider by the reach along one axis."""
    wide = mask.copy()
    for distance in range(1, min(REACH, mask.shape[axis] - 1) + 1):
        low = (slice(None),) * axis + (slice(None, -distance),)
        high = (slice(None),) * axis + (slice(distance, None),)
        wide[low] |= mask[high]
        wide[high] |= mask[low]
    return wide
