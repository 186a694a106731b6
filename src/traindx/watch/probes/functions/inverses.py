"""Functions whose names say that one undoes the other: does it?"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import InverseTried
from traindx.watch.probes.functions.common import as_tensor, like, spread, words
from traindx.watch.probes.recorded import RecordedCall, called, copied, returned_at

OPPOSITES = (
    ("encode", "decode"), ("normalize", "denormalize"), ("normalize", "unnormalize"), ("normalise", "denormalise"),
    ("normalise", "unnormalise"), ("norm", "denorm"), ("norm", "unnorm"), ("standardize", "destandardize"),
    ("standardize", "unstandardize"), ("standardise", "unstandardise"), ("standardise", "destandardise"),
    ("scale", "unscale"), ("scale", "descale"), ("patchify", "unpatchify"), ("pack", "unpack"), ("pad", "unpad"),
    ("quantize", "dequantize"), ("fft", "ifft"), ("fft2", "ifft2"), ("fft2c", "ifft2c"), ("fftc", "ifftc"),
    ("fft3", "ifft3"), ("rfft", "irfft"), ("dct", "idct"), ("dwt", "idwt"), ("partition", "reverse"),
    ("forward", "inverse"), ("transform", "inverse"), ("compress", "decompress"), ("squash", "unsquash"),
    ("whiten", "unwhiten"), ("shift", "unshift"), ("shuffle", "unshuffle"), ("permute", "unpermute"),
    ("flatten", "unflatten"), ("fold", "unfold"), ("split", "merge"),
)  # fmt: skip
STEPS_OF_GREY = (255.0, 65535.0, 4095.0, 1000.0)  # to and from integers, on purpose


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every call of a function of the user's that has a partner beside it."""
    done: set[tuple[Any, Any]] = set()
    for call in calls:
        for partner, named in partners(call):
            if (call.code, partner.__code__) in done:
                continue
            try:
                record = _tried(torch, call, partner, named, calls)
            except Exception:  # whatever the script's functions raise when they are given something else
                continue
            if record is not None:
                done.add((call.code, partner.__code__))
                yield record


def partners(call: RecordedCall) -> Iterator[tuple[FunctionType, bool]]:
    """Functions beside this one that its name is the opposite of, and whether names are opposites as such."""
    parts = call.code.co_qualname.split(".")
    beside: dict[str, Any]
    if len(parts) > 1 and "<locals>" not in parts and call.args:
        kind = type(next(iter(call.args.values())))
        beside = {name: inspect.getattr_static(kind, name, None) for name in dir(kind)}
    else:
        beside = call.function.__globals__
    own = words(parts[-1])
    for name, value in beside.items():
        if not isinstance(value, FunctionType) or value is call.function:
            continue
        if value.__code__.co_filename != call.code.co_filename:
            continue
        how = opposite(own, words(name))
        if how:
            yield value, how == "named"


def opposite(one: list[str], other: list[str]) -> str:
    """``named`` where two names are opposites word by word, ``ends`` for ``to_a`` and ``to_b`` and ``a_to_b`` twice."""
    if len(one) == len(other):
        differ = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
        if len(differ) == 1 and (differ[0] in OPPOSITES):
            return "named"
        if len(one) >= 3 and "to" in one:
            at = one.index("to")
            if other[at : at + 1] == ["to"] and one[:at] == other[at + 1 :] and one[at + 1 :] == other[:at]:
                return "named"
        if len(one) == 2 and one[0] == other[0] == "to" and one[1] != other[1]:
            return "ends"
        if len(one) == 2 and {one[0], other[0]} == {"to", "from"} and one[1] == other[1]:
            return "named" if one[0] == "to" else ""
    return ""


