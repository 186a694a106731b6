"""One and the same raw case through the data set of the training and through that of the evaluation: is it the same?

In a forked child the entry that a data set keeps for an index (an array, a path, a dictionary) is exchanged for one of
the other data set, and the item is made. Where both items show the same places, so that each value of one goes with
one value of the other, the values must be the same: else the two pipelines window, scale or normalise differently.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from traindx.core.later import Later
from traindx.evidence.observed_items import SameCaseTwice
from traindx.watch.probes.functions.common import parts_of
from traindx.watch.probes.item_spots import stores
from traindx.watch.probes.making import as_array, seed
from traindx.watch.probes.pipeline_places import step_that_differs
from traindx.watch.runtime.call_sites import CallSite, users
from traindx.watch.runtime.structure import known_length

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

ENOUGH_SECONDS = 2.0  # of processor time, after which no further item is begun
LEAST_MAKINGS = 20  # of items, for all cases
CASES = 3
DRAWS = 10  # of an augmented item: one of them lies as the other pipeline has it
LEAST_VALUES = 256
BINS = 64
FEW = 32  # values of a map of labels
MOST_LABELS = 4_000_000
EXPLAINED = 0.98  # of the variance: the places are the same
SETTLED = 0.02  # of the spread, between two makings: nothing is drawn for the values


def compared(torch: Any, training: Any, other: Any) -> SameCaseTwice | None:
    """Some cases of one data set through both. In a child only.

    Args:
        torch: The script's torch.
        training: The data set that is trained on; it is given cases of the other one.
        other: A data set that is evaluated on.
    """
    begun = time.process_time()
    until = begun + ENOUGH_SECONDS
    length = known_length(other) or 0
    path = _image_path(training, other)
    if path is None or time.process_time() - begun > 2 * ENOUGH_SECONDS / LEAST_MAKINGS:
        return None  # an item of each shows that there is no time for all
    cases: list[_Case] = []
    for index in sorted({0, length // 2, length - 1}):
        case = _case(torch, training, other, index, path, until)
        if case is None:
            return None
        cases.append(case)
    ours, theirs = [case.here for case in cases], [case.there for case in cases]
    if len(cases) < CASES or all(_apart(one, ours[0]) < SETTLED for one in ours[1:]):
        return None  # what was put in did not come out
    errors = [_apart(case.here, case.there) for case in cases]
    if min(errors) > SETTLED and not _like_its_own(torch, training, path, cases):
        return None
    differing = None
    if min(errors) > SETTLED:
        differing = _differing(torch, training, other, length // 2) or step_that_differs(training, other)
    told = [place for place in cases[0].labels if all(place in case.labels for case in cases)]
    apart = [place for place in told if _renumbered([case.labels[place] for case in cases])]
    return SameCaseTwice(
        training=type(training).__name__,
        dataset=type(other).__name__,
        cases=len(cases),
        shape=tuple(theirs[0].shape),
        least=min(errors),
        channels_turned=all(case.turned for case in cases),
        slope=float(np.median([_slope(case) for case in cases])),
        mean=float(np.median([one.mean() for one in theirs])),
        spread=float(np.median([one.std() for one in theirs])),
        mean_in_training=float(np.median([one.mean() for one in ours])),
        spread_in_training=float(np.median([one.std() for one in ours])),
        name=differing[0] if differing is not None else "",
        value=differing[1] if differing is not None else "",
        value_in_training=differing[2] if differing is not None else "",
        where=differing[3].location() if differing is not None else None,
        targets=len(told),
        targets_apart=len(apart),
        target=apart[0] if apart else "",
    )


@dataclass
class _Case:
    """One raw case: its image as the evaluation has it and as the training has it, and the labels of both by place."""

    there: Any
    here: Any
    turned: bool
    labels: dict[str, tuple[Any, Any]]


def _case(torch: Any, training: Any, other: Any, index: int, path: str, until: float) -> _Case | None:
    """None where the evaluation draws, where the places are others, or where values are drawn in training."""
    there = _image(torch, other, index, path, 0)
    if there is None or _apart(there, _image(torch, other, index, path, 1)) > SETTLED:
        return None
    said = _labels(torch, other, index, path, 0)
    draws: list[Any] = []
    labels: dict[str, tuple[Any, Any]] = {}
    turned = 0
    with _given(torch, training, other, index) as done:
        for number in range(DRAWS if done else 0):
            if time.process_time() > until or len(draws) >= 3:
                break
            here = _image(torch, training, 0, path, number)
            if here is None or here.shape != there.shape:
                continue
            if _same_places(here, there):
                found = _labels(torch, training, 0, path, number)
                labels |= {place: (said[place], found[place]) for place in said if place in found}
            elif _channels_turned(here, there):
                turned += 1
            else:
                continue
            draws.append(here)
    if len(draws) < 2 or max(_apart(draws[0], one) for one in draws[1:]) > SETTLED:
        return None
    return _Case(there, draws[0], turned == len(draws), labels)


def _like_its_own(torch: Any, training: Any, path: str, cases: list[_Case]) -> bool:
    """What the training makes of these cases is like what it makes of its own: it keeps cases in the same form.

    One that normalises what it keeps once, when it is made, would give a raw entry as it is.
    """
    length = known_length(training) or 0
    own = [_image(torch, training, index, path, 0) for index in sorted({0, length // 2, length - 1})]
    known = [one for one in own if one is not None]
    return bool(known) and _off(known, [case.here for case in cases]) < 0.5 * _off(
        [case.there for case in cases], [case.here for case in cases]
    )


def _off(some: list[Any], others: list[Any]) -> float:
    """How far two groups of images are apart in mean and spread, by their medians: the channel with the most."""
    return max(
        _channel_off([_channels(one)[at] for one in some], [_channels(one)[at] for one in others])
        for at in range(min(len(_channels(one)) for one in (*some, *others)))
    )


def _channel_off(some: list[Any], others: list[Any]) -> float:
    mean, spread = np.median([one.mean() for one in some]), max(float(np.median([one.std() for one in some])), 1e-12)
    there = max(float(np.median([one.std() for one in others])), 1e-12)
    moved = abs(float(mean - np.median([one.mean() for one in others])))
    return moved / max(spread, there) + abs(float(np.log(spread / there)))


def _slope(case: _Case) -> float:
    return float(np.polyfit(case.there.ravel(), case.here.ravel(), 1)[0]) if case.there.std() > 0 else 0.0


def _renumbered(pairs: list[tuple[Any, Any]]) -> bool:
    """Each label of the one is one label of the other, two at least, and not all are the same."""
    if any(one.shape != other.shape for one, other in pairs):
        return False
    both = {pair for one, other in pairs for pair in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True)}
    ours, theirs = {one for one, _ in both}, {other for _, other in both}
    return len(both) == len(ours) == len(theirs) >= 2 and any(one != other for one, other in both)


def _labels(torch: Any, dataset: Any, index: int, path: str, number: int) -> dict[str, Any]:
    """Whole numbers of an item, and maps of a few of them, by their place."""
    seed(torch, number)
    found: dict[str, Any] = {}
    for place, one in parts_of(dataset[index]):
        value = np.asarray(one) if type(one) is int else as_array(one)
        if value is None and hasattr(one, "item") and getattr(one, "shape", None) == ():
            value = np.asarray(one.item())
        if place == path or value is None or value.dtype.kind not in "buif" or value.size > MOST_LABELS:
            continue
        whole = value.astype(np.float64)
        if (whole == np.round(whole)).all() and len(np.unique(whole)) <= FEW:
            found[place] = whole
    return found


def _image_path(training: Any, other: Any) -> str | None:
    """Where both have their image: the largest array of floating point at a path that both items have."""
    first, second = dict(_floats(training[0])), dict(_floats(other[0]))
    both = [path for path in first if path in second and first[path].shape == second[path].shape]
    return max(both, key=lambda path: int(first[path].size), default=None)


def _floats(item: Any) -> Iterator[tuple[str, Any]]:
    for path, one in parts_of(item):
        array = as_array(one)
        if array is not None and array.dtype.kind == "f" and array.ndim >= 2 and array.size >= LEAST_VALUES:
            yield path, array


def _image(torch: Any, dataset: Any, index: int, path: str, number: int) -> Any | None:
    seed(torch, number)
    array = dict(_floats(dataset[index])).get(path)
    return array.astype(np.float64) if array is not None and np.isfinite(array).all() else None


class _given:  # noqa: N801  (a context manager, used like a function)
    """Inside, the first entry of the one data set is an entry of the other."""

    def __init__(self, torch: Any, training: Any, other: Any, index: int) -> None:
        self.places = _longest(list(stores(torch, training, 0)))
        self.values = [keep[at] for keep, at in _longest(list(stores(torch, other, index)))]
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> bool:
        """Whether they keep the same things in the same order."""
        if not self.places or len(self.places) != len(self.values):
            return False
        for (keep, at), value in zip(self.places, self.values, strict=True):
            if not _like(keep[at], value):
                return False
        for (keep, at), value in zip(self.places, self.values, strict=True):
            before = keep[at] if type(keep) is list else _copy(keep[at])
            self._undo.append(lambda keep=keep, at=at, before=before: keep.__setitem__(at, before))  # type: ignore[misc]
            keep[at] = value
        return True

    def __exit__(self, *_: object) -> None:
        for back in reversed(self._undo):
            back()


def _longest(entries: list[tuple[Any, int]]) -> list[tuple[Any, int]]:
    """Containers with an entry an item; a mean of three channels has an entry for the first index, too."""
    most = max((len(keep) for keep, _ in entries), default=0)
    return [one for one in entries if len(one[0]) == most]


def _copy(value: Any) -> Any:
    return value.clone() if hasattr(value, "clone") else value.copy() if hasattr(value, "copy") else value


def _like(one: Any, other: Any, depth: int = 0) -> bool:
    """Of one kind, so that the one can stand where the other stood."""
    if type(one) is not type(other):
        return False
    if depth < 3 and isinstance(one, tuple):
        return len(one) == len(other) and all(_like(a, b, depth + 1) for a, b in zip(one, other, strict=True))
    if depth < 3 and isinstance(one, dict):
        return one.keys() == other.keys() and all(_like(one[key], other[key], depth + 1) for key in one)
    return not hasattr(one, "shape") or (one.dtype == other.dtype and len(one.shape) == len(other.shape))


def _apart(one: Any, other: Any) -> float:
    """Root mean square difference over the larger spread; 1 for other shapes."""
    if one is None or other is None or one.shape != other.shape:
        return 1.0
    scale = max(float(one.std()), float(other.std()), 1e-12)
    return float(((one - other) ** 2).mean() ** 0.5) / scale


def _same_places(one: Any, other: Any) -> bool:
    """In every channel each value of one goes with one value of the other, as far as neither is cut off."""
    pairs = zip(_channels(one), _channels(other), strict=True)
    return all(max(_explained(a.ravel(), b.ravel()), _explained(b.ravel(), a.ravel())) >= EXPLAINED for a, b in pairs)


def _channels(array: Any) -> list[Any]:
    if array.ndim == 3 and array.shape[0] <= 4:
        return list(array)
    return list(np.moveaxis(array, -1, 0)) if array.ndim == 3 and array.shape[-1] <= 4 else [array]


def _channels_turned(one: Any, other: Any) -> bool:
    """The three channels of the one are those of the other in reverse: red for blue."""
    axes = [axis for axis in (0, -1) if one.ndim == 3 and one.shape[axis] == 3]
    return any(_apart(np.flip(one, axis), other) < SETTLED for axis in axes)


def _explained(by: Any, values: Any) -> float:
    """Share of the variance of values that their means over bins of the others explain."""
    total = float(values.var())
    edges = np.unique(np.quantile(by, np.linspace(0, 1, BINS + 1)))
    if total <= 0 or len(edges) < 3:
        return 0.0
    at = np.clip(np.searchsorted(edges, by, side="right") - 1, 0, len(edges) - 2)
    # Within a bin the relation is taken for a straight line: bins are coarse where values are few.
    left = 0.0
    for number in range(len(edges) - 1):
        inside = at == number
        x, y = by[inside], values[inside]
        if len(x) > 2:
            spread = float(x.var())
            slope = float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread > 0 else 0.0
            left += float(((y - y.mean() - slope * (x - x.mean())) ** 2).sum())
    return float(1 - left / (total * values.size))


# -- the line ----------------------------------------------------------------------------------------------------------


def _differing(torch: Any, training: Any, other: Any, index: int) -> tuple[str, str, str, CallSite] | None:
    """The first number that a name of a function holds here, and not in the function of that name in the training."""
    theirs = _numbers(torch, other, index)
    with _given(torch, training, other, index):
        ours = _numbers(torch, training, 0)
    for key, (value, site) in theirs.items():
        if key in ours and ours[key][0] != value:
            return f"{key[1]} in {key[0]}", value, ours[key][0], site
    return None


def _numbers(torch: Any, dataset: Any, index: int) -> dict[tuple[str, str], tuple[str, CallSite]]:
    """Numbers, and few of them, that the user's functions give names while an item is made, in this order."""
    found: dict[tuple[str, str], tuple[str, CallSite]] = {}
    lines: dict[int, int] = {}

    def note(frame: FrameType) -> None:
        line = lines.get(id(frame))
        for name, value in frame.f_locals.items():
            parts = value if isinstance(value, tuple | list) else [value]
            plain = 0 < len(parts) <= 4 and all(isinstance(one, int | float) for one in parts)
            if plain and line is not None and name not in frame.f_code.co_varnames[: frame.f_code.co_argcount]:
                site = CallSite(frame.f_code.co_filename, line, frame.f_code.co_qualname)
                found.setdefault((frame.f_code.co_name, name), (str(value), site))

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        if event in ("line", "return"):
            note(frame)
            lines[id(frame)] = frame.f_lineno
        return local

    def enter(frame: FrameType, event: str, arg: Any) -> Any:
        lines.pop(id(frame), None)
        return local if users(frame.f_code.co_filename) else None

    seed(torch, 0)
    sys.settrace(enter)
    try:
        with suppress(Exception):
            dataset[index]
    finally:
        sys.settrace(None)
    return found
