"""Networks that are made a second time and given the state of the first: do they compute the same?

What a network computes with and does not hold as a parameter or a buffer is drawn anew, and neither trained, moved nor
saved. Which attribute it is shows where exchanging it makes the second network the first one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import ReloadTried
from traindx.watch.probes.functions.common import as_tensor, parts_of, words
from traindx.watch.probes.live_calls import assigned_in
from traindx.watch.probes.making import seed
from traindx.watch.probes.recorded import RecordedCall, arguments_for, copied
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.syntax import walk

MOST_PARAMETERS = 30_000_000
SAME = 1e-4  # of the spread: the same numbers in another order of summing stay below
DRAWS = {
    "rand", "randn", "randint", "randperm", "normal", "uniform", "permutation", "shuffle", "sample", "choice", "random",
    "multinomial", "bernoulli", "empty", "kaiming", "xavier", "orthogonal", "rng", "integers",
}  # fmt: skip
REGISTERED = {"parameter", "buffer", "parameterlist"}


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every class of networks that was constructed and called while calls were recorded."""
    done: set[type] = set()
    for made in calls:
        owner = made.args.get("self")
        kind = type(owner)
        if made.code.co_name != "__init__" or kind in done or not isinstance(owner, torch.nn.Module):
            continue
        if getattr(vars(kind).get("__init__"), "__code__", None) is not made.code:
            continue  # of a class that this one is derived from
        used = [one for one in calls if one.code.co_name == "forward" and type(one.args.get("self")) is kind]
        if not used:
            continue
        done.add(kind)
        try:
            yield from _tried(torch, made, used[0], kind)
        except Exception:  # whatever the script's classes raise when they are made again
            continue


def _tried(torch: Any, made: RecordedCall, used: RecordedCall, kind: type) -> Iterator[Record]:
    one, other = _make(torch, made, kind, 1), _make(torch, made, kind, 2)
    if sum(p.numel() for p in one.parameters()) > MOST_PARAMETERS:
        return
    other.load_state_dict(one.state_dict())
    first, again, second = (_output(torch, used, net) for net in (one, one, other))
    if first is None or again is None or second is None or first.shape != second.shape:
        return
    if _unlike(first, again) > SAME:  # it draws in every call
        return
    differs = _unlike(first, second)
    acting = list(_acting(torch, used, first, one, other)) if differs > 10 * SAME else []
    owner, name = acting[0] if acting else (one, "")
    yield ReloadTried(
        network=kind.__name__,
        owner=type(owner).__name__,
        attributes=tuple(dict.fromkeys(name for _, name in acting)),
        change=min(differs, 99.0),
        where=((assigned_in(type(owner), name) if acting else None) or _first_line(kind)).location(),
    )


def _acting(torch: Any, used: RecordedCall, first: Any, one: Any, other: Any) -> Iterator[tuple[Any, str]]:
    """What has to be exchanged before both networks compute the same; nothing if that is not all."""

    def same() -> bool:
        output = _output(torch, used, other)
        return output is not None and output.shape == first.shape and _unlike(first, output) <= SAME

    apart = [(*pair, pair[0][pair[2]]) for pair in _apart(torch, one, other)]
    for fields, wanted, name, _, _ in apart:
        fields[name] = copied(torch, wanted[name])
    if not same():
        return
    for fields, wanted, name, owner, own in apart:
        fields[name] = own
        if not same():
            yield owner, name
            fields[name] = copied(torch, wanted[name])


def _make(torch: Any, made: RecordedCall, kind: type, number: int) -> Any:
    values = {name: copied(torch, value) for name, value in made.args.items() if name != "self"}
    positional, named = arguments_for(made.function, values)
    seed(torch, number)
    return kind(*positional, **named)


def _output(torch: Any, used: RecordedCall, network: Any) -> Any | None:
    """What a network computes from what the script's one was given, as one vector."""
    values = {name: copied(torch, value) for name, value in used.args.items() if name != "self"}
    positional, named = arguments_for(used.function, values)
    network.eval()
    seed(torch, 0)
    with torch.no_grad():
        result = network(*positional, **named)
    tensors = [as_tensor(torch, one) for _, one in parts_of(result)]
    floats = [one.double().flatten() for one in tensors if one is not None and one.is_floating_point()]
    joined = torch.cat(floats) if floats else None
    return joined if joined is not None and joined.numel() and bool(joined.isfinite().all()) else None


def _unlike(one: Any, other: Any) -> float:
    scale = float((one - one.mean()).square().mean().sqrt()) + 1e-3 * float(one.abs().mean())
    return float((one - other).square().mean().sqrt()) / max(scale, 1e-12)


def _apart(torch: Any, one: Any, other: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any], str, Any]]:
    """What is in no state and differs between two networks: the tables that hold it, its name, its owner."""
    for owner, twin in zip(one.modules(), other.modules(), strict=True):
        fields, others = vars(owner), vars(twin)
        for name in [name for name in fields if not name.startswith("_") and name in others]:
            if _numbers(torch, fields[name]) and not _equal(torch, fields[name], others[name]):
                yield others, fields, name, owner
        for name in fields.get("_non_persistent_buffers_set", ()):
            if not _equal(torch, fields["_buffers"].get(name), others["_buffers"].get(name)):
                yield others["_buffers"], fields["_buffers"], name, owner


def _numbers(torch: Any, value: Any) -> bool:
    if as_tensor(torch, value) is not None:
        return not isinstance(value, torch.nn.Parameter)
    if type(value) in (list, tuple):
        return bool(value) and all(_numbers(torch, one) for one in value[:64])
    return type(value) in (int, float)


def _equal(torch: Any, one: Any, other: Any) -> bool:
    if type(one) in (list, tuple):
        return len(one) == len(other) and all(_equal(torch, a, b) for a, b in zip(one, other, strict=True))
    first, second = as_tensor(torch, one), as_tensor(torch, other)
    if first is None or second is None:
        return bool(one == other)
    return first.shape == second.shape and bool(torch.equal(first, second))


# -- where it is written ---------------------------------------------------------------------------------------------


def _first_line(kind: type) -> CallSite:
    code = vars(kind)["__init__"].__code__
    return CallSite(code.co_filename, code.co_firstlineno, code.co_qualname)


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a constructor draws something that it does not register as a parameter or a buffer of the state."""
    if node.name != "__init__":
        return False
    for one in walk(node):
        if not isinstance(one, ast.Assign) and "persistent=False" not in (ast.unparse(one) if _calls(one) else ""):
            continue
        called = [part.func for part in walk(one) if isinstance(part, ast.Call)]
        spoken = {word for part in called for word in words(ast.unparse(part))}
        plain = any(isinstance(part, ast.Attribute) and part.attr in ("Tensor", "FloatTensor") for part in called)
        if (spoken & DRAWS or plain) and not (isinstance(one, ast.Assign) and spoken & REGISTERED):
            return True
    return False


def _calls(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
