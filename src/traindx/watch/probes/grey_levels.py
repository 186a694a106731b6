"""What becomes of a grey value in the pipeline of the training, and in that of the evaluation? In a child only.

Two data sets that cut and resize in different ways show different places of one case. A picture of one value has that
value everywhere, so that what is done to places does not matter: what comes out in the middle is what the pipeline
makes of the value.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from traindx.core.later import Later
from traindx.evidence.observed_items import SameCaseTwice
from traindx.watch.probes.functions.common import parts_of
from traindx.watch.probes.functions.moved import put
from traindx.watch.probes.functions.pictures import array_of, is_mask, is_picture
from traindx.watch.probes.item_spots import changed_where_kept
from traindx.watch.probes.making import as_array, seed
from traindx.watch.probes.pipeline_places import step_that_differs
from traindx.watch.runtime.structure import known_length

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

SHARES = (0.25, 0.5, 0.75)  # of the range of a picture that is kept: the values that are tried
CHANNELS = (1.0, 0.85, 0.7)  # times that, in colours
DRAWS = 4
SECONDS = 2.0  # of processor time
LEAST_MAKINGS = 24  # of items, for all values
LEAST_VALUES = 256
SETTLED = 0.02  # of the range: nothing is drawn for the values
ALIKE = 3.0  # times a range that pictures of both sets may have, to be kept in the same form


def levels_compared(torch: Any, training: Any, other: Any) -> SameCaseTwice | None:  # noqa: PLR0911  (one a doubt)
    """Pictures of one value each through both; None where they do not come out, or values are drawn.

    Args:
        torch: The script's torch.
        training: The data set that is trained on.
        other: A data set that is evaluated on.
    """
    begun = time.process_time()
    kept = [_kept(torch, one) for one in (training, other)]
    if kept[0] is None or kept[1] is None or kept[0][0] != kept[1][0] or not _ranges_alike(kept[0][1], kept[1][1]):
        return None
    if time.process_time() - begun > 6 * SECONDS / LEAST_MAKINGS:
        return None  # three items of each show that there is no time for all
    until = time.process_time() + SECONDS
    low, high = float(np.min(kept[1][1])), float(np.max(kept[1][1]))
    ours: list[Any] = []
    theirs: list[Any] = []
    for share in SHARES:
        value = low + share * (high - low)
        made = [
            [_response(torch, one, value, number) for number in range(count)]
            for one, count in ((training, DRAWS), (other, 2))
        ]
        if time.process_time() > until or any(one is None for several in made for one in several):
            return None
        here, there = (np.array(several) for several in made)
        ours.append(here)
        theirs.append(there)
    if len({one.shape[1] for one in (*ours, *theirs)}) != 1:
        return None
    here, there = (np.stack([one.mean(0) for one in side]) for side in (ours, theirs))  # values, channels
    scale = min(float(np.ptp(here, axis=0).min()), float(np.ptp(there, axis=0).min()))
    drawn = max(float(np.ptp(one, axis=0).max()) for one in (*ours, *theirs))
    if not scale > 1e-9 or drawn > SETTLED * scale:
        return None
    widest = max(float(np.ptp(here, axis=0).max()), float(np.ptp(there, axis=0).max()))
    least = float(abs(here - there).max()) / widest
    turned = least > SETTLED and here.shape[1] == 3 and float(abs(here[:, ::-1] - there).max()) / widest < SETTLED
    stats = [_own(torch, one) for one in (training, other)]
    if stats[0] is None or stats[1] is None:
        return None
    differing = step_that_differs(training, other) if least > SETTLED else None
    return SameCaseTwice(
        training=type(training).__name__,
        dataset=type(other).__name__,
        cases=0,
        levels=len(SHARES),
        shape=stats[1][2],
        least=least,
        channels_turned=turned,
        slope=float(np.median(np.ptp(here, axis=0) / np.ptp(there, axis=0))),
        mean=stats[1][0],
        spread=stats[1][1],
        mean_in_training=stats[0][0],
        spread_in_training=stats[0][1],
        name=differing[0] if differing is not None else "",
        value=differing[1] if differing is not None else "",
        value_in_training=differing[2] if differing is not None else "",
        where=differing[3].location() if differing is not None else None,
    )


def _kept(torch: Any, dataset: Any) -> tuple[list[str], Any] | None:
    """In which form the pictures of some items are kept or read; and a tenth, half and nine tenths of their values."""
    length = known_length(dataset) or 0
    forms: list[str] = []
    ranges: list[Any] = []

    def look(value: Any) -> Any:
        for _, one in parts_of(value):
            if is_picture(torch, one) and not is_mask(torch, one):
                array = array_of(torch, one)
                assert array is not None
                form = f"{type(value).__name__} {type(one).__name__} {array.dtype} {array.ndim}"
                forms.append(form)
                ranges.append(np.quantile(array.astype(np.float64), (0.1, 0.5, 0.9)))
        return value

    for index in sorted({0, length // 2, length - 1}):
        seed(torch, 0)
        with changed_where_kept(torch, dataset, index, look):
            dataset[index]
    return (sorted(set(forms)), np.array(ranges)) if len(set(forms)) == 1 else None


def _ranges_alike(one: Any, other: Any) -> bool:
    """Raw pictures of both: one set that was normalised when it was made would be kept in another range."""
    spreads = [max(float(np.median(some[:, 2] - some[:, 0])), 1e-12) for some in (one, other)]
    middle = abs(float(np.median(one[:, 1]) - np.median(other[:, 1])))
    return 1 / ALIKE < spreads[0] / spreads[1] < ALIKE and middle <= max(spreads)


def _response(torch: Any, dataset: Any, value: float, number: int) -> Any | None:
    """The middle of what an item is, in every channel, where its picture has one value."""
    replaced = 0

    def flat(given: Any) -> Any:
        nonlocal replaced
        for path, one in parts_of(given):
            if is_picture(torch, one) and not is_mask(torch, one):
                given = put(given, path, _flat_like(torch, one, value))
                replaced += 1
        return given

    seed(torch, number)
    with changed_where_kept(torch, dataset, 0, flat):
        image = _image(dataset[0])
    if image is None or not replaced:
        return None
    return np.array([np.median(_inner(one)) for one in _channels(image)])


def _flat_like(torch: Any, value: Any, level: float) -> Any:
    """A picture of one value in the form of another one; of colours, a value a channel."""
    array = array_of(torch, value)
    assert array is not None
    made = np.full(array.shape, level, np.float64)
    for axis in (0, -1):
        if array.ndim == 3 and array.shape[axis] == len(CHANNELS):
            shape = [len(CHANNELS) if at == axis % 3 else 1 for at in range(3)]
            made = made * np.array(CHANNELS).reshape(shape)
            break
    if array.dtype.kind in "iub":
        made = np.rint(made)
    plain = np.ascontiguousarray(made.astype(array.dtype))
    if type(value).__module__.startswith("PIL."):
        picture = sys.modules["PIL.Image"].fromarray(plain)
        return picture if picture.mode == value.mode else picture.convert(value.mode)
    if isinstance(value, torch.Tensor):
        kept = value.detach().clone()
        kept.copy_(torch.from_numpy(plain))
        return kept
    return plain


def _image(item: Any) -> Any | None:
    """The largest array of floating point of an item."""
    arrays = [array for _, one in parts_of(item) if (array := as_array(one)) is not None]
    floats = [one for one in arrays if one.dtype.kind == "f" and one.ndim >= 2 and one.size >= LEAST_VALUES]
    chosen = max(floats, key=lambda one: int(one.size), default=None)
    return chosen.astype(np.float64) if chosen is not None and np.isfinite(chosen).all() else None


def _channels(array: Any) -> list[Any]:
    if array.ndim == 3 and array.shape[0] <= 4:
        return list(array)
    return list(np.moveaxis(array, -1, 0)) if array.ndim == 3 and array.shape[-1] <= 4 else [array]


def _inner(array: Any) -> Any:
    """Its middle: what is filled in lies at the edges."""
    return array[tuple(slice(size // 4, size - size // 4) for size in array.shape)]


def _own(torch: Any, dataset: Any) -> tuple[float, float, tuple[int, ...]] | None:
    """Mean, spread and shape of some items as they are."""
    length = known_length(dataset) or 0
    images = []
    for index in sorted({0, length // 2, length - 1}):
        seed(torch, 0)
        images.append(_image(dataset[index]))
    known = [one for one in images if one is not None]
    if not known:
        return None
    means, spreads = [float(one.mean()) for one in known], [float(one.std()) for one in known]
    return float(np.median(means)), float(np.median(spreads)), tuple(known[0].shape)
