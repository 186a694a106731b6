"""May a network be called once more? Only if its code does nothing but compute, as far as its bytecode tells.

An experiment calls a twin of a network, which keeps what the network itself holds apart. What lies elsewhere cannot be
kept apart: a counter on a class, a list in a module, a file, a function of torch that the script has replaced. So the
code that a call would run is read first: every function of the script's that the ``forward`` of its modules can reach.
"""

from __future__ import annotations

import builtins
import dis
import functools
import inspect
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from traindx.watch.runtime.call_sites import users
from traindx.watch.runtime.structure import named_modules

CHANGES = frozenset({
    "append", "appendleft", "extend", "add", "update", "pop", "popleft", "popitem", "insert", "remove", "discard",
    "clear", "setdefault", "sort", "reverse", "write", "writelines", "put", "send", "step", "save", "dump", "log",
    "record", "emit",
})  # fmt: skip
FORBIDDEN = frozenset({"open", "exec", "eval", "input", "setattr", "delattr", "globals", "exit", "quit", "__import__"})
OVERRIDES = (  # what an experiment asks of a network besides calling it
    "parameters", "named_parameters", "buffers", "named_buffers", "modules", "named_modules", "children",
    "named_children", "state_dict", "load_state_dict", "__hash__", "__eq__", "__len__", "__bool__", "__setattr__",
)  # fmt: skip
MOST_FUNCTIONS = 400
PLAIN = (int, float, complex, str, bytes, bool, type(None), type(Ellipsis), range, slice, frozenset)


def why_not_called(torch: Any, network: Any) -> str:
    """Why a network's code must not be run once more, or "" if nothing speaks against it."""
    replaced = replaced_in_torch(torch)
    if replaced:
        return f"the script replaced {replaced}"
    reader = _Reader(torch)
    try:
        for _, module in named_modules(network):
            reader.module(module)
    except _FoundError as found:
        return str(found)
    return ""


class _FoundError(Exception):
    """Something that a second call would change."""


class _Reader:
    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self._read: set[CodeType] = set()

    def module(self, module: Any) -> None:
        """Everything that calling a module can reach."""
        kind = type(module)
        own = vars(module)
        if "forward" in own or "__call__" in own:
            raise _FoundError(f"the forward of {kind.__name__} was replaced")
        for name in OVERRIDES:
            method = inspect.getattr_static(kind, name, None)
            if isinstance(method, FunctionType) and users(method.__code__.co_filename):
                raise _FoundError(f"{kind.__name__} has a {name} of its own")
        for name in ("forward", "__call__", "__getattr__"):
            self.function(getattr(kind, name, None), kind)
        parametrized = getattr(module, "parametrizations", None)
        for _, part in named_modules(parametrized) if parametrized is not None else ():
            self.function(getattr(type(part), "forward", None), type(part))

    def function(self, function: Any, owner: type | None = None) -> None:
        """The code of a function of the script's, and what it calls."""
        function = inspect.unwrap(function) if callable(function) else function
        if isinstance(function, MethodType):
            function = function.__func__
        if isinstance(function, functools.partial):
            function = function.func
        if not isinstance(function, FunctionType) or not users(function.__code__.co_filename):
            return
        if function.__code__ in self._read:
            return
        if len(self._read) > MOST_FUNCTIONS:
            raise _FoundError("its code is too long to be read")
        self._read.add(function.__code__)
        closure = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
        values = {name: cell.cell_contents for name, cell in closure.items() if _is_full(cell)}
        self._code(function.__code__, function.__globals__, values, owner)

    def _code(self, code: CodeType, names: dict[str, Any], closure: dict[str, Any], owner: type | None) -> None:
        before: Any = None
        outside = False  # something that changes lies outside of the network
        where = f"{code.co_qualname}"
        for step in dis.get_instructions(code):
            if step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL") or (
                step.opname == "STORE_DEREF" and step.argval in code.co_freevars
            ):
                raise _FoundError(f"{where} assigns to the variable {step.argval} outside of it")
            if step.opname in ("STORE_ATTR", "DELETE_ATTR") and not _is_own(before, code):
                raise _FoundError(f"{where} assigns to the attribute {step.argval} of something else than the network")
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"):
                value = closure.get(step.argval, names.get(step.argval, getattr(builtins, str(step.argval), None)))
                outside = self._value(str(step.argval), value, owner, where) or outside
            elif step.opname in ("LOAD_ATTR", "LOAD_METHOD") and owner is not None:
                self.function(inspect.getattr_static(owner, str(step.argval), None), owner)
            before = step
        changes = CHANGES & set(code.co_names)
        stores = any(step.opname == "STORE_SUBSCR" for step in dis.get_instructions(code))
        if outside and (changes or stores):
            raise _FoundError(f"{where} may change what lies outside of the network")
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._code(constant, names, closure, owner)

    def _value(self, name: str, value: Any, owner: type | None, where: str) -> bool:
        """Look into a value of the surroundings; True if it is something that can be changed."""
        if name in FORBIDDEN:
            raise _FoundError(f"{where} calls {name}")
        if isinstance(value, ModuleType):
            return bool(users(str(getattr(value, "__file__", None) or "<none>")))
        if isinstance(value, FunctionType | MethodType | functools.partial):
            self.function(value)
            return False
        if isinstance(value, type):
            self._class(value)
            return False
        if isinstance(value, (*PLAIN, BuiltinFunctionType)):
            return False
        return not (isinstance(value, tuple) and all(isinstance(one, PLAIN) for one in value))

    def _class(self, kind: type) -> None:
        for name in ("forward", "backward", "setup_context", "__init__", "__call__", "__new__", "__torch_function__"):
            self.function(inspect.getattr_static(kind, name, None), kind)
            method = inspect.getattr_static(kind, name, None)
            if isinstance(method, staticmethod | classmethod):
                self.function(method.__func__, kind)


def _replaced(module: Any) -> list[str]:
    """Functions in a module or class of torch that are defined in the script's own files."""
    return [
        name
        for name, value in list(vars(module).items())
        if isinstance(value, FunctionType) and users(value.__code__.co_filename)
    ]


def hooks_on_all(torch: Any, ours: int) -> bool:
    """True if the script hung hooks on all modules; a twin's modules would run them.

    Args:
        torch: The torch module.
        ours: How many of such hooks are ours.
    """
    tables = vars(torch.nn.modules.module)
    names = (
        "_global_forward_hooks",
        "_global_forward_pre_hooks",
        "_global_backward_hooks",
        "_global_backward_pre_hooks",
    )
    return sum(len(tables.get(name) or ()) for name in names) > ours


def replaced_in_torch(torch: Any) -> str:
    """The first function of torch in whose place the script put its own, or ""."""
    for owner in (torch.nn.functional, torch.Tensor, torch.nn.Module, torch):
        for name in _replaced(owner):
            return f"{owner.__name__}.{name}"
    return ""


def _is_own(step: Any, code: CodeType) -> bool:
    """The object whose attribute is assigned is the first argument (``self``, of which a twin is called)."""
    first = code.co_varnames[0] if code.co_argcount else ""
    return step is not None and step.opname.startswith("LOAD_FAST") and step.argval == first


def _is_full(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True
