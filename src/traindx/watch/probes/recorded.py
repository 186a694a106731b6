"""Calls of the user's own functions, recorded with copies of their arguments; only ever used in a child process."""

from __future__ import annotations

import copy
import gc
import inspect
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any

from traindx.watch.probes.making import seed
from traindx.watch.runtime.call_sites import CallSite, users
from traindx.watch.runtime.syntax import walk

MOST_CALLS = 6  # of one function that are kept
MOST_VALUES = 2_000_000  # of a tensor that is copied
MOST_ENTRIES = 64  # of a container that is copied
MOST_STATE = 200_000  # numbers of an object whose state is copied for every call that is made again
MOST_PARTS = 400  # objects inside of it
SAYS_NOTHING = {
    "forward", "call", "loss", "losses", "compute", "calc", "calculate", "update", "apply", "score", "scores", "get",
    "evaluate", "value", "values", "result", "fn", "func", "function", "measure", "metric", "criterion", "cost",
    "objective", "inner", "wrapped", "impl", "single", "batch", "average",
}  # fmt: skip
"""Words of a name that says only that the function does what its class (or file) is named for."""
NOT_TELLING = {
    "trainer", "model", "net", "network", "learner", "experiment", "pipeline", "solver", "engine", "agent", "module",
    "task", "system", "wrapper", "train", "main", "run", "script", "test", "tests", "head", "heads", "detector",
    "backbone", "encoder", "decoder", "block", "layer", "classifier", "segmenter", "segmentor", "generator",
    "predictor", "policy", "dataset", "loader",
}  # fmt: skip
"""Last words of classes, and words of files, whose functions do other things as well."""
COSTS, GAINS = {"loss", "losses", "cost", "criterion"}, {"score", "scores", "metric", "measure"}
SETTINGS = (int, float, str, bool, type(None))
_MISSING = object()


class EnoughError(BaseException):
    """The time for one expression is over; not an ``Exception``, so that the script does not swallow it."""


class TooLargeError(Exception):
    """An argument that is not copied."""


@dataclass
class RecordedCall:
    """One call of a function of the user's.

    Attributes:
        function: The function.
        args: Copies of its arguments by name, as they were when it was called.
        result: A copy of what it returned.
        caller: The line that called it.
        learned: Names of the arguments that had a gradient.
        given_by: The line that called it, or called what passed its own arguments on to it.
        changes: The only array argument that it changes in place, of a function that returns nothing: what that
            holds afterwards is its result.
        owner: A copy of its object as it was before the call, of the first call of a method that is given nothing but
            settings; None of any other.
    """

    function: FunctionType
    args: dict[str, Any]
    caller: CallSite | None = None
    learned: frozenset[str] = frozenset()
    given_by: CallSite | None = None
    result: Any = None
    done: bool = False
    changes: str = ""
    owner: Any = None

    @property
    def code(self) -> CodeType:
        """Its code."""
        return self.function.__code__

    @property
    def name(self) -> str:
        """Name of the function; with that of its class, of the function that made it or of its file, if telling.

        A ``forward`` or ``__call__`` has the name of its class. ``NCC.loss`` and the ``compute`` of a file ``dice.py``
        (``dice.compute``) have both names, since the second one says nothing.
        """
        own, file = self.shown, PurePath(self.code.co_filename).stem
        if not all(_says_nothing(part) for part in own.split(".")) or NOT_TELLING & set(_words(file)):
            return own
        return own if self.function.__module__ == "__main__" else f"{file}.{own}"

    @property
    def shown(self) -> str:
        """The same for a message, without the name of the file."""
        parts = [part for part in self.code.co_qualname.split(".") if not part.startswith("<")]
        if len(parts) > 1 and parts[-1] in ("forward", "__call__"):
            parts.pop()
        telling = len(parts) > 1 and not NOT_TELLING & set(_words(parts[-2])[-1:])
        turned = telling and bool(COSTS & set(_words(parts[-2]))) and bool(GAINS & set(_words(parts[-1])))
        if telling and _says_nothing(parts[-1]) and not turned:  # the score inside of a loss is not the loss
            return f"{parts[-2]}.{parts[-1]}"
        return parts[-1]

    def at(self, line: int | None) -> CallSite:
        """A line of the function; its first one where the line is not known."""
        return CallSite(self.code.co_filename, line or self.code.co_firstlineno, self.code.co_qualname)

    def again(self, torch: Any, /, **changes: Any) -> Any:
        """Make the call again with some arguments replaced, always with the same random numbers.

        The object that the function belongs to is a copy where it is small, so that no call leaves a trace in it.
        """
        values = {name: copied(torch, value) for name, value in self.args.items()}
        if "self" in values and "self" not in changes:
            values["self"] = own_copy(torch, values["self"])
        if self.changes:
            changes = {name: copied(torch, value) for name, value in changes.items()}
        values |= changes
        result = called(torch, self.function, values)
        return copied(torch, values[self.changes]) if self.changes and result is None else result

    def with_other_numbers(self, torch: Any, number: int = 1009) -> Any:
        """Make the call again with other random numbers, those of generators that its object keeps included."""
        before, _random_numbers["seed"] = _random_numbers["seed"], number
        try:
            return self.again(torch)
        finally:
            _random_numbers["seed"] = before
            seed(torch, before)


