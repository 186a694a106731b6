"""Calling a network once more without anybody noticing: a twin of it, the random state of then, nothing printed.

What is left as found: the generators of torch (CPU and CUDA), numpy and python; parameters, buffers, modes, hooks and
gradients (the twin has its own of each); plain attributes of modules (counters, queues, caches); standard output,
standard error and logging of this thread. Gradients are off unless an experiment turns them on, on the twin.
"""

from __future__ import annotations

import copy
import functools
import logging
import random
import sys
import threading
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from traindx.core import compat
from traindx.watch.runtime.structure import named_buffers

MOST_ITEMS = 4096  # entries of a plain list or dict of a module that are copied; longer ones are shared


class CannotRepeatError(Exception):
    """A call cannot be made again without leaving a trace; the text says why."""


# -- random state and modes of a moment ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    """Random state and automatic precision at some moment.

    CUDA generators are read only if the script has begun to use CUDA; reading them must not be what initialises it.
    """

    torch: Any
    cpu: Any
    cuda: tuple[Any, ...]
    numpy: Any
    python: Any
    autocast: tuple[tuple[str, Any], ...]

    @classmethod
    def now(cls, torch: Any) -> Moment:
        """This moment."""
        numpy = sys.modules.get("numpy")
        on = tuple((device, torch.get_autocast_dtype(device)) for device in ("cpu", "cuda") if _autocast(torch, device))
        return cls(
            torch,
            torch.get_rng_state(),
            tuple(torch.cuda.get_rng_state_all()) if torch.cuda.is_initialized() else (),
            numpy.random.get_state() if numpy is not None else None,
            random.getstate(),
            on,
        )

    def restore(self) -> None:
        """Put the generators back."""
        self.torch.set_rng_state(self.cpu)
        if self.cuda:
            self.torch.cuda.set_rng_state_all(list(self.cuda))
        numpy = sys.modules.get("numpy")
        if numpy is not None and self.numpy is not None:
            numpy.random.set_state(self.numpy)
        random.setstate(self.python)

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Automatic precision as it was then, without its cache of weights (which outlives the block)."""
        with ExitStack() as stack:
            for device in ("cpu", "cuda"):
                dtype = dict(self.autocast).get(device)
                if dtype is not None:
                    stack.enter_context(self.torch.autocast(device, dtype=dtype, cache_enabled=False))
                elif _autocast(self.torch, device):
                    stack.enter_context(self.torch.autocast(device, enabled=False))
            yield


def _autocast(torch: Any, device: str) -> bool:
    return bool(torch.is_autocast_enabled(device))


@contextmanager
def isolated(torch: Any, then: Moment | None = None, seed: int | None = None) -> Iterator[None]:
    """A block whose random draws, prints and log messages never happened.

    Args:
        torch: The torch module of the script.
        then: Random state and precision to begin with; None for the present ones.
        seed: Seed of torch, numpy and python instead of that random state.
    """
    if others_draw():
        raise CannotRepeatError("other threads of the script run, whose random numbers would change")
    before = Moment.now(torch)
    start = then if then is not None else before
    try:
        with muted(), start.precision(), _stand_in_generators(torch):
            start.restore()
            if seed is not None:
                seed_all(torch, seed)
            yield
    finally:
        before.restore()


