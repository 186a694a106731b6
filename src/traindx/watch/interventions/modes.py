"""The one function mode of an arm: hands torch calls to the treatments that asked for them.

It is put in place only where a treatment needs it, and taken away around compiled code, in which nothing of ours can
act; a treatment whose place lies inside has then not been tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from traindx.core import compat
from traindx.watch.collectors.networks import is_users_module
from traindx.watch.runtime.call_sites import CallSite

if TYPE_CHECKING:
    from traindx.watch.interventions.arm import Arm
    from traindx.watch.interventions.treatment import RuntimeTreatment

Replace = Callable[[str, Any, tuple[Any, ...], dict[str, Any]], Any]
AfterScalar = Callable[[Any, Any], None]


class Modes:
    """Subscribers, the mode, and which library module is running."""

    def __init__(self, arm: Arm) -> None:
        self.arm = arm
        self._table: dict[Any, tuple[str, list[tuple[RuntimeTreatment, Replace]]]] = {}
        self._scalars: list[tuple[RuntimeTreatment, AfterScalar]] = []
        self._mode: Any = None
        self._pushed = False
        self._stack: list[Any] = []
        self._compiled = False

    def on(self, treatment: RuntimeTreatment, functions: dict[Any, str], replace: Replace) -> None:
        """Call ``replace(name, function, args, kwargs)`` instead; ``NotImplemented`` leaves the call as it is."""
        for function, name in functions.items():
            if function is not None:
                self._table.setdefault(function, (name, []))[1].append((treatment, replace))

    def on_scalars(self, treatment: RuntimeTreatment, after: AfterScalar) -> None:
        """Call ``after(function, output)`` when a scalar with a gradient was computed."""
        self._scalars.append((treatment, after))

    # -- library modules -----------------------------------------------------------------------------------------

    def entered(self, module: Any) -> None:
        """A module's call begins."""
        if self._pushed:
            self._stack.append(module)

    def left(self, module: Any) -> None:
        """It ended."""
        while self._stack:
            if self._stack.pop() is module:
                break

    def library_maker(self) -> CallSite | None:
        """Where the library module that is running was made; None inside the user's own."""
        if not self._stack:
            return None
        top = self._stack[-1]
        return None if is_users_module(type(top).__module__) else self.arm.makers.of(top)

    # -- the mode ------------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Define the mode."""
        arm, table, scalars, torch = self.arm, self._table, self._scalars, self.arm.torch
        plain = (torch.Tensor, torch.nn.Parameter)

        class Treating(torch.overrides.TorchFunctionMode):  # type: ignore[misc, name-defined, unused-ignore]
            def __torch_function__(
                self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
            ) -> Any:
                kwargs = kwargs or {}
                entry = table.get(func)
                if entry is not None and arm.ours:
                    name, subscribers = entry
                    for treatment, replace in subscribers:
                        if treatment.refused:
                            continue
                        try:
                            out = replace(name, func, args, kwargs)
                        except Exception as error:
                            arm.failed(treatment, error)
                            continue
                        if out is not NotImplemented:
                            return out
                out = func(*args, **kwargs)
                if scalars and type(out) in plain and not out.ndim and out.requires_grad and arm.ours:
                    for treatment, after in scalars:
                        try:
                            after(func, out)
                        except Exception as error:
                            arm.failed(treatment, error)
                return out

        self._mode = Treating()
        self.arm.patches.wrap(torch, "compile", self._make_compile)

    def push(self) -> None:
        """Put the mode in place if anybody needs it."""
        if (self._table or self._scalars) and not self._pushed:
            compat.put_function_modes(self.arm.torch, [self._mode])
            self._pushed = True

    def pop(self) -> None:
        """Take it away, wherever in the stack it is."""
        if not self._pushed:
            return
        taken = compat.take_function_modes(self.arm.torch)
        compat.put_function_modes(self.arm.torch, [mode for mode in taken if mode is not self._mode])
        self._pushed = False
        self._stack.clear()

    # -- compiled code -------------------------------------------------------------------------------------------

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Nothing of ours is in place inside: compiled code would trace it."""
        tables = compat.hooks_of_all_modules(self.arm.torch)
        kept = [{key: table[key] for key in self.arm.hook_ids if key in table} for table in tables]
        pushed = self._pushed
        self.pop()
        for table, entries in zip(tables, kept, strict=True):  # ours only; the script's stay where they are
            for key in entries:
                del table[key]
        try:
            yield
        finally:
            for table, entries in zip(tables, kept, strict=True):
                table.update(entries)
            if pushed and not self.arm.over:
                self.push()

    def _compiled_function(self, function: Any) -> Any:
        def quiet(*args: Any, **kwargs: Any) -> Any:
            if self.arm.over or self.arm.torch.compiler.is_compiling():
                return function(*args, **kwargs)
            with self.quiet():
                return function(*args, **kwargs)

        return quiet

    def _make_call(self, original: Any) -> Any:
        """A compiled network is a network: its call is seen from outside."""

        def call(module: Any, *args: Any, **kwargs: Any) -> Any:
            arm = self.arm
            if arm.over or arm.torch.compiler.is_compiling():
                return original(module, *args, **kwargs)
            changed = arm.enters(module, args)
            output = None
            try:
                with self.quiet():
                    output = original(module, *(args if changed is None else changed), **kwargs)
            finally:
                replaced = arm.leaves(module, args, output)
            return output if replaced is None else replaced

        return call

    def _make_compile(self, original: Any) -> Any:
        def compile_(model: Any = None, *args: Any, **kwargs: Any) -> Any:
            if model is None:
                return original(model, *args, **kwargs)
            compiled = original(model, *args, **kwargs)
            if not isinstance(model, self.arm.torch.nn.Module):
                return self._compiled_function(compiled)
            if not self._compiled:
                self._compiled = True
                self.arm.patches.wrap(compat.compiled_module_type(), "__call__", self._make_call)
            return compiled

        return compile_