def _tried(
    torch: Any, call: RecordedCall, partner: FunctionType, named: bool, calls: list[RecordedCall]
) -> Record | None:
    data = _data(torch, call)
    if data is None or _learns(torch, call):
        return None
    name, given = data
    x = as_tensor(torch, given)
    result = as_tensor(torch, call.result)
    if x is None or result is None or x.numel() < 4 or not (x.is_floating_point() or x.is_complex()):
        return None
    if not result.is_floating_point() and not result.is_complex():
        return None
    back = _back(torch, call, partner, calls, call.result, given, name)
    if back is None:
        return None
    error, came_back = _error(torch, x, back)
    if error is None:
        return None
    even = -1.0
    if error > 0.01 and x.dim() >= 2 and any(size % 2 for size in x.shape[-2:]):
        spatial = [size - size % 2 if axis >= x.dim() - 2 else size for axis, size in enumerate(x.shape)]
        cut = x[tuple(slice(0, size) for size in spatial)]
        again = _back(torch, call, partner, calls, call.again(torch, **{name: like(torch, cut, given)}), cut, name)
        even_error = _error(torch, cut, again)[0] if again is not None else None
        even = even_error if even_error is not None else -1.0
    slope = offset = 0.0
    if error > 0.01:
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * spread(x) * 0.01
        moved = (x + noise.to(x.dtype)) if not x.is_complex() else x
        again = _back(torch, call, partner, calls, call.again(torch, **{name: like(torch, moved, given)}), moved, name)
        if again is not None and not x.is_complex():
            slope = _slope(moved.double() - x.double(), again.double() - back.double())
            offset = float((came_back - x.double().expand(came_back.shape)).mean())
    shared = [
        one for one in inspect.signature(partner).parameters if one in call.args and one not in (name, "self", "cls")
    ]
    same = came_back.numel() == x.numel() and error > 0.01
    rearranged = same and bool(
        torch.equal(came_back.flatten().sort().values, x.flatten().sort().values) if not x.is_complex() else False
    )
    return InverseTried(
        first=call.code.co_name,
        second=partner.__name__,
        named=named,
        shared=tuple(shared),
        shape=tuple(x.shape),
        error=error,
        even=even,
        slope=slope,
        offset=offset,
        rearranged=rearranged,
        where=returned_at(call.code).location(),
    )


def _data(torch: Any, call: RecordedCall) -> tuple[str, Any] | None:
    for name, value in call.args.items():
        if name not in ("self", "cls"):
            return (name, value) if as_tensor(torch, value) is not None else None
    return None


def _learns(torch: Any, call: RecordedCall) -> bool:
    """A network is at work, which learns to invert another one as far as it can."""
    return any(
        isinstance(value, torch.nn.Module) and any(True for _ in value.parameters()) for value in call.args.values()
    )


def _back(
    torch: Any,
    call: RecordedCall,
    partner: FunctionType,
    calls: list[RecordedCall],
    result: Any,
    given: Any,
    name: str,
) -> Any | None:
    """What the partner makes of a result, with the other arguments of the first call."""
    own = next((one for one in calls if one.code is partner.__code__), None)
    values: dict[str, Any] = {}
    data_name = ""
    for parameter in inspect.signature(partner, follow_wrapped=False).parameters.values():
        if parameter.name in ("self", "cls"):
            values[parameter.name] = call.args.get(parameter.name)
        elif not data_name:
            data_name = parameter.name
        elif parameter.name in call.args and parameter.name != name:
            values[parameter.name] = copied(torch, call.args[parameter.name])
        elif parameter.default is not parameter.empty:
            continue
        elif own is not None and as_tensor(torch, own.args.get(parameter.name)) is None:
            values[parameter.name] = own.args.get(parameter.name)
        else:
            return None
    if not data_name:
        return None
    tensor = as_tensor(torch, result)
    choices = [result] + ([result[0]] if tensor is not None and tensor.dim() > 2 else [])
    for choice in choices:
        try:
            back = as_tensor(torch, called(torch, partner, {**values, data_name: copied(torch, choice)}))
        except Exception:  # shapes that do not fit
            continue
        if back is None:
            continue
        x = as_tensor(torch, given)
        x = x if choice is result else x[0] if x is not None else None
        if x is not None and _fits(x.shape, back.shape):
            return back if choice is result else back.unsqueeze(0)
    return None


def _fits(one: Any, other: Any) -> bool:
    if len(one) != len(other):
        return False
    return all(a in (b, 1) for a, b in zip(one, other, strict=True))


def _error(torch: Any, x: Any, back: Any) -> tuple[float | None, Any]:
    x = x[:1] if x.dim() == back.dim() and back.shape[0] == 1 else x
    if not _fits(x.shape, back.shape):
        return None, back
    if x.is_complex() != back.is_complex():
        return None, back
    wide = torch.complex128 if x.is_complex() else torch.float64
    x, back = x.to(wide).expand(back.shape), back.to(wide)
    scale = spread(x)
    error = float((back - x).abs().square().mean().sqrt())
    if not scale > 0 or not math.isfinite(error):
        return None, back
    return error / scale, back


def _slope(change: Any, response: Any) -> float:
    """How much comes back changed for what went in changed, where that is one number; else 0."""
    if not _fits(change.shape, response.shape):
        return 0.0
    change = change.expand(response.shape)
    slope = float((change * response).sum() / change.square().sum())
    left = float((response - slope * change).square().mean().sqrt())
    if abs(slope) < 1e-6 or left > 0.02 * abs(slope) * float(change.square().mean().sqrt()):
        return 0.0
    if any(abs(slope / step - 1) < 0.01 or abs(slope * step - 1) < 0.01 for step in STEPS_OF_GREY):
        return 0.0
    return slope


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function could be one of these, as far as its source tells."""
    parts = set(words(node.name))
    return any(first in parts for first, _ in OPPOSITES) or "to" in parts
