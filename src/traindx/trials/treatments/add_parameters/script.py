"""``add-parameters``: parameters that get gradients and that no optimiser holds join one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from traindx.watch.interventions.treatment import RuntimeTreatment


class AddParameters(RuntimeTreatment):
    """Parameters that get gradients and are in no optimiser join the first group of the optimiser.

    They are those of modules that were called inside a network (or a module around it) of which the optimiser holds a
    part, so that a frozen or borrowed network is left alone. The optimiser is the one made at the line; the first one,
    where the line is not one that makes an optimiser (a plain list of layers, say).
    """

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
