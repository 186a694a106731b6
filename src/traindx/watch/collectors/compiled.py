"""Compiled and traced code: nothing of ours is in place while it is entered, and the report says what is not seen."""

from __future__ import annotations

from typing import Any

from traindx.core import compat
from traindx.watch.collectors.networks import Networks
from traindx.watch.runtime.call_sites import here
from traindx.watch.runtime.watch import Collector, Watch


class Compiled(Collector):
    """Takes hooks and function mode away around ``torch.compile``-d modules and functions, tracing and export."""

    subject = "compiled code"

    def __init__(self, watch: Watch, networks: Networks) -> None:
        super().__init__(watch)
        self.networks = networks
        self._patched = False

    def install(self) -> None:
        """Patch."""
        torch, watch = self.watch.torch, self.watch

        def make_compile(original: Any) -> Any:
            def compile_(model: Any = None, *args: Any, **kwargs: Any) -> Any:
                if model is None or not watch.here_and_now:
                    return original(model, *args, **kwargs)
                kind = type(model).__name__ if isinstance(model, torch.nn.Module) else getattr(model, "__name__", "")
                watch.not_examined(
                    f"inside compiled {kind}",
                    "torch.compile turns it into one piece: its layers, clamps and loss terms cannot be watched; "
                    "what goes in and comes out, gradients and updates are",
                    here(),
                )
                if isinstance(model, torch.nn.Module):
                    self._quiet_modules()
                    return original(model, *args, **kwargs)
                return self._quiet_function(original(model, *args, **kwargs))

            return compile_

        watch.patches.wrap(torch, "compile", make_compile)
        for owner, name in (
            (torch.jit, "trace"),
            (torch.onnx, "export"),
            (torch.export, "export"),
        ):  # not jit.script, which reads its caller's frame
            watch.patches.wrap(owner, name, self._quiet_function)

    def _quiet_function(self, function: Any) -> Any:
        watch = self.watch

        def quiet(*args: Any, **kwargs: Any) -> Any:
            if watch.torch.compiler.is_compiling() or not watch.attached:
                return function(*args, **kwargs)
            with watch.quiet():
                return function(*args, **kwargs)

        quiet.__wrapped__ = function  # type: ignore[attr-defined]
        return quiet

    def _quiet_modules(self) -> None:
        """Compiled modules are called through their own class, which exists once dynamo was imported."""
        if self._patched:
            return
        self._patched = True
        watch, networks = self.watch, self.networks

        def make_call(original: Any) -> Any:
            def call(module: Any, *args: Any, **kwargs: Any) -> Any:
                if watch.torch.compiler.is_compiling() or not watch.attached or not watch.here_and_now:
                    return original(module, *args, **kwargs)
                networks.entered(module, args)
                output = None
                try:
                    with watch.quiet():
                        output = original(module, *args, **kwargs)
                finally:
                    networks.left(module, args, kwargs, output)
                return output

            return call

        watch.patches.wrap(compat.compiled_module_type(), "__call__", make_call)
