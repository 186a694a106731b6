"""What scripts put in the place of library functions, and what they ask about them."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import io
import pickle
import random
import sys
import warnings
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from kit import batch, main, net, show
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def train(model: nn.Module, steps: int = 6) -> None:
    (x, y), optimizer = batch(), torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def counted(owner: Any, name: str, calls: list[str]) -> Any:
    """Put a counting wrapper over a function, as loggers and trackers do; returns what was there."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return original(*args, **kwargs)

    setattr(owner, name, wrapper)
    wrapper.mine = True
    return original


def own_wrapper_stays() -> None:
    """wrappers over `torch.save`, `torch.load`, `backward` and `clip_grad_norm_` still stand at the end"""
    calls: list[str] = []
    places = [
        (torch, "save"),
        (torch, "load"),
        (torch.Tensor, "backward"),
        (torch.autograd, "backward"),
        (torch.autograd, "grad"),
        (nn.utils, "clip_grad_norm_"),
        (nn.Module, "load_state_dict"),
        (nn.Module, "train"),
        (nn.Module, "__call__"),
        (torch.optim.Optimizer, "zero_grad"),
        (torch.optim.Optimizer, "__init__"),
        (DataLoader, "__init__"),
        (torch, "manual_seed"),
        (random, "seed"),
        (np.random, "seed"),
        (torch.Tensor, "register_hook"),
    ]
    for owner, name in places:
        counted(owner, name, calls)
    model = net()
    train(model)
    calls.clear()
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    x, y = next(iter(DataLoader(TensorDataset(*batch()), 4)))
    out = model(x)
    out.register_hook(lambda gradient: None)
    optimizer.zero_grad()
    F.cross_entropy(out, y).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    model.load_state_dict(torch.load(file))
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    show(model, calls=calls, still=[hasattr(getattr(owner, name), "mine") for owner, name in places])


def own_wrapper_taken_away() -> None:
    """wrappers that the script takes away again: what it had found stands there afterwards"""
    kept = {name: getattr(torch, name) for name in ("save", "load", "manual_seed", "no_grad")}
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    x, y = batch()
    calls: list[str] = []
    for step in range(8):
        if step == 1:
            for name in ("save", "load", "manual_seed"):
                counted(torch, name, calls)
        if step == 5:
            for name in ("save", "load", "manual_seed"):
                setattr(torch, name, kept[name])
        torch.manual_seed(step)
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        model.load_state_dict(torch.load(file))
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    show(model, calls=calls)


def mocked_for_a_while() -> None:
    """`mock.patch.object` over functions of torch while it trains"""
    model = net()
    with mock.patch.object(torch, "save", autospec=True) as saved, mock.patch.object(torch, "load", return_value=3):
        (x, y), optimizer = batch(), torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(6):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            torch.save(model, "never")
            answer = torch.load("never")
    show(model, saved=saved.call_count, answer=answer, real=callable(torch.save))


def step_of_an_instance_wrapped() -> None:
    """the `step` of an optimiser is wrapped on the instance"""
    model, (x, y), calls = net(), batch(), []
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return original(*args, **kwargs)

    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    original = optimizer.step
    optimizer.step = step
    for _ in range(6):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        scheduler.step()
    show(model, calls=len(calls), lr=scheduler.get_last_lr())


def forward_of_an_instance_wrapped() -> None:
    """the `forward` of a module is wrapped on the instance"""
    model, calls = net(), []
    forward = model[0].forward
    model[0].forward = lambda x: calls.append(tuple(x.shape)) or forward(x)
    train(model)
    show(model, calls=calls)


