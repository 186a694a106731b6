"""What an object and everything that it uses keep: which entries a call changes, and how they are put back.

Only ever used in a child process: putting something back writes to the script's own objects.
"""

from __future__ import annotations

import types
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from traindx.watch.probes.live_calls import names_in_code
from traindx.watch.probes.making import as_array
from traindx.watch.runtime.call_sites import users
from traindx.watch.runtime.generators import is_generator, putting_back

MOST_OBJECTS = 20_000
MOST_ENTRIES = 4096  # of a list or a dictionary that is looked into
MOST_BYTES = 24 << 20  # of arrays that are copied, so that they can be put back
FEW_NUMBERS = 64
_MISSING = object()


@dataclass(frozen=True)
class Entry:
    """Something that was changed.

    Attributes:
        name: ``Class.attribute``, the name of a variable, or where an array is kept.
        before: What was there; for an array that was written into, a copy.
        after: What is there now.
        in_place: The same array holds other values.
        key: What tells entries apart.
    """

    name: str
    before: Any
    after: Any
    in_place: bool
    key: tuple[int, Any]


class KeptState:
    """Dictionaries, lists, variables, arrays and generators within reach of an object, as they are when it is made.

    Args:
        torch: The script's torch.
        root: Any object: a data set.

    Attributes:
        whole: All arrays could be copied, so that everything can be put back.
    """

    def __init__(self, torch: Any, root: Any) -> None:
        self.torch = torch
        self.whole = True
        self._mappings: list[tuple[dict[Any, Any], str, dict[Any, Any]]] = []
        self._lists: list[tuple[list[Any], str, list[Any]]] = []
        self._variables: list[tuple[Any, Any, str, Any]] = []
        self._arrays: list[tuple[Any, str, Any, int]] = []
        self._generators: list[Callable[[], None]] = []
        self._bytes = 0
        self._kept: list[Any] = []  # ids stay unique while their owners live
        self._walk(root)

    # -- what is within reach ------------------------------------------------------------------------------------

    def _walk(self, root: Any) -> None:
        waiting: list[tuple[Any, str]] = [(root, type(root).__name__)]
        known: set[int] = set()
        while waiting and len(known) < MOST_OBJECTS:
            value, name = waiting.pop()
            if id(value) in known or value is None or isinstance(value, bool | int | float | str | bytes):
                continue
            known.add(id(value))
            self._kept.append(value)
            if self._generator(value):
                continue
            array = as_array(value)
            if array is not None:
                self._array(array, name)
                continue
            waiting += self._inside(value, name, known)

    def _inside(self, value: Any, name: str, known: set[int]) -> list[tuple[Any, str]]:  # noqa: PLR0911  (one a kind)
        if isinstance(value, dict):
            self._mappings.append((value, name, dict(value)))
            return [(one, f"{name}[{key!r}]") for key, one in list(dict.items(value))[:MOST_ENTRIES]]
        if isinstance(value, list | tuple | set | frozenset):
            if type(value) is list:
                self._lists.append((value, name, list(value)))
            return [(one, name) for one in list(value)[:MOST_ENTRIES]]
        if isinstance(value, types.MethodType):
            return [(value.__self__, type(value.__self__).__name__), (value.__func__, name)]
        if isinstance(value, types.FunctionType):
            return list(self._of_function(value))
        if isinstance(value, type):
            return list(self._of_class(value)) if _is_users(value) else []
        if isinstance(value, types.ModuleType | types.BuiltinFunctionType):
            return []
        found: list[tuple[Any, str]] = [(type(value), type(value).__name__)]
        if type(value).__module__ == "functools" and hasattr(value, "func"):  # a partial
            found += [(one, name) for one in (value.func, value.args, value.keywords)]
        try:
            fields = object.__getattribute__(value, "__dict__")
        except AttributeError:
            return found
        if isinstance(fields, dict) and id(fields) not in known:
            known.add(id(fields))
            self._mappings.append((fields, type(value).__name__, dict(fields)))
            found += [(one, f"{type(value).__name__}.{key}") for key, one in list(fields.items())]
        return found

    def _of_function(self, function: types.FunctionType) -> Iterator[tuple[Any, str]]:
        """What a function of the user's closes over, has as defaults, or finds in its module."""
        code = function.__code__
        if not users(code.co_filename):
            return
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
            try:
                yield cell.cell_contents, name
            except ValueError:  # empty
                continue
            self._variables.append((cell, "cell_contents", name, cell.cell_contents))
        yield from ((one, f"{function.__name__}()") for one in (function.__defaults__, function.__kwdefaults__))
        if function.__dict__:
            yield function.__dict__, function.__name__
        for name in names_in_code(code):
            if name in function.__globals__:
                value = function.__globals__[name]
                if not isinstance(value, type | types.ModuleType):
                    yield value, name
                    if not isinstance(value, types.FunctionType):
                        self._variables.append((function.__globals__, name, name, value))

    def _of_class(self, kind: type) -> Iterator[tuple[Any, str]]:
        for name, value in list(vars(kind).items()):
            if name.startswith("__") and name not in ("__call__", "__getitem__", "__init__"):
                continue
            function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
            if isinstance(function, types.FunctionType):
                yield function, name
            elif not isinstance(value, property):
                self._variables.append((kind, name, f"{kind.__name__}.{name}", value))
                yield value, f"{kind.__name__}.{name}"
        for base in kind.__mro__[1:-1]:
            if _is_users(base):
                yield base, base.__name__

    def _array(self, array: Any, name: str) -> None:
        self._bytes += array.nbytes
        if not array.flags.writeable:
            return
        if self._bytes > MOST_BYTES:
            self.whole = False
            return
        self._arrays.append((array, name, array.copy(), _sum(array)))

    def _generator(self, value: Any) -> bool:
        """A source of random numbers is put back as a matter of course."""
        if not is_generator(value):
            return False
        self._generators.append(putting_back(value))
        return True

    # -- what has changed ----------------------------------------------------------------------------------------

    def changes(self) -> list[Entry]:
        """Entries that are not what they were, generators left out."""
        found: list[Entry] = []
        for mapping, name, before in self._mappings:
            for key in {**before, **mapping}:
                one, other = before.get(key, _MISSING), dict.get(mapping, key, _MISSING)
                if not _same(one, other) and not (is_generator(one) or is_generator(other)):
                    label = f"{name}.{key}" if isinstance(key, str) and "[" not in name else f"{name}[{key!r}]"
                    found.append(Entry(label, one, other, False, (id(mapping), key)))
        for entries, name, old in self._lists:
            if len(entries) != len(old) or any(a is not b for a, b in zip(entries, old, strict=False)):
                found.append(Entry(name, old, list(entries), False, (id(entries), None)))
        for owner, key, name, was in self._variables:
            now = _read(owner, key)
            if not _same(was, now) and not (is_generator(was) or is_generator(now)):
                found.append(Entry(name, was, now, False, (id(owner), key)))
        for array, name, copy, total in self._arrays:
            if _sum(array) != total:
                found.append(Entry(name, copy, array.copy(), True, (id(array), None)))
        return found

    def put_generators_back(self) -> None:
        """Every source of random numbers within reach gives what it gave at first."""
        for back in self._generators:
            back()

    def put_back(self, but: tuple[int, Any] | None = None) -> None:
        """Everything as it was, but for one entry that stays as it is now."""
        self.put_generators_back()
        for mapping, _, old in self._mappings:
            kept = but[1] if but is not None and but[0] == id(mapping) else _MISSING
            before = {**old, kept: mapping[kept]} if kept is not _MISSING and kept in mapping else old
            if len(mapping) != len(before) or any(mapping.get(key, _MISSING) is not one for key, one in before.items()):
                dict.clear(mapping)
                dict.update(mapping, before)
        for entries, _, members in self._lists:
            if but is None or but[0] != id(entries):
                entries[:] = members
        for owner, key, _, was in self._variables:
            if (but is None or but != (id(owner), key)) and _read(owner, key) is not was:
                _write(owner, key, was)
        for array, _, copy, total in self._arrays:
            if (but is None or but[0] != id(array)) and _sum(array) != total:
                array[...] = copy

    def changed(self, key: tuple[int, Any]) -> bool:
        """Is this entry another one than it was?"""
        for mapping, _, before in self._mappings:
            if key[0] == id(mapping):
                return not _same(before.get(key[1], _MISSING), dict.get(mapping, key[1], _MISSING))
        for entries, _, old in self._lists:
            if key[0] == id(entries):
                return len(entries) != len(old) or any(a is not b for a, b in zip(entries, old, strict=False))
        for owner, name, _, was in self._variables:
            if key == (id(owner), name):
                return not _same(was, _read(owner, name))
        return any(_sum(array) != total for array, _, _, total in self._arrays if key[0] == id(array))


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    simple = (bool, int, float, str, bytes)
    if isinstance(one, simple) and isinstance(other, simple):
        return type(one) is type(other) and (one == other or repr(one) == repr(other) == "nan")
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return all(_same(a, b) for a, b in zip(one, other, strict=True))
    return bool(numbers_of(one) is not None and numbers_of(one) == numbers_of(other) and type(one) is type(other))


