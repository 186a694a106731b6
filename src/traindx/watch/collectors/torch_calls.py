"""Every torch call of a watched iteration, through one ``TorchFunctionMode``.

The mode sits at the bottom of the mode stack (above a default-device context, which insists on the very bottom), so
that it may come and go while the script is inside modes of its own.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any

from traindx.core import compat
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.calling import call_from, without_ours
from traindx.watch.runtime.watch import Collector, Watch

After = Callable[[Any], None]
Before = Callable[[str, tuple[Any, ...], dict[str, Any]], "After | None"]
EveryCall = Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]


class TorchCalls(Collector):
    """The mode and its subscribers.

    Attributes:
        network_depth: Set by the module hooks: how many networks with parameters are being called right now.
    """

    subject = "torch calls"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._special: dict[Any, tuple[str, list[tuple[Collector, Before]]]] = {}
        self._scalar: list[tuple[Collector, EveryCall]] = []
        self._every: list[tuple[Collector, EveryCall]] = []
        self._any: list[tuple[Collector, EveryCall]] = []
        self._all: list[tuple[Collector, EveryCall]] = []
        self._errors: list[tuple[Collector, Callable[[Any, BaseException], None]]] = []
        self._mode: Any = None
        self.following = False
        self._originals: Originals | None = None
        self._suspended = 0
        self._inside = False
        self._comes_back = False  # taken out while it handled a call: torch puts it back when that ends
        self._thread = 0  # in which it is in place: every thread has modes of its own

    def on(self, collector: Collector, functions: dict[Any, str], before: Before) -> None:
        """Call ``before(name, args, kwargs)`` before any of these functions; what it returns is given the result."""
        for function, name in functions.items():
            if function is not None:
                self._special.setdefault(function, (name, []))[1].append((collector, before))

    def on_scalars(self, collector: Collector, after: EveryCall) -> None:
        """Call ``after`` when a call gave a scalar tensor that requires a gradient."""
        self._scalar.append((collector, after))

    def on_every(self, collector: Collector, after: EveryCall) -> None:
        """Call ``after`` when a call gave a tensor (keep it cheap)."""
        self._every.append((collector, after))

    def on_any(self, collector: Collector, after: EveryCall) -> None:
        """Call ``after`` after every call, whatever it gave (keep it cheap); it looks for itself whether to look."""
        self._any.append((collector, after))

    def on_all(self, collector: Collector, after: EveryCall) -> None:
        """Call ``after`` after every call, whatever it gave, while :meth:`follow_all` is on."""
        self._all.append((collector, after))

    def follow_all(self, on: bool) -> None:
        """Switch the calls that :meth:`on_all` asks for on or off; off at first."""
        self.following = on

    def on_error(self, collector: Collector, after: Callable[[Any, BaseException], None]) -> None:
        """Call ``after(function, error)`` when a call raised."""
        self._errors.append((collector, after))

    def install(self) -> None:
        """Define the mode; the watch attaches it."""
        torch, watch = self.watch.torch, self.watch
        special, scalar, every, errors = self._special, self._scalar, self._every, self._errors
        everything, anything, self_ = self._all, self._any, self
        originals = self._originals = Originals(torch)
        tensor_type = torch.Tensor
        plain = (tensor_type, torch.nn.Parameter)

        class Seeing(torch.overrides.TorchFunctionMode):  # type: ignore[misc, name-defined, unused-ignore]
            def __torch_function__(  # noqa: PLR0912  (called for every operation: no further calls)
                self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
            ) -> Any:
                kwargs = kwargs or {}
                func, caller = originals.called(func)
                if watch.busy or watch.in_backward or watch.over or not self_._inside:
                    return call_from(caller, func, args, kwargs)
                entry = special.get(func)
                after: list[tuple[Collector, After]] | None = None
                if entry is not None and watch.here_and_now:
                    after = _before(watch, entry, args, kwargs)
                try:
                    out = call_from(caller, func, args, kwargs)
                except Exception as error:
                    for collector, tell in errors:
                        with watch.ours(collector):
                            tell(func, error)
                    error.__traceback__ = without_ours(error.__traceback__)
                    raise
                if after is not None:
                    for collector, do in after:
                        with watch.ours(collector):
                            do(out)
                if type(out) in plain:
                    if not out.ndim and out.requires_grad and watch.here_and_now:
                        for collector, tell_scalar in scalar:
                            with watch.ours(collector):
                                tell_scalar(func, args, kwargs, out)
                    for collector, tell_every in every:  # too many for a context each
                        try:
                            tell_every(func, args, kwargs, out)
                        except Exception as error:
                            with watch.ours(collector):
                                raise error
                for collector, tell_any in anything:
                    try:
                        tell_any(func, args, kwargs, out)
                    except Exception as error:
                        with watch.ours(collector):
                            raise error
                if self_.following and watch.here_and_now:
                    for collector, tell_all in everything:
                        with watch.ours(collector):
                            tell_all(func, args, kwargs, out)
                return out

        self._mode = Seeing()
        watch.attach_hooks.append(self._insert)
        watch.detach_hooks.append(self._remove)
        watch.between_calls.append(self.tidy)

    def suspend(self) -> None:
        """Take the mode away while a library looks whether there is one, to choose its way of computing."""
        self._suspended += 1
        self._take_out()

    def resume(self) -> None:
        """Put it back."""
        self._suspended = max(0, self._suspended - 1)
        if not self._suspended and self.watch.attached:
            self._insert()

    def tidy(self) -> None:
        """Take the mode away that came back; called where no call of torch is being handled."""
        if self._comes_back and not self._inside and self._thread == threading.get_ident():
            self._comes_back = False
            self._without_it(self._taken())

    def _insert(self) -> None:
        if self._inside:
            return
        self._inside = True
        taken = self._taken()
        comes_back = self._comes_back and self._thread == threading.get_ident()
        self._comes_back, self._thread = False, threading.get_ident()
        if comes_back or self._mode in taken:
            compat.put_function_modes(self.watch.torch, taken)
            return
        below = [taken.pop()] if taken and compat.is_default_device(taken[-1]) else []
        compat.put_function_modes(self.watch.torch, [*taken, self._mode, *below])

    def _remove(self) -> None:
        self._suspended = 0
        self.tidy()
        self._take_out()

    def _take_out(self) -> None:
        if not self._inside:
            return
        self._inside = False
        taken = self._taken()
        self._comes_back = self._mode not in taken and self._thread == threading.get_ident()
        self._without_it(taken)

    def _taken(self) -> list[Any]:
        return compat.take_function_modes(self.watch.torch)

    def _without_it(self, taken: list[Any]) -> None:
        compat.put_function_modes(self.watch.torch, [mode for mode in taken if mode is not self._mode])


class Originals:
    """The functions of torch as they were, to go on with the one that was called.

    What a mode is handed is looked up by name when the call is made. Where the script put its own function in the
    place of that name, the original (called from inside it) would hand the mode the script's function, and calling
    that would run it twice.
    """

    def __init__(self, torch: Any) -> None:
        self._handler = torch.overrides.handle_torch_function.__code__
        self._by_code: dict[Any, Any] = {}
        for owner in compat.python_places(torch):
            for value in list(vars(owner).values()):
                inner = inspect.unwrap(value) if isinstance(value, FunctionType) else None
                if isinstance(inner, FunctionType):
                    self._by_code.setdefault(inner.__code__, inner)
        owners = compat.builtin_places(torch)
        self._builtin = [(owner, name, getattr(owner, name)) for owner in owners for name in dir(owner)]
        self._known: dict[int, tuple[Any, Any]] = {}

    def called(self, func: Any) -> tuple[Any, FrameType]:
        """The function that is being called, given what a mode was handed, and who calls it; the mode itself asks."""
        frame = sys._getframe(2)
        if frame.f_code is self._handler and frame.f_back is not None and frame.f_back.f_back is not None:
            code, caller = frame.f_back.f_code, frame.f_back.f_back
            if type(func) is not FunctionType or func.__code__ is code:
                return func, caller
            return self._by_code.get(code, func), caller
        if type(func) is not FunctionType:
            return func, frame
        known = self._known.get(id(func))
        if known is None or known[0] is not func:
            known = self._known[id(func)] = (func, self._replaced_by(func))
        return known[1], frame

    def _replaced_by(self, func: Any) -> Any:
        """The built-in function in whose place this one stands now, or itself."""
        for owner, name, original in self._builtin:
            if original is not func and getattr(owner, name, None) is func and not isinstance(original, FunctionType):
                return original
        return func


def _before(
    watch: Watch, entry: tuple[str, list[tuple[Collector, Before]]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[tuple[Collector, After]]:
    name, subscribers = entry
    afters: list[tuple[Collector, After]] = []
    for collector, before in subscribers:
        with watch.ours(collector):
            after = before(name, args, kwargs)
            if after is not None:
                afters.append((collector, after))
    return afters


def argument(args: tuple[Any, ...], kwargs: dict[str, Any], index: int, name: str, default: Any = None) -> Any:
    """An argument by position or name."""
    if len(args) > index:
        return args[index]
    return kwargs.get(name, default)


def call_site() -> CallSite | None:
    """The user's line of the torch call that is being handled."""
    return here(3)


def named_functions(torch: Any, names: tuple[str, ...]) -> dict[Any, str]:
    """The functions of these names in ``torch``, ``torch.nn.functional`` and ``Tensor`` (in-place ones too)."""
    found: dict[Any, str] = {}
    for name in names:
        for owner in (torch, torch.nn.functional, *compat.builtin_places(torch)[:2], torch.special):
            for variant in (name, f"{name}_", f"__{name}__"):
                function = getattr(owner, variant, None)
                if callable(function):
                    found[function] = name
    return found
