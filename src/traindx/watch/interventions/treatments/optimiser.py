"""``zero-gradients``, ``add-parameters``, ``no-clipping``: what a loop does with gradients before it steps."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from traindx.watch.interventions.treatments.base import RuntimeTreatment
from traindx.watch.runtime.call_sites import CallSite, here


class ZeroGradients(RuntimeTreatment):
    """``optimizer.zero_grad()`` before the backward pass at a line, once after every step."""

    effect = "gradients are cleared before the backward pass, once after every step"

    def install(self) -> None:
        """Count steps, and stand before backward passes."""
        self._stepped: list[Any] = []
        import_module("torch.optim.optimizer").register_optimizer_step_post_hook(self._after_step)
        self.arm.before_backward.append(self.safe(self._before))

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self.arm.ours and not any(known is optimizer for known in self._stepped):
            self._stepped.append(optimizer)

    def _before(self, root: Any, site: CallSite | None) -> None:
        if not self.place.holds(site):
            return
        for optimizer in self._stepped:
            optimizer.zero_grad()
            self.hits += 1
        self._stepped = []


class AddParameters(RuntimeTreatment):
    """Parameters that get gradients and are in no optimiser join the first group of the optimiser.

    They are those of modules that were called inside a network (or a module around it) of which the optimiser holds a
    part, so that a frozen or borrowed network is left alone. The optimiser is the one made at the line; the first one,
    where the line is not one that makes an optimiser (a plain list of layers, say).
    """

    effect = "parameters with a gradient that no optimiser holds join the one of their network"

    def install(self) -> None:
        """Look at modules until the first step."""
        torch = self.arm.torch
        self._called: list[tuple[Any, list[Any]]] = []
        self._looked: list[Any] = []
        self._joined: list[Any] = []
        torch.nn.modules.module.register_module_forward_pre_hook(self.safe(self._module))
        import_module("torch.optim.optimizer").register_optimizer_step_pre_hook(self.safe(self._before_step))

    def _module(self, module: Any, args: Any) -> None:
        if self.arm.iteration > 2 or not self.arm.ours or not self.arm.torch.is_grad_enabled():
            return
        if self.arm.depth:
            modules = next((modules for root, modules in self._called if root is self.arm.root), None)
            if modules is None:
                modules = []
                self._called.append((self.arm.root, modules))
            if not any(known is module for known in modules):
                modules.append(module)

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        """Look now, or, where a closure computes the gradients inside the step, right after the closure."""
        if not self.arm.ours or any(looked is optimizer for looked in self._looked):
            return None
        self._looked.append(optimizer)
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if not callable(closure):
            self._join(optimizer)
            return None

        def followed() -> Any:
            loss = closure()
            self.safe(self._join)(optimizer)
            return loss

        return ((args[0], followed, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": followed})

    def _join(self, optimizer: Any) -> None:
        """Give the optimiser what is missing, once."""
        if any(joined is optimizer for joined in self._joined):
            return
        self._joined.append(optimizer)
        known = [made for reference in self.arm.made if (made := reference()) is not None]
        mine = [made for made in known if self.place.line and self.place.holds(self.arm.makers.of(made))]
        if mine and not any(made is optimizer for made in mine):
            return
        held = {id(p) for made in known for group in made.param_groups for p in group["params"]}
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        missing: list[Any] = []
        for root, modules in self._called:
            parameters = [p for module in modules for p in module.parameters(recurse=False)]
            if not any(id(p) in own for p in parameters) and not self._within(root, own):
                continue
            for parameter in parameters:
                if parameter.requires_grad and parameter.grad is not None and id(parameter) not in held:
                    held.add(id(parameter))
                    missing.append(parameter)
        optimizer.param_groups[0]["params"].extend(missing)
        self.hits += len(missing)

    def _within(self, root: Any, own: set[int]) -> bool:
        """True if a module that holds this network (a LightningModule, say) has other parameters in the optimiser."""
        modules = [made for made in list(self.arm.makers.made) if isinstance(made, self.arm.torch.nn.Module)]
        return any(
            made is not root
            and any(child is root for child in made.modules())
            and any(id(p) in own for p in made.parameters())
            for made in modules
        )

    def finish(self) -> None:
        """Nothing was missing after all."""
        if not self.hits:
            self.refuse("every parameter with a gradient was in an optimiser at its first step")


class NoClipping(RuntimeTreatment):
    """Clipping of gradients at a line measures the norm as before and changes nothing."""

    effect = "gradient clipping measures the norm and changes nothing"

    def install(self) -> None:
        """Patch the clipping functions where loops take them from."""
        torch = self.arm.torch
        module = import_module("torch.nn.utils.clip_grad")
        for owner in (module, torch.nn.utils):
            self.arm.patches.wrap(owner, "clip_grad_norm_", self._make_norm)
            self.arm.patches.wrap(owner, "clip_grad_value_", self._make_value)

    def _make_norm(self, original: Any) -> Any:
        def clip_grad_norm_(parameters: Any, max_norm: Any, *args: Any, **kwargs: Any) -> Any:
            if self.arm.ours and self.place.holds(here()):
                self.hits += 1
                max_norm = float("inf")  # the factor is then exactly one
            return original(parameters, max_norm, *args, **kwargs)

        return clip_grad_norm_

    def _make_value(self, original: Any) -> Any:
        def clip_grad_value_(parameters: Any, clip_value: Any, *args: Any, **kwargs: Any) -> Any:
            if self.arm.ours and self.place.holds(here()):
                self.hits += 1
                return None
            return original(parameters, clip_value, *args, **kwargs)

        return clip_grad_value_
