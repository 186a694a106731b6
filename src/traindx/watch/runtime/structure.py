"""What is inside of modules, mappings and data sets, found without any method that a script may have overridden.

``parameters()``, ``items()`` or ``__len__`` of the script's own classes may count, load files, or raise.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from typing import Any

from traindx.watch.runtime.call_sites import users

_READS_ONLY = frozenset({
    "RESUME", "LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_CHECK", "LOAD_ATTR", "LOAD_METHOD", "LOAD_GLOBAL",
    "LOAD_CONST", "LOAD_SMALL_INT", "PRECALL", "CALL", "PUSH_NULL", "BINARY_OP", "BINARY_SUBSCR", "RETURN_VALUE",
    "RETURN_CONST", "UNARY_NEGATIVE", "CACHE", "NOP", "COPY", "SWAP", "COMPARE_OP",
})  # fmt: skip
_HARMLESS = frozenset({"len", "int", "sum", "min", "max", "self"})


# -- mappings and sequences --------------------------------------------------------------------------------------


def items(mapping: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """Items of a dictionary, whatever its class makes of ``items``."""
    return list(dict.items(mapping))


def members(sequence: list[Any] | tuple[Any, ...]) -> list[Any]:
    """Members of a list or tuple, whatever its class makes of iteration."""
    kind: Any = list if isinstance(sequence, list) else tuple
    return list(kind.__iter__(sequence))


def entry(mapping: dict[Any, Any], key: Any, default: Any = None) -> Any:
    """One value of a dictionary."""
    return dict.get(mapping, key, default)


# -- modules -----------------------------------------------------------------------------------------------------


def _own(module: Any, table: str) -> list[tuple[str, Any]]:
    fields: dict[str, Any] = object.__getattribute__(module, "__dict__")
    found = fields.get(table)
    if found is None:  # a scripted module keeps its parameters in C++
        found = getattr(module, table, None) or {}
    return [(name, value) for name, value in found.items() if value is not None]


def named_modules(module: Any, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """A module and all below it, by dotted name, each once."""
    seen = set() if seen is None else seen
    if id(module) in seen:
        return
    seen.add(id(module))
    yield prefix, module
    for name, child in _own(module, "_modules"):
        yield from named_modules(child, f"{prefix}.{name}" if prefix else name, seen)


def children(module: Any) -> list[Any]:
    """Modules directly below."""
    return [child for _, child in _own(module, "_modules")]


def own_parameters(module: Any) -> list[tuple[str, Any]]:
    """A module's own parameters by name, those of its children left out."""
    return _own(module, "_parameters")


def own_buffers(module: Any) -> list[tuple[str, Any]]:
    """A module's own buffers by name."""
    return _own(module, "_buffers")


def named_parameters(module: Any) -> Iterator[tuple[str, Any]]:
    """All parameters of a module by dotted name, each once."""
    seen: set[int] = set()
    for prefix, part in named_modules(module):
        for name, parameter in own_parameters(part):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield f"{prefix}.{name}" if prefix else name, parameter


def named_buffers(module: Any, *, persistent: bool = False) -> Iterator[tuple[str, Any]]:
    """All buffers of a module by dotted name, each once; perhaps only those that its state holds."""
    seen: set[int] = set()
    for prefix, part in named_modules(module):
        left_out = getattr(part, "_non_persistent_buffers_set", ()) if persistent else ()
        for name, buffer in own_buffers(part):
            if name not in left_out and id(buffer) not in seen:
                seen.add(id(buffer))
                yield f"{prefix}.{name}" if prefix else name, buffer


# -- lengths -----------------------------------------------------------------------------------------------------


def known_length(thing: Any, depth: int = 0) -> int | None:
    """``len(thing)`` where finding it runs nothing of the script's but reading attributes; None elsewhere.

    A library's ``__len__`` is trusted as far as what it asks is.
    """
    function = getattr(type(thing), "__len__", None)
    if function is None or depth > 8 or not _only_reads(thing, function, depth):
        return None
    try:
        return len(thing)
    except Exception:
        return None


def _only_reads(thing: Any, function: Any, depth: int) -> bool:
    code = getattr(function, "__code__", None)
    if code is None:
        return True  # written in C
    if users(code.co_filename):
        if any(step.opname not in _READS_ONLY for step in dis.get_instructions(code)):
            return False
        called = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
        if not called <= _HARMLESS or "LOAD_METHOD" in {step.opname for step in dis.get_instructions(code)}:
            return False
    fields = getattr(thing, "__dict__", {})
    for name in code.co_names:
        kept = getattr(type(thing), name, None)
        if isinstance(kept, property) and not (depth < 8 and _only_reads(thing, kept.fget, depth + 1)):
            return False
        value = fields.get(name)
        if hasattr(type(value), "__len__") and known_length(value, depth + 1) is None:
            return False
    return True