def signatures() -> None:
    """signatures, names, modules and docstrings of functions, as inspected by frameworks"""
    train(net(), 2)
    functions = [
        torch.save,
        torch.load,
        torch.compile,
        torch.manual_seed,
        torch.autograd.backward,
        torch.autograd.grad,
        torch.Tensor.register_hook,
        nn.Module.__init__,
        nn.Module.train,
        nn.Module.load_state_dict,
        nn.utils.clip_grad_norm_,
        torch.optim.Optimizer.__init__,
        torch.optim.Optimizer.zero_grad,
        DataLoader.__init__,
        torch.utils.data.random_split,
        torch.utils.checkpoint.checkpoint,
        random.seed,
        warnings.warn,
        warnings.filterwarnings,
        torch.no_grad.__enter__,
    ]
    for function in functions:
        try:
            signature = str(inspect.signature(function))
        except ValueError:
            signature = "none"
        print(function.__module__, function.__qualname__, signature, len(function.__doc__ or ""))


def kinds_of_functions() -> None:
    """whether functions are functions, methods or builtins"""
    train(net(), 2)
    for function in (random.seed, torch.save, torch.Tensor.register_hook, nn.Module.train, torch.manual_seed):
        print(
            inspect.isfunction(function),
            inspect.ismethod(function),
            inspect.isbuiltin(function),
            getattr(function, "__self__", None) is None,
        )


def sources() -> None:
    """`inspect.getsource` of library functions, as compilers and documentation tools read it"""
    train(net(), 2)
    for function in (torch.save, torch.load, nn.Module.train, nn.Module.__init__, torch.manual_seed, random.seed):
        print(inspect.getsource(function).splitlines()[0], len(inspect.getsource(function)))


def functions_pickled() -> None:
    """library functions are pickled and copied by reference"""
    train(net(), 2)
    for function in (torch.save, torch.load, torch.autograd.grad, F.relu, nn.utils.clip_grad_norm_):
        print(pickle.loads(pickle.dumps(function)) is function, copy.deepcopy(function) is function)
    seeded = pickle.loads(pickle.dumps(random.seed))
    seeded(3)
    show(value=random.random())


def functions_bound_early() -> None:
    """functions that were bound before training go on to work after it"""
    from torch import load, manual_seed, save
    from torch.autograd import backward, grad
    from torch.nn.utils import clip_grad_norm_

    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(8):
        manual_seed(step)
        optimizer.zero_grad()
        out = model(x)
        backward(F.cross_entropy(out, y))
        (slope,) = grad(model(x).sum(), [model[0].weight])
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        file = io.BytesIO()
        save(model.state_dict(), file)
        file.seek(0)
        model.load_state_dict(load(file))
    show(model, slope=slope)


class Tracked(nn.Linear):
    """A module that overrides what is often wrapped, and counts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.early = True  # before super().__init__(), as some do
        super().__init__(*args, **kwargs)
        self.calls: dict[str, int] = {}

    def _count(self, name: str) -> None:
        if "calls" in self.__dict__:
            self.calls[name] = self.calls.get(name, 0) + 1

    def parameters(self, recurse: bool = True) -> Any:
        self._count("parameters")
        return super().parameters(recurse)

    def named_parameters(self, *args: Any, **kwargs: Any) -> Any:
        self._count("named_parameters")
        return super().named_parameters(*args, **kwargs)

    def named_buffers(self, *args: Any, **kwargs: Any) -> Any:
        self._count("named_buffers")
        return super().named_buffers(*args, **kwargs)

    def named_modules(self, *args: Any, **kwargs: Any) -> Any:
        self._count("named_modules")
        return super().named_modules(*args, **kwargs)

    def modules(self) -> Any:
        self._count("modules")
        return super().modules()

    def children(self) -> Any:
        self._count("children")
        return super().children()

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        self._count("state_dict")
        return super().state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        self._count("load_state_dict")
        return super().load_state_dict(*args, **kwargs)

    def train(self, mode: bool = True) -> Any:
        self._count("train")
        return super().train(mode)

    def __eq__(self, other: object) -> bool:
        self._count("__eq__")
        return self is other

    def __hash__(self) -> int:
        self._count("__hash__")
        return id(self)

    def __len__(self) -> int:
        self._count("__len__")
        return 0

    def __repr__(self) -> str:
        self._count("__repr__")
        return "Tracked"


def overridden_methods_of_a_module() -> None:
    """a module overrides `parameters`, `modules`, `state_dict`, `__eq__`, `__hash__`, `__len__` and counts their calls"""
    model = Tracked(6, 3)
    (x, y), optimizer = batch(), torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            model(x)
        model.train()
        model.load_state_dict(model.state_dict())
    calls = dict(model.calls)
    show(model.weight, calls=calls)


def subclassed_contexts() -> None:
    """`no_grad` is subclassed, used as a decorator, as a generator's decorator and re-entered"""

    class Mine(torch.no_grad):
        def __enter__(self) -> Any:
            print("in")
            return super().__enter__()

    @torch.no_grad()
    def pieces() -> Any:
        for _ in range(2):
            yield torch.is_grad_enabled()

    model = net()
    train(model, 3)
    with Mine(), Mine():
        print(torch.is_grad_enabled())
    print([*pieces()], torch.is_grad_enabled())
    context = torch.no_grad()
    for _ in range(3):
        with context:
            print(torch.is_grad_enabled())
    train(model, 3)
    print(type(torch.no_grad).__name__, torch.no_grad.__name__, torch.is_grad_enabled())
    show(model)