_MOST_WRAPPED = 8  # decorators of one function
_random_numbers = {"seed": 0}  # with which calls are made again


def _reseed(torch: Any, owner: Any, number: int) -> None:
    """Give the generators that an object keeps another state."""
    numpy = sys.modules.get("numpy")
    for name, value in getattr(owner, "__dict__", {}).items():
        if isinstance(value, torch.Generator):
            value.manual_seed(number)
        elif isinstance(value, random.Random):
            value.seed(number)
        elif numpy is not None and isinstance(value, numpy.random.Generator):
            owner.__dict__[name] = numpy.random.default_rng(number)
        elif numpy is not None and isinstance(value, numpy.random.RandomState):
            value.seed(number)


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return [word for word in re.split(r"[_\W]+", spaced.lower()) if word]


def _says_nothing(name: str) -> bool:
    return set(_words(name)) <= SAYS_NOTHING


def own_copy(torch: Any, owner: Any) -> Any:
    """A deep copy of an object with little in it; the object itself of anything else."""
    numpy = sys.modules.get("numpy")
    numbers, parts, seen = 0, [owner], set()
    while parts:
        one = parts.pop()
        if id(one) in seen or isinstance(one, type | FunctionType | str | int | float):
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            numbers += one.numel()
        elif numpy is not None and isinstance(one, numpy.ndarray):
            numbers += one.size
        elif isinstance(one, dict):
            parts += list(one.values())
        elif isinstance(one, list | tuple | set):
            parts += list(one)
        else:
            parts += list(getattr(one, "__dict__", {}).values())
        if numbers > MOST_STATE or len(seen) > MOST_PARTS or len(parts) > MOST_STATE:
            return owner
    try:
        found = copy.deepcopy(owner)
    except Exception:  # whatever a class of the script's does about copies
        return owner
    if _random_numbers["seed"]:
        _reseed(torch, found, _random_numbers["seed"])
    return found


