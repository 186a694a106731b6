"""Functions that move an image and its mask: given the same picture twice, do they move it to the same place?

A spot is drawn at one place into both, in the form that each has. What a function does to grey values does not matter;
where the spot lies afterwards does.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import MovedTried
from traindx.watch.probes.functions.common import parts_of, words
from traindx.watch.probes.functions.pictures import LEAST, Place, is_mask, is_picture, size_of, spot_in, spot_like
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.making import seed
from traindx.watch.probes.recorded import RecordedCall, arguments_for, copied
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.syntax import walk

TRIES = 8
TARGETS = {
    "mask", "masks", "label", "labels", "seg", "segmentation", "gt", "annotation", "annot", "target", "lbl", "truth",
    "contour", "roi", "msk", "y",
}  # fmt: skip
DRAWS = {"random", "randint", "uniform", "rand", "choice", "randrange", "integers", "normal"}
PLACES = ((0.35, 0.6), (0.6, 0.4), (0.4, 0.35), (0.55, 0.65))  # shares of height and width, none at the centre
_ASIDE = ("seed", "set_state", "setstate", "set_rng_state", "get_params", "deterministic", "replay", "to_deterministic")


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Functions that are given an image and a mask, and functions that are called for one after the other."""
    together = [(call, record) for call in _once(calls) if (record := _together(torch, call)) is not None]
    inner = {call.caller.symbol for call, record in together if record.apart and call.caller is not None}
    for call, record in together:
        if not record.apart or call.code.co_qualname not in inner:  # else what it calls is at fault
            yield record
    known = tuple(call.code.co_qualname for call, record in together if record.apart)
    yield from _one_by_one(torch, [one for one in calls if one.caller and not one.caller.symbol.startswith(known)])
    for call in _once([one for one in calls if one.code.co_name == "__getitem__"]):
        yield from _transforms(torch, call)


def _once(calls: list[RecordedCall]) -> Iterator[RecordedCall]:
    """One call of every function and class."""
    seen: set[Any] = set()
    for call in calls:
        key = (call.code, type(call.args.get("self")))
        if key not in seen and not isinstance(call.args.get("self"), type):
            seen.add(key)
            yield call


# -- a function that is given both -----------------------------------------------------------------------------------


def _together(torch: Any, call: RecordedCall) -> MovedTried | None:
    if _learns(torch, call.args.get("self")):
        return None
    given = {name: dict(_pictures(torch, value)) for name, value in call.args.items() if name != "self"}
    flat = [(name, path, value) for name, found in given.items() for path, value in found.items()]
    results = [value for _, value in _pictures(torch, call.result)]
    if len(flat) != 2 or len(results) != 2 or len({size_of(torch, value) for _, _, value in flat}) != 1:
        return None
    if not _image_and_target(torch, [(f"{name}{path}", value) for name, path, value in flat]):
        return None
    apart = tries = 0
    farthest = 0.0
    for number in range(TRIES):
        values = {name: copied(torch, value) for name, value in call.args.items()}
        for name, path, value in flat:
            spot = spot_like(torch, value, _place(torch, value, number), square=is_mask(torch, value))
            values[name] = put(values[name], path, spot)
        try:
            seed(torch, 100 + number)
            positional, named = arguments_for(call.function, values)
            found = [spot_in(torch, value) for _, value in _pictures(torch, call.function(*positional, **named))]
        except Exception:  # whatever the script's function raises when it is given something else
            return None
        if len(found) != 2 or found[0] is None or found[1] is None:
            continue
        tries += 1
        distance = found[0].distance(found[1])
        if distance > _tolerance(torch, flat[0][2]):
            apart += 1
            farthest = max(farthest, distance)
    if tries < TRIES // 2:
        return None
    return MovedTried(
        function=call.shown,
        how="together",
        tries=tries,
        apart=apart,
        distance=farthest,
        where=_moves_at(call).location(),
    )


def _pictures(torch: Any, value: Any) -> Iterator[tuple[str, Any]]:
    for path, one in parts_of(value):
        if is_picture(torch, one):
            yield path, one


def put(container: Any, path: str, value: Any) -> Any:
    """A container with one of its parts replaced; ``path`` is as :func:`parts_of` gives it."""
    if not path:
        return value
    keys: list[Any] = [ast.literal_eval(part) for part in path[1:-1].split("][")]
    return _replaced(container, keys, value)