def numbers_of(value: Any, depth: int = 0) -> list[float] | None:
    """The numbers that a value consists of; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return [float(value)]
    if depth < 3 and isinstance(value, list | tuple | dict) and 0 < len(value) <= FEW_NUMBERS:
        parts = [numbers_of(one, depth + 1) for one in (value.values() if isinstance(value, dict) else value)]
        return None if any(part is None for part in parts) else [one for part in parts for one in part or ()]
    if hasattr(value, "shape") and hasattr(value, "tolist") and hasattr(value, "dtype"):
        if len(value.shape) > 1 or (value.shape and value.shape[0] > FEW_NUMBERS):
            return None
        found = value.tolist()
        flat = found if isinstance(found, list) else [found]
        return [float(one) for one in flat] if all(isinstance(one, int | float) for one in flat) else None
    return None


def _sum(array: Any) -> int:
    return zlib.crc32(array.tobytes())


def _read(owner: Any, key: str) -> Any:
    if isinstance(owner, dict):
        return owner.get(key, _MISSING)
    try:
        return vars(owner).get(key, _MISSING) if isinstance(owner, type) else getattr(owner, key)
    except ValueError:  # an empty cell
        return _MISSING


def _write(owner: Any, key: str, value: Any) -> None:
    if isinstance(owner, dict):
        owner[key] = value
    else:
        setattr(owner, key, value)


def _is_users(kind: type) -> bool:
    """A method of it is written in a file of the user's."""
    codes = (getattr(value, "__code__", None) for value in list(vars(kind).values()))
    return any(users(code.co_filename) for code in codes if code is not None)