def arguments_for(function: FunctionType, values: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments by name as a function is given them: positional ones, and those by keyword."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in inspect.signature(function, follow_wrapped=False).parameters.values():
        value = values.get(parameter.name, _MISSING)
        if value is _MISSING:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += list(value)
        elif parameter.kind is parameter.VAR_KEYWORD:
            named.update(value)
        elif parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = value
        else:
            positional.append(value)
    return positional, named


def called(torch: Any, function: FunctionType, values: dict[str, Any]) -> Any:
    """Call a function with its arguments by name, in evaluation mode where it belongs to a network."""
    positional, named = arguments_for(function, values)
    owner = next(iter(values.values()), None)
    if isinstance(owner, torch.nn.Module):
        owner.eval()
    seed(torch, _random_numbers["seed"])
    return function(*positional, **named)


def copied(torch: Any, value: Any, depth: int = 0) -> Any:
    """A copy of whatever holds numbers, on the CPU and without a graph; the object itself of anything else.

    Raises:
        TooLargeError: It holds too many numbers.
    """
    numpy = sys.modules.get("numpy")
    if isinstance(value, torch.nn.Parameter):
        return value
    if isinstance(value, torch.Tensor):
        if value.numel() > MOST_VALUES:
            raise TooLargeError
        return value.detach().cpu().clone()
    if numpy is not None and isinstance(value, numpy.ndarray):
        if value.size > MOST_VALUES:
            raise TooLargeError
        return value.copy()
    if depth < 3 and type(value) in (list, tuple) and len(value) <= MOST_ENTRIES:
        return type(value)(copied(torch, one, depth + 1) for one in value)
    if depth < 3 and type(value) is dict and len(value) <= MOST_ENTRIES:
        return {key: copied(torch, one, depth + 1) for key, one in value.items()}
    return value


@dataclass
class Recorder:
    """A trace function that keeps some calls of every function of the user's.

    Attributes:
        torch: The script's torch.
        calls: What was kept, by code object.
        until: Processor time after which :class:`EnoughError` is raised.
        most: Calls of one function that are kept.
        left: Given the frame of every recorded call as it returns, if anything.
    """

    torch: Any
    calls: dict[CodeType, list[RecordedCall]] = field(default_factory=dict)
    until: float = 0.0
    most: int = MOST_CALLS
    left: Callable[[FrameType], None] | None = None
    _functions: dict[CodeType, FunctionType | None] = field(default_factory=dict)

    @contextmanager
    def recording(self, seconds: float) -> Iterator[None]:
        """Record what is called inside, for so long."""
        self.until = time.process_time() + seconds
        sys.settrace(self)
        try:
            yield
        finally:
            sys.settrace(None)

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A function is entered."""
        code = frame.f_code
        if time.process_time() > self.until:
            raise EnoughError
        if not users(code.co_filename) or code.co_name.startswith("<"):
            return None
        known = self.calls.setdefault(code, [])
        if len(known) >= self.most or code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE):
            return None
        function = self._function(frame)
        if function is None:
            return None
        try:
            args = {name: copied(self.torch, frame.f_locals[name]) for name in parameters_of(code)}
        except (TooLargeError, KeyError):
            return None
        tensor = self.torch.Tensor
        learned = {name for name in args if isinstance(one := frame.f_locals[name], tensor) and one.requires_grad}
        call = RecordedCall(function, args, _caller(frame), frozenset(learned), _giver(frame, set(args)))
        settings = all(isinstance(one, SETTINGS) for name, one in args.items() if name != "self")
        if not known and settings and "self" in args and not isinstance(args["self"], self.torch.nn.Module):
            call.owner = own_copy(self.torch, args["self"])
        known.append(call)
        frame.f_trace_lines = False
        return self._inside(call, {name: frame.f_locals[name] for name in args})

    def _inside(self, call: RecordedCall, given: dict[str, Any]) -> Callable[[FrameType, str, Any], Any]:
        raised = False

        def local(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal raised
            if event == "exception":
                raised = True
            elif event == "return" and not (raised and arg is None):
                with suppress(TooLargeError):
                    call.result, call.done = copied(self.torch, arg), True
                    if arg is None:
                        self._look_at_arguments(call, given)
                if self.left is not None:
                    self.left(frame)
            return local

        return local

    def _look_at_arguments(self, call: RecordedCall, given: dict[str, Any]) -> None:
        """What a function that returns nothing has done to an array that it was given."""
        changed = {name: after for name, after in given.items() if _differ(self.torch, call.args[name], after)}
        if len(changed) == 1:
            call.changes, after = changed.popitem()
            call.result = copied(self.torch, after)

    def _function(self, frame: FrameType) -> FunctionType | None:
        code = frame.f_code
        if code not in self._functions:
            self._functions[code] = function_with(code, frame.f_globals)
        return self._functions[code]

    def done(self) -> list[RecordedCall]:
        """All calls that came to their end."""
        return [call for calls in self.calls.values() for call in calls if call.done]


def _differ(torch: Any, before: Any, after: Any) -> bool:
    """True of two arrays with other numbers; False of anything else."""
    numpy = sys.modules.get("numpy")
    if isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor):
        one, other = before, after.detach().cpu()
        if other.is_floating_point() or other.is_complex():
            one, other = one.nan_to_num(), other.nan_to_num()
        return not bool(torch.equal(one, other))
    if numpy is not None and isinstance(before, numpy.ndarray) and isinstance(after, numpy.ndarray):
        return after.dtype.kind in "buifc" and not numpy.array_equal(before, after, equal_nan=after.dtype.kind in "fc")
    return False


def function_with(code: CodeType, names: Mapping[str, Any]) -> FunctionType | None:
    """The function that code belongs to.

    Sought where its name says, and only then among all that refers to it: that goes through everything in memory.

    Args:
        code: The code.
        names: What is known at the top of its module.
    """
    first, *parts = code.co_qualname.split(".")
    value = names.get(first)
    for part in parts:
        value = inspect.getattr_static(value, part, None)
    for _ in range(_MOST_WRAPPED):
        if isinstance(value, FunctionType) and value.__code__ is code:
            return value
        if isinstance(value, staticmethod | classmethod | MethodType):
            value = value.__func__
        elif isinstance(value, property):
            value = value.fget
        else:  # asking an object of the script's for an attribute could run its code
            with suppress(AttributeError):
                value = object.__getattribute__(value, "__dict__").get("__wrapped__")
    found = [one for one in gc.get_referrers(code) if isinstance(one, FunctionType) and one.__code__ is code]
    return found[0] if found else None


def parameters_of(code: CodeType) -> tuple[str, ...]:
    """Names of the arguments of a function, in its order."""
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[:count]


def _caller(frame: FrameType) -> CallSite | None:
    above = frame.f_back
    while above is not None and not users(above.f_code.co_filename):
        above = above.f_back
    return CallSite(above.f_code.co_filename, above.f_lineno, above.f_code.co_qualname) if above is not None else None


def _giver(frame: FrameType, names: set[str]) -> CallSite | None:
    """The line that calls a function, or calls what only passes its own arguments on to it."""
    passed = {id(frame.f_locals[name]) for name in names if hasattr(frame.f_locals[name], "shape")}
    site = _caller(frame)
    above = frame.f_back
    while above is not None and passed:
        if users(above.f_code.co_filename):
            own = {id(above.f_locals.get(name)) for name in parameters_of(above.f_code)}
            site = CallSite(above.f_code.co_filename, above.f_lineno, above.f_code.co_qualname)
            if not passed <= own:
                break
        above = above.f_back
    return site


def line_by_line(torch: Any, call: RecordedCall, **changes: Any) -> list[tuple[int, str, Any]]:
    """Every value that a line of the function gives a name, in order: line, name, value; the result as ``return``."""
    found: list[tuple[int, str, Any]] = []
    before: dict[str, Any] = {}
    last = 0

    def note(frame: FrameType, result: Any = _MISSING) -> None:
        names = dict(frame.f_locals)
        if result is not _MISSING:
            names["return"] = result
        for name, value in names.items():
            if value is not before.get(name, _MISSING) and last:
                found.append((last, name, _numbers(torch, value)))
        before.clear()
        before.update(names)

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal last
        if event == "line":
            note(frame)
            last = frame.f_lineno
        elif event == "return":
            note(frame, arg)
        return local

    def enter(frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code is not call.code or last:
            return None
        before.update(frame.f_locals)
        return local

    values = {**{name: copied(torch, value) for name, value in call.args.items()}, **changes}
    sys.settrace(enter)
    try:
        called(torch, call.function, values)
    finally:
        sys.settrace(None)
    return found


def _numbers(torch: Any, value: Any) -> Any:
    try:
        return copied(torch, value)
    except TooLargeError:
        return None


def returned_at(code: CodeType) -> CallSite:
    """The last statement that returns something in a function; its first line where there is none."""
    import ast

    from traindx.watch.probes.live_calls import definition_of

    node = definition_of(code)
    returns = [one.lineno for one in walk(node) if isinstance(one, ast.Return)] if node is not None else []
    return CallSite(code.co_filename, max(returns, default=code.co_firstlineno), code.co_qualname)
