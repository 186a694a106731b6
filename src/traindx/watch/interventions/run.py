"""The script's process during an arm: applies the treatments, counts iterations, records what decides a comparison.

Much less is done here than by the :class:`~traindx.watch.runtime.watch.Watch`: a counter at the optimiser's step, a
look at the outermost calls of networks, and what the treatments in place need. All arms of a pair do the same.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindx.watch.interventions.digests import Digest, digest_of
from traindx.watch.interventions.held_numbers import numbers_held
from traindx.watch.interventions.modes import Modes
from traindx.watch.interventions.outputs import Outputs
from traindx.watch.interventions.places import Makers
from traindx.watch.interventions.readings import Readings
from traindx.watch.runtime.call_sites import CallSite, here, loaded_files
from traindx.watch.runtime.patching import Patches
from traindx.watch.runtime.settings import ARM_FILE, WINDOW_FILE, Settings, write_heartbeat
from traindx.watch.runtime.structure import members, named_parameters
from traindx.watch.runtime.watch import WindowEnded

if TYPE_CHECKING:
    from traindx.watch.interventions.seeding import Seeding
    from traindx.watch.interventions.treatment import RuntimeTreatment

MOST_LOSSES = 20_000
MOST_NETWORKS = 64


class Variant:
    """State of one arm.

    Attributes:
        torch: The torch module of the script.
        iteration: Steps of the first optimiser.
        inside: Our own code runs; treatments leave it alone.
        optimizers: Optimisers in the order of their first step.
        networks: Outermost modules that were called.
        root: The outermost module that is being called, or was last.
        depth: Modules with parameters that are being called right now.
        evaluating: The last call of a network was one without gradients.
        validating: The last thing done with a network was a call without gradients or in evaluation mode; a backward
            pass or a step ends it.
        validated: A network was called so.
        before_backward: Called with the root and the line before a backward pass.
        entering: Called with an outermost network and its arguments before its call; may return other arguments.
        leaving: Called with an outermost network and its output after its call; may return another output.
        over: Nothing is recorded or treated any more.
    """

    def __init__(self, torch: Any, settings: Settings, seeding: Seeding, readings: Readings) -> None:
        self.torch, self.settings, self.seeding, self.readings = torch, settings, seeding, readings
        self.out = Path(settings.out)
        self.pid, self.thread = os.getpid(), threading.get_ident()
        self.patches = Patches()
        self.makers = Makers(torch)
        self.modes = Modes(self)
        self.outputs = Outputs(self)
        self.treatments: list[RuntimeTreatment] = []
        self.overlay: Any = None  # changed sources, which were put in place before torch was imported
        self.iteration = self.backwards = 0
        self.started = time.monotonic()
        self.first_step = 0.0
        self.beat = 0.0
        self.inside = self.over = self.evaluating = self.validating = self.validated = False
        self.held: dict[str, list[float]] = {}
        self.depth = 0
        self.optimizers: list[Any] = []
        self.parameters: list[Any] = []
        self.made: list[Any] = []  # weak references to all optimisers
        self.networks: list[Any] = []
        self.losses: list[float] = []
        self.first_gradient = ""
        self.not_finite = ""
        self.notes: list[str] = []
        self.before_backward: list[Callable[[Any, CallSite | None], None]] = []
        self.entering: list[Callable[[Any, tuple[Any, ...]], tuple[Any, ...] | None]] = []
        self.leaving: list[Callable[[Any, Any], Any]] = []
        self.root: Any = None
        self.hook_ids: tuple[int, ...] = ()
        self._has_parameters: Any = torch.utils.weak.WeakIdKeyDictionary()

    @property
    def ours(self) -> bool:
        """True in the script's own thread and process while something is still to be done."""
        return not self.over and not self.inside and os.getpid() == self.pid and threading.get_ident() == self.thread

    # -- installation --------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Put everything in place; torch was just imported."""
        torch, wrap = self.torch, self.patches.wrap
        hooks = torch.nn.modules.module
        self.hook_ids = (
            hooks.register_module_forward_pre_hook(self.enters).id,
            hooks.register_module_forward_hook(self.leaves, always_call=True).id,
        )
        optim = import_module("torch.optim.optimizer")
        optim.register_optimizer_step_pre_hook(self._before_step)
        wrap(torch.optim.Optimizer, "__init__", self._make_init)
        wrap(torch.nn.Module, "__init__", self._make_init)
        wrap(torch.autograd, "backward", self._make_backward)
        grad_scaler = import_module("torch.amp.grad_scaler")
        wrap(grad_scaler.GradScaler, "step", self._make_scaler)
        self.modes.install()
        self.outputs.install()
        from traindx.watch.interventions.treatment import build

        for fields in self.settings.treatments:
            treatment = build(fields, self)
            self.treatments.append(treatment)
            treatment.install()
        optim.register_optimizer_step_post_hook(self._after_step)
        self.modes.push()

    def failed(self, treatment: RuntimeTreatment, error: Exception) -> None:
        """A treatment of ours raised: the script goes on without it, and nothing is concluded from the arm."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        treatment.refuse(f"{type(error).__name__}: {error} ({os.path.basename(place.filename)}:{place.lineno})")

    def _make_init(self, original: Any) -> Any:
        def init(instance: Any, *args: Any, **kwargs: Any) -> None:
            original(instance, *args, **kwargs)
            if self.ours:
                self.makers.remember(instance)
                if isinstance(instance, self.torch.optim.Optimizer):
                    self.made.append(weakref.ref(instance))

        return init

    # -- networks ------------------------------------------------------------------------------------------------

    def has_parameters(self, module: Any) -> bool:
        """True if a module or one of its children has a parameter."""
        if self._has_parameters.get(module):
            return True
        known = any(True for _ in named_parameters(module))
        if known:
            self._has_parameters[module] = known
        return known

    def enters(self, module: Any, args: tuple[Any, ...]) -> Any:
        """A module's call begins; what is returned takes the place of its arguments."""
        self.modes.entered(module)
        if not self.ours or not self.has_parameters(module):
            return None
        self.depth += 1
        if self.depth > 1:
            return None
        self.root = module
        self.evaluating = not self.torch.is_grad_enabled()
        self.validating = self.evaluating or not module.training
        self.validated = self.validated or self.validating
        if not any(known is module for known in self.networks) and len(self.networks) < MOST_NETWORKS:
            self.networks.append(module)
        changed = None
        for enter in self.entering:
            now = enter(module, args if changed is None else changed)
            changed = now if now is not None else changed
        return changed

    def leaves(self, module: Any, args: tuple[Any, ...], output: Any) -> Any:
        """A module's call ended; what is returned takes the place of its output."""
        self.modes.left(module)
        if not self.ours or not self._has_parameters.get(module) or not self.depth:
            return None
        self.depth -= 1
        if self.depth or self.root is not module:
            return None
        changed = None
        for leave in self.leaving:
            now = leave(module, output if changed is None else changed)
            changed = now if now is not None else changed
        return changed

    # -- iterations ----------------------------------------------------------------------------------------------

    def _make_backward(self, original: Any) -> Any:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
            root = next(iter(members(tensors)), None) if isinstance(tensors, list | tuple) else tensors
            if self.ours and isinstance(root, self.torch.Tensor):
                site = here()
                for tell in self.before_backward:
                    tell(root, site)
                self._note_loss(root)
            original(tensors, *args, **kwargs)
            if self.ours:
                self.validating = False
            self.backwards += 1
            if not self.optimizers and self.ours and self.backwards >= 8:
                self._tick()

        return backward

    def _note_loss(self, root: Any) -> None:
        if root.numel() == 1 and len(self.losses) < MOST_LOSSES:
            value = float(root.detach())
            self.losses.append(value)
            if not math.isfinite(value) and not self.not_finite:
                self.not_finite = f"the loss is {value} at iteration {self.iteration}"

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not self.ours or any(known is optimizer for known in self.optimizers):
            return
        self.optimizers.append(optimizer)
        held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if not self.held and not self.iteration:
            self.held = numbers_held()
        if not self.first_gradient:
            self.first_gradient = digest_of([p.grad for p in held if p.grad is not None])

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self.ours and self.optimizers and optimizer is self.optimizers[0]:
            self._tick()

    def _make_scaler(self, original: Any) -> Any:
        def step(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            before = self.iteration
            result = original(scaler, optimizer, *args, **kwargs)
            first = self.optimizers[0] if self.optimizers else optimizer
            if self.ours and self.iteration == before and optimizer is first:
                self._tick()  # a step that was left out for infinite gradients is an iteration all the same
            return result

        return step

    def _tick(self) -> None:
        now = time.monotonic()
        self.first_step = self.first_step or now
        if now - self.beat > 1.0:
            self.beat = now
            write_heartbeat(self.out, self.first_step)
        self.iteration += 1
        self.validating = False
        self.readings.iteration = self.iteration
        settings = self.settings
        full = settings.steps and self.iteration >= settings.steps
        late = settings.seconds and now - self.first_step >= settings.seconds
        if late and not self.validated:  # without a validation it tells nothing
            late = now - self.first_step >= settings.extras.get("longest", 0.0)
        if full or late:
            self.finish("window")
            (self.out / WINDOW_FILE).write_text(str(self.iteration), encoding="utf-8")
            raise WindowEnded

    # -- the end -------------------------------------------------------------------------------------------------

    def finish(self, how: str = "end") -> None:
        """Write what the arm gave, and take everything away. Safe to call twice."""
        if self.over or os.getpid() != self.pid:
            return
        self.over = True
        self.modes.pop()
        self.readings.flush()
        self.outputs.finish()
        for treatment in self.treatments:
            treatment.finish()
        held = [p for optimizer in self.optimizers for group in optimizer.param_groups for p in group["params"]]
        weights, buffers = Digest(), Digest()
        for parameter in held:
            weights.add(parameter)
        for network in self.networks:
            for parameter in network.parameters():
                weights.add(parameter)
            for buffer in network.buffers():
                buffers.add(buffer)
        fields = {
            "how": how,
            "iterations": self.iteration,
            "seconds": time.monotonic() - self.started,
            "loop_seconds": time.monotonic() - self.first_step if self.first_step else 0.0,
            "losses": self.losses,
            "not_finite": self.not_finite,
            "first_gradient": self.first_gradient,
            "weights": weights.hex,
            "buffers": buffers.hex,
            "outputs": self.outputs.digest.hex,
            "captured": self.outputs.captured,
            "figures": self.readings.dump(),
            "treatments": [treatment.report() for treatment in self.treatments],
            "seeds": self.seeding.used,
            "held": self.held,
            "imported": imported(),
            "notes": self.notes,
            "optimizers": len(self.optimizers),
        }
        temporary = self.out / f"{ARM_FILE}.tmp"
        temporary.write_text(json.dumps(fields), encoding="utf-8")
        temporary.replace(self.out / ARM_FILE)
        self.patches.undo()


def imported() -> list[str]:
    """Source files of the user's that are loaded."""
    return sorted({os.path.realpath(file) for file in loaded_files()})