def _replaced(container: Any, keys: list[Any], value: Any) -> Any:
    inner = value if len(keys) == 1 else _replaced(container[keys[0]], keys[1:], value)
    if isinstance(container, dict):
        return {**container, keys[0]: inner}
    made = list(container)
    made[keys[0]] = inner
    return type(container)(made)


def _image_and_target(torch: Any, named: list[tuple[str, Any]]) -> bool:
    """One of the two is a mask and the other is none, by their values or by their names."""
    masks = [is_mask(torch, value) for _, value in named]
    spoken = [bool(TARGETS & set(words(name))) for name, _ in named]
    return masks[0] != masks[1] or spoken[0] != spoken[1]


def _place(torch: Any, value: Any, number: int) -> Place:
    height, width = size_of(torch, value)
    row, column = PLACES[number % len(PLACES)]
    return Place(row * height, column * width)


def _tolerance(torch: Any, value: Any) -> float:
    """Pixels: interpolation, and the fading edge of a spot that is partly cut off."""
    return max(2.5, 0.06 * min(size_of(torch, value)))


def _moves_at(call: RecordedCall) -> CallSite:
    """What it returns, or the comprehension or loop that goes through the pictures one by one."""
    node = definition_of(call.code)
    loops = (ast.For, ast.ListComp, ast.GeneratorExp)
    lines = [one.lineno for one in walk(node) if isinstance(one, loops)] if node is not None else []
    returns = [one.lineno for one in walk(node) if isinstance(one, ast.Return)] if node is not None else []
    return call.at(max(lines or returns, default=None))


# -- a function that is called for one and then for the other --------------------------------------------------------