def seed_all(torch: Any, seed: int) -> None:
    """Seed the generators themselves: the functions that do so may be the script's own by now."""
    torch.default_generator.manual_seed(seed)
    for generator in torch.cuda.default_generators if torch.cuda.is_initialized() else ():
        generator.manual_seed(seed)
    random.Random.seed(random._inst, seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.mtrand._rand.seed(seed)


def others_draw() -> bool:
    """True if a thread of the script's runs that may draw random numbers while we put the generators back."""
    # tqdm's; threads that python did not start; those that write the event files of tensorboard and of tensorboardX
    harmless = ("TMonitor", "_DummyThread", "_AsyncWriterThread", "_EventLoggerThread")
    for thread in threading.enumerate():
        if thread is threading.current_thread() or type(thread).__name__ in harmless:
            continue
        target = getattr(getattr(thread, "_target", None), "__name__", "")
        if target not in ("_pin_memory_loop", "_feed") and thread.name != "MainThread":
            return True
    return False


class _Muted:
    """A stream that drops what one thread writes and passes on the rest."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() == self._thread:
            return len(text)
        return int(self._real.write(text) or 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@contextmanager
def muted() -> Iterator[None]:
    """Nothing that this thread prints or logs comes out."""
    out, err, handle = sys.stdout, sys.stderr, logging.Logger.handle
    thread = threading.get_ident()

    def unheard(logger: logging.Logger, record: logging.LogRecord) -> None:
        if threading.get_ident() != thread:
            handle(logger, record)

    sys.stdout, sys.stderr = _Muted(out), _Muted(err)
    setattr(logging.Logger, "handle", unheard)  # noqa: B010  (mypy does not let methods be assigned)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
        setattr(logging.Logger, "handle", handle)  # noqa: B010


@contextmanager
def _stand_in_generators(torch: Any) -> Iterator[None]:
    """A generator that is passed explicitly belongs to the script: a copy of it is drawn from instead."""
    copies: dict[int, tuple[Any, Any]] = {}

    class StandIn(torch.overrides.TorchFunctionMode):  # type: ignore[misc, name-defined, unused-ignore]
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            own = kwargs.get("generator") if kwargs else None
            if own is not None:
                if id(own) not in copies:
                    copies[id(own)] = own, copy_of_generator(torch, own)
                kwargs = {**(kwargs or {}), "generator": copies[id(own)][1]}
            return func(*args, **(kwargs or {}))

    with StandIn():
        yield


def copy_of_generator(torch: Any, generator: Any) -> Any:
    """Another generator of torch in the same state."""
    made = torch.Generator(generator.device)
    made.set_state(generator.get_state())
    return made


@contextmanager
def without_modes(torch: Any) -> Iterator[None]:
    """Function modes of our own may be used inside; the script's (which count, refuse, change) are not in place.

    Tensors of the script's own classes are plain ones inside. A default device stays, or the network could not make
    its own tensors.
    """
    taken = compat.take_function_modes(torch)
    if taken and compat.is_default_device(taken[-1]):
        compat.put_function_modes(torch, [taken.pop()])
    try:
        with compat.function_modes(torch), compat.no_tensor_classes(torch):
            yield
    finally:
        compat.put_function_modes(torch, taken)


# -- a twin of a network ---------------------------------------------------------------------------------------------


def unwrapped(torch: Any, module: Any) -> Any:
    """The user's own module inside wrappers for several devices and compilation."""
    for _ in range(4):
        if isinstance(module, torch.nn.parallel.DistributedDataParallel | torch.nn.DataParallel):
            module = module.module
        elif compat.original_of(module) is not None:
            module = compat.original_of(module)
        else:
            break
    if isinstance(module, torch.jit.ScriptModule):
        raise CannotRepeatError("it is compiled (TorchScript)")
    return module


def twin(torch: Any, module: Any, buffers: dict[str, Any] | None = None) -> Any:
    """A copy of a module that shares nothing that a forward pass could change.

    Parameters and buffers are cloned (some networks write to them in ``forward``); plain attributes are copied as far
    as they are containers, arrays or generators, and shared otherwise. The script's own hooks are left out, those of
    torch's own utilities (spectral and weight normalisation, pruning) are kept, as they make the weights.

    Args:
        torch: The torch module of the script.
        module: Any module.
        buffers: Values of buffers by name that replace the present ones (those from before a call).

    Raises:
        CannotRepeatError: The module cannot be copied.
    """
    try:
        with torch.no_grad():
            made = _Copier(torch).module(module)
            for name, value in named_buffers(made) if buffers else ():
                if buffers and name in buffers:
                    value.copy_(buffers[name])
    except CannotRepeatError:
        raise
    except Exception as error:
        raise CannotRepeatError(f"it cannot be copied ({type(error).__name__}: {error})") from error
    return made


class _Copier:
    """Copies a tree of modules; what was copied once is the same object wherever it is met again."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.memo: dict[int, Any] = {}
        self.kept: list[Any] = []  # ids stay unique while their owners live

    def module(self, module: Any) -> Any:
        known = self.memo.get(id(module))
        if known is not None:
            return known
        if isinstance(module, self.torch.jit.ScriptModule):
            raise CannotRepeatError("it is compiled (TorchScript)")
        new = object.__new__(type(module))
        self._remember(module, new)
        fields = new.__dict__
        for name, value in module.__dict__.items():
            if name in compat.HOOKS_OF_MODULES:
                fields[name] = type(value)()
            elif name in ("_parameters", "_buffers"):
                fields[name] = type(value)((key, self.value(one)) for key, one in value.items())
            elif name == "_modules":
                fields[name] = type(value)((k, None if one is None else self.module(one)) for k, one in value.items())
            else:
                fields[name] = self.value(value)
        for name in ("_forward_pre_hooks", "_forward_hooks"):
            for key, hook in module.__dict__.get(name, {}).items():
                if str(getattr(type(hook), "__module__", "")).startswith("torch.nn.utils"):
                    fields[name][key] = hook
        return new

    def _remember(self, old: Any, new: Any) -> Any:
        self.memo[id(old)] = new
        self.kept.append(old)
        return new

    def value(self, value: Any, depth: int = 0) -> Any:  # noqa: PLR0911  (one return a kind)
        torch = self.torch
        if id(value) in self.memo:
            return self.memo[id(value)]
        if isinstance(value, torch.nn.Module):
            return self.module(value)
        if isinstance(value, torch.Tensor):
            return self._remember(value, self._tensor(value))
        if isinstance(value, torch.Generator):
            return self._remember(value, copy_of_generator(torch, value))
        if isinstance(value, types.MethodType):
            return types.MethodType(value.__func__, self.value(value.__self__, depth))
        if type(value) is weakref.ref and isinstance(value(), torch.Tensor | torch.nn.Module):
            return weakref.ref(self.value(value(), depth))
        if isinstance(value, functools.partial):
            return functools.partial(self.value(value.func, depth), *value.args, **value.keywords)
        if type(value) in (list, deque, set, dict, OrderedDict, tuple):
            return self._container(value, depth)
        if type(value).__module__.startswith("numpy") or isinstance(value, random.Random):
            return self._remember(value, copy.deepcopy(value))
        return value

    def _tensor(self, value: Any) -> Any:
        torch = self.torch
        if value.is_meta or type(value) not in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer):
            raise CannotRepeatError(f"it holds a tensor of the special kind {type(value).__name__}")
        new = value.detach().clone()
        if isinstance(value, torch.nn.Parameter):
            return torch.nn.Parameter(new, requires_grad=value.requires_grad)
        return new

    def _container(self, value: Any, depth: int) -> Any:
        if len(value) > MOST_ITEMS or depth > 4:
            return value if isinstance(value, tuple) else copy.copy(value)
        made: Any
        if isinstance(value, dict):
            made = type(value)((key, self.value(one, depth + 1)) for key, one in value.items())
        elif isinstance(value, deque):
            made = deque((self.value(one, depth + 1) for one in value), value.maxlen)
        else:
            made = type(value)(self.value(one, depth + 1) for one in value)
        return made if isinstance(value, tuple) else self._remember(value, made)