def profiled_by_python() -> None:
    """`sys.setprofile` and `sys.settrace` of the script count its own lines and calls"""
    events: list[str] = []
    own = __file__

    def profile(frame: Any, event: str, argument: Any) -> None:
        if frame.f_code.co_filename == own:
            events.append(f"{event} {frame.f_code.co_name}")

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename == own:
            events.append(f"{event} {frame.f_lineno}")
            return trace
        return None

    model = net()
    sys.setprofile(profile)
    train(model)
    sys.setprofile(None)
    sys.settrace(trace)
    train(model)
    sys.settrace(None)
    show(model, events=events)


def callers_inspected() -> None:
    """a hook of the script's asks who called it"""
    names = []

    class Asking(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            frame = sys._getframe(1)
            while frame is not None and frame.f_code.co_filename != __file__:
                frame = frame.f_back
            names.append(frame.f_code.co_name if frame is not None else "nobody")
            return x

    model = nn.Sequential(net(), Asking())
    train(model)
    show(model, names=names)


def weird_callables() -> None:
    """callables that are no functions: partials, methods, objects, lambdas as hooks, losses and closures"""

    class Loss:
        def __call__(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(out, y)

    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses = [Loss(), functools.partial(F.cross_entropy, label_smoothing=0.1), nn.CrossEntropyLoss().forward]
    for step in range(6):
        model.register_forward_hook(functools.partial(lambda scale, module, args, out: out * scale, 1.01))
        optimizer.zero_grad()
        loss = losses[step % 3](model(x), y)
        loss.backward()
        optimizer.step()
    show(model)


def printing_replaced() -> None:
    """`print` and `sys.stdout` are replaced"""
    import builtins

    lines: list[str] = []
    original = builtins.print
    builtins.print = lambda *values, **kwargs: lines.append(" ".join(map(str, values)))
    with contextlib.redirect_stdout(io.StringIO()) as text:
        model = net()
        train(model)
        print("hello")
        sys.stdout.write("there")
    builtins.print = original
    show(model, lines=lines, text=text.getvalue())


def nothing_of_ours_is_left() -> None:
    """after the window: no wrapper, hook, mode or import hook of ours is left (compared with the window's end only)"""
    model = net()
    train(model, 8)
    hooks = torch.nn.modules.module
    optim = sys.modules["torch.optim.optimizer"]
    for owner in (torch, torch.autograd, nn.Module, torch.Tensor, torch.optim.Optimizer, nn.utils, DataLoader):
        functions = {name: value for name, value in vars(owner).items() if inspect.isfunction(value)}
        print(owner.__name__, [name for name, value in functions.items() if "traindx" in value.__code__.co_filename])
    show(
        hooks=[len(value or ()) for name, value in sorted(vars(hooks).items()) if name.endswith("_hooks")],
        steps=[len(optim._global_optimizer_pre_hooks), len(optim._global_optimizer_post_hooks)],
        modes=torch._C._len_torch_function_stack(),
        random=inspect.ismethod(random.seed),
    )


if __name__ == "__main__":
    main()