def _one_by_one(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """One function of one picture, called for an image and for a mask by one and the same function."""
    groups: dict[tuple[Any, str, str], list[tuple[RecordedCall, str, Any]]] = {}
    for call in calls:
        given = [(name, value) for name, value in call.args.items() if name != "self" and is_picture(torch, value)]
        if len(given) != 1 or call.caller is None or not is_picture(torch, call.result):
            continue
        key = (call.code, call.caller.file, call.caller.symbol)
        groups.setdefault(key, []).append((call, *given[0]))
    for members in groups.values():
        yield from _apart_by_calls(torch, members)


def _apart_by_calls(torch: Any, members: list[tuple[RecordedCall, str, Any]]) -> Iterator[Record]:
    masks = [one for one in members if is_mask(torch, one[2])]
    images = [one for one in members if not is_mask(torch, one[2])]
    pair = next(((a, b) for a in images for b in masks if size_of(torch, a[2]) == size_of(torch, b[2])), None)
    if pair is None:
        return
    (call, name, value), (other, _, _) = pair
    caller = call.caller
    if caller is None or other.caller is None or _seeds_again(caller):
        return
    if [v for k, v in _plain(call).items() if k != name] != [v for k, v in _plain(other).items() if k != name]:
        return  # with other arguments: what was drawn before is among them
    places = [spot for number in range(TRIES) if (spot := _moved_to(torch, call, name, value, number)) is not None]
    if len(places) < TRIES // 2:
        return
    apart = sum(place.distance(places[0]) > _tolerance(torch, value) for place in places[1:])
    yield MovedTried(
        function=call.shown,
        how="one-by-one",
        tries=len(places) - 1,
        apart=apart,
        distance=max((place.distance(places[0]) for place in places[1:]), default=0.0),
        where=CallSite(other.caller.file, other.caller.line, other.caller.symbol).location(),
    )


def _plain(call: RecordedCall) -> dict[str, Any]:
    """Arguments that can be compared, by name; an object stands for itself."""
    simple = (int, float, str, bool, tuple, list, type(None))
    return {name: value if isinstance(value, simple) else id(value) for name, value in call.args.items()}


def _moved_to(torch: Any, call: RecordedCall, name: str, value: Any, number: int) -> Place | None:
    """Where a function with random numbers of its own puts a spot that always lies at one place."""
    values = {key: copied(torch, one) for key, one in call.args.items()}
    values[name] = spot_like(torch, value, _place(torch, value, 0), square=is_mask(torch, value))
    try:
        seed(torch, 100 + number)
        positional, named = arguments_for(call.function, values)
        return spot_in(torch, call.function(*positional, **named))
    except Exception:
        return None


def _seeds_again(caller: CallSite) -> bool:
    """The calling function sets random states, so that both calls may draw the same."""
    from traindx.watch.runtime.source_text import parsed

    tree = parsed(caller.file)
    for node in walk(tree) if tree is not None else ():
        if not isinstance(node, ast.FunctionDef) or not node.lineno <= caller.line <= (node.end_lineno or 0):
            continue
        called = {_last(one.func) for one in walk(node) if isinstance(one, ast.Call)}
        if any(word in name for name in called for word in _ASIDE):
            return True
    return False


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


# -- a transform of a library's, called for one and then for the other -----------------------------------------------


def _transforms(torch: Any, call: RecordedCall) -> Iterator[Record]:
    """``self.transform(image)`` and ``self.transform(mask)`` in the making of an item."""
    node, dataset = definition_of(call.code), call.args.get("self")
    site = call.at(None)
    if node is None or dataset is None or _seeds_again(site._replace(line=node.body[0].lineno)):
        return
    made: dict[str, list[ast.Call]] = {}
    for one in walk(node):
        if isinstance(one, ast.Call) and len(one.args) == 1 and not one.keywords and _own_field(one.func):
            made.setdefault(_last(one.func), []).append(one)
    picture = next((value for _, value in _pictures(torch, call.result)), None)
    for name, several in made.items():
        targets = [one for one in several if TARGETS & set(words(ast.unparse(one.args[0])))]
        transform = inspect.getattr_static(dataset, name, None)
        if not targets or len(targets) == len(several) or picture is None or inspect.isfunction(transform):
            continue
        if not callable(transform) or _learns(torch, transform):
            continue
        places = _places_of(torch, transform, size_of(torch, picture))
        if len(places) < TRIES // 2:
            continue
        tolerance = max(2.5, 0.06 * min(size_of(torch, picture)))
        yield MovedTried(
            function=f"self.{name}",
            how="one-by-one",
            tries=len(places) - 1,
            apart=sum(place.distance(places[0]) > tolerance for place in places[1:]),
            distance=max(place.distance(places[0]) for place in places[1:]),
            where=call.at(targets[0].lineno).location(),
        )


def _own_field(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _learns(torch: Any, value: Any) -> bool:
    return isinstance(value, torch.nn.Module) and any(True for _ in value.parameters())


def _places_of(torch: Any, transform: Any, size: tuple[int, int]) -> list[Place]:
    """Where a transform puts one spot, with other random numbers each time; tried on the forms that pictures have."""
    import numpy as np

    height, width = max(2 * LEAST, round(1.4 * size[0])), max(2 * LEAST, round(1.4 * size[1]))
    ramp = np.linspace(0, 1, height * width, dtype=np.float32).reshape(height, width)
    forms: list[Any] = [torch.from_numpy(ramp)[None], ramp, ramp[..., None]]
    library = sys.modules.get("PIL.Image")
    if library is not None:
        grey = library.fromarray((255 * ramp).astype(np.uint8))
        forms = [grey, grey.convert("RGB"), *forms]
    for form in forms:
        found: list[Place] = []
        try:
            for number in range(TRIES):
                seed(torch, 100 + number)
                spot = spot_in(torch, transform(spot_like(torch, form, _place(torch, form, 0))))
                found += [spot] if spot is not None else []
        except Exception:  # another form, then
            continue
        if found:
            return found
    return []


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function names a target beside something else, draws, or makes items."""
    names = {one.arg for one in (*node.args.args, *node.args.kwonlyargs)}
    spoken = {word for name in names for word in words(name)}
    if TARGETS & spoken and len(names) > 1:
        return True
    calls = [one.func for one in walk(node) if isinstance(one, ast.Call)]
    draws = bool({_last(one) for one in calls} & DRAWS)
    if node.name == "__getitem__":
        return draws or any(_own_field(one) for one in calls)
    return draws and bool(
        {"image", "images", "img", "imgs", "picture", "x", "sample", "data", "array", "volume"} & names
    )
