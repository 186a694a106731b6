"""Arrays of two data sets that are each standardised by figures of their own: told by their being exactly so.

An array that was standardised with its own mean and deviation has mean 0 and deviation 1 to rounding. One that was
standardised with the training's is off by chance, which for n rows is 1/sqrt(n): within a two-hundredth of that it
comes once in ten thousand times and more. Images, or groups of rows (subjects, sessions), that are each standardised
alone make the whole exact as well, and are told by that. In a child process only, as it reads whatever is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from traindx.core.later import Later
from traindx.evidence.observed_items import PartsStandardised
from traindx.watch.probes.live_calls import assigned_in
from traindx.watch.probes.making import as_array

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

DEEP = 2  # data sets inside data sets
LEAST_ROWS = 50
CLOSE = 0.005  # of what chance would do to a mean and a deviation
GROUPED = 1e-3  # of a sum over rows, where a group of rows ends; rounding of single precision leaves less
LEAST_GROUP = 5  # rows


def standardised_alone(torch: Any, training: Any, other: Any) -> PartsStandardised | None:
    """The first array that is exactly standardised in both data sets; None where there is none to ask."""
    ours = {name: (owner, array) for name, owner, array in _arrays(torch, training)}
    looked = 0
    for name, owner, array in _arrays(torch, other):
        if name not in ours or array.shape[1:] != ours[name][1].shape[1:]:
            continue
        known = ours[name][1]
        if np.shares_memory(known, array) or (known.shape == array.shape and bool((known == array).all())):
            continue
        looked += 1
        how = next((one for one in standardised(known) if one in standardised(array)), None)
        if how is None:
            continue
        site = assigned_in(type(owner), name.rpartition(".")[2])
        return PartsStandardised(
            dataset=type(other).__name__,
            training=type(training).__name__,
            name=name,
            over=how,
            rows=len(array),
            rows_in_training=len(known),
            arrays=looked,
            where=site.location() if site is not None else None,
        )
    if looked:
        return PartsStandardised(dataset=type(other).__name__, training=type(training).__name__, arrays=looked)
    return None


def standardised(array: Any) -> list[str]:
    """Over what an array has mean 0 and deviation 1: columns, channels (the second axis, or the last), all values."""
    values = np.asarray(array, dtype="float64").reshape(len(array), *(array.shape[1:] or (1,)))
    if not np.isfinite(values).all():
        return []
    rows = values.reshape(len(values), -1)
    if rows.shape[1] > 1 and (abs(rows[:200].mean(axis=1)) < 1e-3).mean() > 0.5:
        return []  # each row alone
    each = "each column" if values.ndim < 3 else "each channel"
    forms = [(each, np.moveaxis(values, axis, 1)) for axis in {1, values.ndim - 1}]
    found = []
    for how, kept in (*forms, ("all values", rows[:, None])):
        kept = kept.reshape(len(kept), kept.shape[1], -1)  # noqa: PLW2901
        if how == each and kept.shape[1] == 1 and rows.shape[1] > 1:
            continue
        deviation = kept.std(axis=(0, 2))
        varies = deviation > 1e-6
        chance = CLOSE / len(kept) ** 0.5
        one_less = 1 / (kept.shape[0] * kept.shape[2])  # of a deviation that is divided by one value less
        exact = (abs(kept.mean(axis=(0, 2))) < chance) & (deviation < 1 + chance) & (deviation > 1 - chance - one_less)
        if varies.any() and exact[varies].all() and not _grouped(kept[:, varies].mean(axis=2)):
            found.append(how)
    return found


def _grouped(rows: Any) -> bool:
    """True if sums over rows come back to 0 on the way: groups of rows are each standardised alone."""
    sums = abs(np.cumsum(rows, axis=0)).max(axis=1)
    return bool((sums[LEAST_GROUP - 1 : -LEAST_GROUP] < GROUPED).any())


def _arrays(torch: Any, dataset: Any, depth: int = 0) -> Iterator[tuple[str, Any, Any]]:
    """Arrays of numbers that a data set keeps, with a row an item or a step of time, by attribute."""
    if depth > DEEP or isinstance(dataset, torch.utils.data.Subset):
        return
    try:
        fields = object.__getattribute__(dataset, "__dict__")
    except AttributeError:
        return
    for name, value in list(fields.items()):
        if isinstance(value, torch.utils.data.Dataset):
            for path, owner, array in _arrays(torch, value, depth + 1):
                yield f"{name}.{path}", owner, array
            continue
        for at, one in enumerate(value[:4]) if isinstance(value, tuple) else [(-1, value)]:
            array = as_array(one)
            if array is not None and array.dtype.kind == "f" and array.ndim <= 5 and len(array) >= LEAST_ROWS:
                yield f"{name}[{at}]" if at >= 0 else name, dataset, array
