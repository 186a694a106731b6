"""What a reading gives and what it was made of: figures, and arrays before and after."""

from __future__ import annotations

import math
from typing import Any

from traindx.watch.probes.functions.common import as_tensor, number

MOST_FIGURES = 64  # numbers of a reading
SAME = 1e-6
PLAIN = (int, float, str, bool, type(None))
Figures = tuple[float, ...]


def is_plain(torch: Any, value: Any, depth: int = 0) -> bool:
    """Numbers, arrays, and lists of such: nothing that a call could use up or train."""
    if isinstance(value, PLAIN) or as_tensor(torch, value) is not None:
        return not isinstance(value, torch.nn.Parameter)
    if type(value).__module__ == "numpy" or type(value).__name__ == "dtype":
        return True
    if depth < 3 and type(value) in (list, tuple):
        return all(is_plain(torch, one, depth + 1) for one in value)
    if depth < 3 and type(value) is dict:
        return all(is_plain(torch, one, depth + 1) for one in value.values())
    return False


def arrays_in(torch: Any, value: Any) -> list[Any]:
    """Every array in a value as a copy, a list of numbers as one."""
    one = as_tensor(torch, value)
    if one is not None:
        return [one.clone()]
    if type(value) is list and value and all(type(each) in (int, float) for each in value):
        return [torch.tensor(value, dtype=torch.float64)]
    if type(value) in (list, tuple):
        return [each for part in value for each in arrays_in(torch, part)]
    if type(value) is dict:
        return [each for part in value.values() for each in arrays_in(torch, part)]
    return []


def difference(torch: Any, before: list[Any], after: list[Any]) -> str:
    """What has become of arrays, as a continuation of the name; "" where they are as they were."""
    if len(before) != len(after) or any(one.shape != other.shape for one, other in zip(before, after, strict=False)):
        sizes = [sum(one.numel() for one in several) for several in (before, after)]
        return f"has {sizes[1]} values where it had {sizes[0]}" if sizes[0] != sizes[1] else "has another shape"
    for one, other in zip(before, after, strict=True):
        if one.is_complex() or other.is_complex():
            continue
        a, b = one.double().reshape(-1), other.double().reshape(-1)
        changed = (a != b) & ~(a.isnan() & b.isnan())
        count = int(changed.sum())
        if not count:
            continue
        if bool(a[changed].isnan().all()):
            return f"loses {count} NaN of {a.numel()} values, which become {float(b[changed][0]):g}"
        if torch.equal(a.nan_to_num().sort().values, b.nan_to_num().sort().values):
            return f"comes out with its {a.numel()} values in another order"
        at = int(changed.nonzero()[0])
        return f"comes out with {count} of {a.numel()} values changed, as {float(a[at]):.4g} to {float(b[at]):.4g}"
    return ""


def figures_in(torch: Any, result: Any, depth: int = 0) -> Figures | None:
    """Numbers, or few of them in an array, a tuple or a dictionary; None of anything else."""
    one = number(torch, result)
    if one is not None:
        return (one,)
    array = as_tensor(torch, result)
    if array is not None:
        return tuple(array.double().reshape(-1).tolist()) if 0 < array.numel() <= MOST_FIGURES else None
    if depth > 2 or type(result) not in (list, tuple, dict) or not result:
        return None
    parts = [figures_in(torch, part, depth + 1) for part in (result.values() if type(result) is dict else result)]
    known = [part for part in parts if part is not None]
    flat = tuple(value for part in known for value in part)
    return flat if flat and len(known) == len(parts) and len(flat) <= MOST_FIGURES else None


def alike(one: Figures | None, other: Figures | None) -> bool:
    """True if two readings say the same, as far as round-off goes."""
    if one is None or other is None or len(one) != len(other):
        return False
    pairs = zip(one, other, strict=True)
    return all(math.isclose(a, b, rel_tol=SAME, abs_tol=1e-12) or (math.isnan(a) and math.isnan(b)) for a, b in pairs)


def first_apart(one: Figures, other: Figures) -> tuple[float, float]:
    """The first two figures that differ."""
    return next(((a, b) for a, b in zip(one, other, strict=False) if not alike((a,), (b,))), (0.0, 0.0))
