"""Functions that are given a network and an image, and give back something of its size: is a spot where it was?

Sliding windows with the network inside, flips that are made and undone around it, padding and cropping: whatever is
done to places before the network is undone after it. In a child process the network is replaced by one that marks what
differs from the ground of its input, and pictures with one spot each are passed through.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import WindowsTried
from traindx.watch.probes.functions.common import as_tensor, like, words
from traindx.watch.probes.functions.windows import SPOTS, UNLIKE
from traindx.watch.probes.making import seed
from traindx.watch.probes.recorded import RecordedCall, arguments_for, copied, returned_at

LEAST = 24  # pixels of a side
MARK = 4.0  # what the network that is put in place gives at a spot, and less that elsewhere
SHARE = 0.05  # of a side that a spot has
NEAR = 0.03  # of a side, or 2.5 pixels, that a spot may lie elsewhere
SPEAKING = {
    "predict", "predicts", "prediction", "infer", "inference", "window", "windows", "sliding", "slide", "tta", "patch",
    "patches", "tile", "tiles", "segment", "apply", "forward", "run", "full", "whole", "augment", "augmented", "flip",
    "ensemble", "multi", "scale", "overlap", "stitch", "evaluate", "test", "validate",
}  # fmt: skip


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """One call of every function that has a network at hand and is given an image."""
    done: set[Any] = set()
    for call in calls:
        if call.code in done or call.code.co_name in ("forward", "__call__", "__init__"):
            continue
        try:
            record = _tried(torch, call)
        except Exception:  # whatever the script's functions raise when they are given something else
            continue
        if record is not None:
            done.add(call.code)
            yield record


def _tried(torch: Any, call: RecordedCall) -> WindowsTried | None:  # noqa: PLR0911  (one a doubt)
    found = _image(torch, call)
    if found is None:
        return None
    name, given, size = found
    networks = list(_networks(torch, call))
    x = as_tensor(torch, given)
    if not networks or x is None:
        return None
    with _marking(torch, networks, MARK) as shapes:
        ground = _through(torch, call, name, given, _level(torch, x))
        if ground is None or not shapes or not all(one[0] == one[1] for one in shapes):
            return None
        if ground.shape[-2:] != x.shape[-2:] or not torch.equal(
            ground, _through(torch, call, name, given, _level(torch, x), 1)
        ):
            return None  # it draws
        planes = ground.reshape(-1, ground.shape[-2] * ground.shape[-1])
        usual = planes.median(1, keepdim=True).values
        uneven = float(((planes - usual).abs() > UNLIKE * usual.abs().clamp(min=1e-9)).double().mean())
        shown = [_shown(torch, call, name, given, ground, place) for place in _places(size)]
    with _marking(torch, networks, MARK / 8):
        weak_ground = _through(torch, call, name, given, _level(torch, x))
        weak = [_shown(torch, call, name, given, weak_ground, place) for place in _places(size)]
    near = max(2.5, NEAR * min(size))
    if any(a is not None and b is not None and abs(a - b) > 0.5 * near for a, b in zip(shown, weak, strict=True)):
        return None  # what the network gives is where something is fetched from
    seen = [one for one in shown if one is not None]
    if len(seen) < len(SPOTS) // 2:
        return None  # what is done to the values hides them
    return WindowsTried(
        first=call.shown,
        second="",
        size=size,
        spoken=bool(SPEAKING & set(words(call.code.co_name))),
        spots=len(SPOTS),
        misplaced=sum(one > near for one in seen),
        vanished=len(SPOTS) - len(seen),
        distance=max(seen),
        uneven=uneven,
        where=returned_at(call.code).location(),
    )


def _image(torch: Any, call: RecordedCall) -> tuple[str, Any, tuple[int, int]] | None:
    """The only image among the arguments whose size the result has."""
    result = as_tensor(torch, call.result)
    if result is None or result.dim() < 2:
        return None
    found = [
        (name, value)
        for name, value in call.args.items()
        if name != "self"
        and (one := as_tensor(torch, value)) is not None
        and one.dim() >= 2
        and min(one.shape[-2:]) >= LEAST
    ]
    if len(found) != 1:
        return None
    image = as_tensor(torch, found[0][1])
    if image is None or not image.is_floating_point() or image.shape[-2:] != result.shape[-2:]:
        return None
    return (*found[0], (int(image.shape[-2]), int(image.shape[-1])))


def _networks(torch: Any, call: RecordedCall) -> Iterator[Any]:
    """Networks among the arguments, and those that the object keeps which the function belongs to."""
    owner = call.args.get("self")
    kept = list(getattr(owner, "__dict__", {}).values()) + list(getattr(owner, "_modules", {}).values())
    for value in [*call.args.values(), *kept]:
        if isinstance(value, torch.nn.Module) and value is not owner and any(True for _ in value.parameters()):
            yield value


@contextmanager
def _marking(torch: Any, networks: list[Any], mark: float) -> Iterator[list[tuple[Any, Any]]]:
    """Inside, networks mark what differs from the ground of their input; sizes of what they were given and gave."""
    shapes: list[tuple[Any, Any]] = []

    def made(network: Any) -> Callable[..., Any]:
        channels: dict[Any, int] = {}

        def forward(*args: Any, **kwargs: Any) -> Any:
            given = next((one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor)), None)
            if given is None or given.dim() < 4:
                raise TypeError
            key = tuple(given.shape[1:])
            if key not in channels:
                with torch.no_grad():
                    real = type(network).forward(network, *args, **kwargs)
                if not isinstance(real, torch.Tensor) or real.dim() != given.dim():
                    raise TypeError
                channels[key] = int(real.shape[1])
                shapes.append((given.shape[2:], real.shape[2:]))
            grey = given.detach().double().mean(1, keepdim=True).nan_to_num()
            axes = tuple(range(1, grey.dim()))
            ground = grey.flatten(1).median(1).values.reshape(-1, *[1] * len(axes))
            off = (grey - ground).abs()
            top = off.amax(axes, keepdim=True)
            marks = torch.where((off > 0.3 * top) & (top > 1e-6), mark, -mark).to(given.dtype)
            others = [torch.zeros_like(marks)] * (channels[key] - 1)
            return torch.cat([marks, *others], 1)

        return forward

    try:
        for network in networks:
            object.__setattr__(network, "forward", made(network))
        yield shapes
    finally:
        for network in networks:
            vars(network).pop("forward", None)


def _level(torch: Any, x: Any) -> Any:
    return torch.full_like(x, float(x.min()))


def _places(size: tuple[int, int]) -> list[tuple[float, float]]:
    return [(row * (size[0] - 1), column * (size[1] - 1)) for column, row in SPOTS]


def _shown(
    torch: Any, call: RecordedCall, name: str, given: Any, ground: Any, place: tuple[float, float]
) -> float | None:
    """How far from its place a spot comes back; None where nothing changes."""
    x = as_tensor(torch, given)
    assert x is not None
    image = _level(torch, x)
    half = [max(1, round(SHARE * side / 2)) for side in x.shape[-2:]]
    rows, columns = (slice(round(p) - h, round(p) + h + 1) for p, h in zip(place, half, strict=True))
    image[..., rows, columns] = max(float(x.max()), float(x.min()) + 1e-3)
    back = _through(torch, call, name, given, image)
    if back is None or back.shape != ground.shape:
        return None
    change = (back - ground).abs()
    weight = change.reshape(-1, *change.shape[-2:]).sum(0)
    top = float(weight.max())
    if not top > 1e-6:
        return None
    where = (weight > 0.3 * top).nonzero().double().mean(0)
    return float((where - torch.tensor(place, dtype=torch.float64)).norm())


def _through(torch: Any, call: RecordedCall, name: str, given: Any, image: Any, number: int = 0) -> Any | None:
    values = {key: copied(torch, value) for key, value in call.args.items()}
    values[name] = like(torch, image, given)
    positional, named = arguments_for(call.function, values)
    seed(torch, number)
    with torch.no_grad():
        back = as_tensor(torch, call.function(*positional, **named))
    return back.double() if back is not None and bool(back.isfinite().all()) else None


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function takes a network, or belongs to what has one, and predicts by its name."""
    return bool(SPEAKING & set(words(node.name)))
