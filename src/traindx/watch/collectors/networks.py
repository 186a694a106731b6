"""Modules: where they were made, which of them are networks, from which lines and in which mode they are called.

A *network* is an outermost module call with parameters. Its calls are told apart by line: training, validation,
sampling loop or helper, without any help from the script.
"""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from types import FrameType
from typing import Any

from traindx.core.compat import hooks_in_a_call
from traindx.evidence.base import Record
from traindx.evidence.observed import LayerBuiltInCall, ModeSwitch, NetworkCalls
from traindx.finding import Location
from traindx.watch.collectors.loaders import Loaders
from traindx.watch.collectors.torch_calls import TorchCalls
from traindx.watch.runtime.call_sites import CallSite, constructor_site, here, users
from traindx.watch.runtime.calling import without_hooks
from traindx.watch.runtime.structure import children, named_modules, own_parameters
from traindx.watch.runtime.watch import Collector, Watch
from traindx.watch.runtime.wiring import Signal

MOST_FRAMES = 60
PASS = 3  # calls one after the other
_RECONSTRUCTS = getattr(getattr(copy, "_reconstruct", None), "__code__", None)
NOISY = ("Dropout", "BatchNorm", "SyncBatchNorm", "AlphaDropout")


@dataclass
class Call:
    """One call of an outermost network, as it is handed to the subscribers when it has ended."""

    network: Any
    site: CallSite
    place: CallPlace
    grad: bool
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    output: Any = None


@dataclass(eq=False)
class CallPlace:
    """All calls of one network class from one line with or without gradients.

    Attributes:
        feeds: Its output was compared with, or given to, something that has a gradient.
        followed: Backward passes up to which its output, with gradients, was followed.
        reached: Those that its output reached.
        since: Calls after the last backward pass.
    """

    network: str
    made: CallSite | None
    site: CallSite
    grad: bool
    calls: int = 0
    iterations: set[int] = field(default_factory=set)
    training: int = 0
    noisy: tuple[str, ...] = ()
    quiet: int = 0
    dropout_only: bool = False
    first: int = -1
    last: int = -1
    loader: Any = None
    time_changes: bool = False
    left_training: int = -1
    longest_burst: int = 0
    burst: int = 0
    burst_iteration: int = -1
    feeds: bool = False
    followed: int = 0
    reached: int = 0
    since: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """What tells places apart."""
        return (self.network, self.site, self.grad)


@dataclass
class Built:
    """Layers made anew at one line in calls of a network."""

    calls: int = 0
    training: int = 0
    iterations: set[int] = field(default_factory=set)


class Networks(Collector):
    """Module construction, module calls and mode switches.

    Attributes:
        depth: Modules with parameters that are being called right now.
        stack: All modules that are being called right now, outermost first.
        made: Line that constructed each module.
        copied: Line that made a module as a copy of another (``deepcopy``), or read it from a file as a whole.
        built: Layers with parameters that were made while a network was called, by network, layer and line.
        called: Modules called with gradients enabled, with the order in which they were first called.
        roots: Outermost modules that were called, with the line.
        places: Call places by key.
        layers_entered: Calls so far of modules that have parameters of their own.
        names: Names of parameters, as far as somebody has walked the networks that own them.
        on_begin: Tells a call of an outermost network that begins, with its positional arguments.
        on_call: Tells every call of an outermost network, when it has ended.
        on_enter: Tells a module without parameters that is called outside every network (a loss, a transform).
        on_module: Tells module, arguments and output of every module inside a network, after its call.
        on_ended: Tells module, arguments, keyword arguments and output of every module, after its call.
    """

    subject = "modules"

    def __init__(self, watch: Watch, loaders: Loaders, calls: TorchCalls) -> None:
        super().__init__(watch)
        self.calls = calls
        self.loaders = loaders
        weak = watch.torch.utils.weak  # by identity: some modules (metrics) redefine ``==``
        self.made: Any = weak.WeakIdKeyDictionary()
        self.copied: Any = weak.WeakIdKeyDictionary()
        self.stack: list[Any] = []
        self.depth = 0
        self.places: dict[tuple[object, ...], CallPlace] = {}
        self.built: dict[tuple[str, str, CallSite], Built] = {}
        self._born: Any = weak.WeakIdKeyDictionary()  # modules that were constructed while a network was called
        self.called: Any = weak.WeakIdKeyDictionary()
        self.roots: Any = weak.WeakIdKeyDictionary()
        self.order = 0
        self.layers_entered = 0
        self.names: Any = watch.weak_table()
        self._has_parameters: Any = weak.WeakIdKeyDictionary()
        self.on_begin: Signal[[Call, tuple[Any, ...]]] = Signal(watch)
        self.on_call: Signal[[Call]] = Signal(watch)
        self.on_enter: Signal[[Any, Any]] = Signal(watch)
        self.on_module: Signal[[Any, Any, Any]] = Signal(watch)
        self.on_ended: Signal[[Any, Any, Any, Any]] = Signal(watch)
        self._switches: dict[tuple[str, str, CallSite], list[int]] = {}
        self._switch_order: list[tuple[str, str, CallSite]] = []
        self._handles: list[Any] = []
        self._open: Call | None = None
        self._inside_train = False
        layers = watch.torch.nn
        self._with_fast_path = (layers.MultiheadAttention, layers.TransformerEncoderLayer, layers.TransformerEncoder)

    # -- installation --------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Patch construction and mode switches; calls are seen by hooks that come and go with the watch."""
        torch, watch = self.watch.torch, self.watch
        module_type = torch.nn.Module

        def make_init(original: Any) -> Any:
            def init(module: Any, *args: Any, **kwargs: Any) -> None:
                original(module, *args, **kwargs)
                if watch.here_and_now:
                    with watch.ours(self):
                        site = constructor_site(module)
                        if site is not None:
                            self.made[module] = site
                            if self.depth:
                                self._born[module] = site

            return init

        def make_setstate(original: Any) -> Any:
            def setstate(module: Any, state: Any) -> None:  # no copy is constructed: this is all that is called of it
                original(module, state)
                if watch.here_and_now and not self.depth:
                    with watch.ours(self):
                        site = here()
                        if site is not None:
                            self.copied[module] = site
                            part = _part_that_is_copied(sys._getframe(1))
                            made = self.made.get(part) if part is not None else None
                            self.made.setdefault(module, made or site)

            return setstate

        def make_train(original: Any) -> Any:
            def train(module: Any, mode: bool = True) -> Any:
                if self._inside_train or not watch.here_and_now:
                    return original(module, mode)
                self._inside_train = True
                try:
                    return original(module, mode)
                finally:
                    self._inside_train = False
                    self._switched(module, bool(mode))

            return train

        watch.patches.wrap(module_type, "__init__", make_init)
        watch.patches.wrap(module_type, "__setstate__", make_setstate)
        watch.patches.wrap(module_type, "train", make_train)
        watch.attach_hooks.append(self._attach)
        watch.detach_hooks.append(self._detach)

    def _attach(self) -> None:
        hooks = self.watch.torch.nn.modules.module
        self._handles = [
            hooks.register_module_forward_pre_hook(self.entered),
            hooks.register_module_forward_hook(self.left, with_kwargs=True, always_call=True),
        ]

    @property
    def hooks_in_place(self) -> int:
        """How many of the hooks on all modules are ours."""
        return len(self._handles)

    def _detach(self) -> None:
        hooks = self.watch.torch.nn.modules.module
        for handle in self._handles:
            handle.remove()
            for left_over in ("_global_forward_hooks_always_called", "_global_forward_hooks_with_kwargs"):
                getattr(hooks, left_over, {}).pop(handle.id, None)  # torch 2.13 forgets them, and calls stay slow
        self._handles = []
        if not self.watch.quiet_depth:
            self.stack.clear()
            self.depth = 0
            self._open = None

    def begin(self) -> None:
        """An exception may have left modules on the stack."""
        self.stack.clear()
        self.depth = 0
        self._open = None

    # -- modes ---------------------------------------------------------------------------------------------------

    def _switched(self, module: Any, mode: bool) -> None:
        if not self.has_parameters(module):
            return
        site = here()
        network = type(module).__name__
        if site is not None:
            key = (network, "train" if mode else "eval", site)
            seen = self._switches.setdefault(key, [0, -1, self.watch.iteration])
            seen[0] += 1
            seen[1] = self.watch.iteration
            if key in self._switch_order:
                self._switch_order.remove(key)
            self._switch_order.append(key)
        if not mode:
            self.watch.begin_burst(("eval", site))
        elif mode:
            self.watch.end_burst()

    # -- calls ---------------------------------------------------------------------------------------------------

    def has_parameters(self, module: Any) -> bool:
        """True if a module or any of its children has a parameter (remembered: parameters are rarely added later)."""
        if self._has_parameters.get(module):
            return True
        known = any(own_parameters(part) for _, part in named_modules(module))
        if known:
            self._has_parameters[module] = known
        return known

    def _looks_for_modes(self, module: Any) -> bool:
        """True for layers that compute in another way, and with other last bits, where a function mode is in place."""
        return isinstance(module, self._with_fast_path) and threading.get_ident() == self.watch.thread

    def entered(self, module: Any, args: tuple[Any, ...]) -> None:
        """A module is being called (a global forward pre-hook)."""
        watch = self.watch
        if self._looks_for_modes(module):
            self.calls.suspend()
        if watch.in_backward or not watch.here_and_now:
            return
        self.stack.append(module)
        self.layers_entered += bool(module._parameters)
        if self.has_parameters(module):
            self.depth += 1
            if self.depth == 1:
                self._root_begins(module, args)
        elif not self.depth:
            self.on_enter.tell(module, args)

    def _root_begins(self, module: Any, args: tuple[Any, ...]) -> None:
        site = here() or CallSite("", 0, "")
        grad = bool(self.watch.torch.is_grad_enabled())
        name = type(module).__name__
        key = (name, site, grad)
        place = self.places.get(key)
        if place is None:
            place = self.places[key] = CallPlace(name, self.made.get(module), site, grad)
            with self.watch.ours(self):
                self._look_for_forward(module, site)
        self._open = Call(module, site, place, grad)
        self.roots[module] = site
        with self.watch.ours(self):
            self.on_begin.tell(self._open, args)

    def _look_for_forward(self, module: Any, site: CallSite) -> None:
        """Say so if this is a part of a network whose ``forward`` the script calls itself, past all hooks."""
        codes = {
            code: owner
            for owner in list(self.made)
            if any(child is module for child in children(owner))
            and (code := getattr(type(owner).forward, "__code__", None)) is not None
        }
        frame: FrameType | None = sys._getframe(1) if codes else None
        for _ in range(MOST_FRAMES):
            if frame is None:
                return
            owner = codes.get(frame.f_code)
            if owner is not None:
                reason = (
                    "its forward() is called directly, past its hooks: its parts are watched as networks of their own"
                )
                self.watch.not_examined(f"{type(owner).__name__} as a whole", reason, site)
                return
            frame = frame.f_back

    def left(self, module: Any, args: tuple[Any, ...], *rest: Any) -> None:
        """A module's call has ended, also by an exception (a global forward hook).

        After an exception torch hands over no keywords, although it was asked to, and no output.
        """
        kwargs, output = rest if len(rest) == 2 else ({}, rest[0])
        self._call_ended(module, args, kwargs, output)
        error = sys.exception() if len(rest) == 1 else None
        if error is not None and hooks_in_a_call(self.watch.torch, module) == len(self._handles):  # all of them ours
            without_hooks(error, sys._getframe(1))
        if self._looks_for_modes(module):
            self.calls.resume()

    def _call_ended(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        watch = self.watch
        if watch.in_backward or not watch.here_and_now or not any(entered is module for entered in self.stack):
            return
        while self.stack:
            top = self.stack.pop()
            if self._has_parameters.get(top):
                self.depth -= 1
            if top is module:
                break
        ended = False
        with watch.ours(self):
            if watch.grad_enabled and module not in self.called:
                self.called[module] = self.order
                self.order += 1
            if module in self._born:
                self._built_in_call(module)
            self.on_module.tell(module, args, output)
            self.on_ended.tell(module, args, kwargs, output)
            call = self._open
            if call is not None and self.depth == 0 and call.network is module:
                self._open = None
                call.args, call.kwargs, call.output = args, kwargs, output
                self._root_ends(call)
                ended = True
        if ended:  # transforms and losses are modules, too, and no networks
            watch.spend_burst()

    def _built_in_call(self, module: Any) -> None:
        """A layer with parameters that was made during this very call, and that the network does not keep."""
        root = self._open.network if self._open is not None else None
        # A container's weights are its layers': a slice of a Sequential is made anew, what it holds is not.
        own = {id(weight) for weight in module._parameters.values() if weight is not None}
        if root is None or not own or any(part is module for _, part in named_modules(root)):
            return
        if own <= {id(weight) for _, part in named_modules(root) for weight in part._parameters.values()}:
            return
        key = (type(root).__name__, type(module).__name__, self._born.pop(module))
        entry = self.built.setdefault(key, Built())
        entry.calls += 1
        entry.iterations.add(self.watch.iteration)
        entry.training += self.watch.grad_enabled

    def _root_ends(self, call: Call) -> None:
        place, iteration = call.place, self.watch.iteration
        place.calls += 1
        place.iterations.add(iteration)
        place.first = iteration if place.first < 0 else place.first
        place.last = iteration
        if call.network.training:
            place.training += 1
        elif place.training and place.left_training < 0:
            place.left_training = iteration
        place.loader = self.loaders.last
        place.burst = place.burst + 1 if place.burst_iteration == iteration else 1
        place.burst_iteration = iteration
        place.longest_burst = max(place.longest_burst, place.burst)
        self._look_at_modes(call)
        self.on_call.tell(call)

    def _look_at_modes(self, call: Call) -> None:
        """Which dropout and batch-norm layers are in which mode; only at the first calls, since it walks the tree."""
        place = call.place
        if place.calls > 4 and place.calls & (place.calls - 1):
            return
        noisy, quiet, dropout = [], 0, True
        for name, module in named_modules(call.network):
            kind = type(module).__name__
            if kind.startswith(NOISY) and not _does_nothing(module):
                if module.training:
                    noisy.append(f"{name} ({kind})")
                    dropout = dropout and "Dropout" in kind
                else:
                    quiet += 1
        if noisy or not place.noisy:
            place.noisy, place.quiet, place.dropout_only = tuple(noisy[:8]), quiet, bool(noisy) and dropout

    # -- what follows --------------------------------------------------------------------------------------------

    def phase(self, place: CallPlace) -> str:
        """Training, validation, sampling, auxiliary or inference; see :class:`.evidence.observed.NetworkCalls`.

        A call with gradients is a validation only if its output was followed to backward passes, or to the end, and
        never reached one, while that of another call did: more than once, or in calls that follow one another on data
        that are not trained on. In training mode the latter alone counts.
        """
        if place.time_changes and place.longest_burst >= PASS and not (place.grad and self.watch.backwards):
            return "sampling"
        if not self.watch.backwards and not self.watch.steps:
            return "inference"
        if place.grad:
            others = any(other.reached for other in self.places.values())
            followed = place.followed + (place.since if self.watch.ending else 0)  # no backward pass comes any more
            aside = followed > 0 and not place.reached and others
            held_out = place.loader is not None and not place.loader.trains and place.longest_burst >= PASS
            enough = held_out and not place.feeds if place.training else held_out or followed > 1
            return "validation" if aside and enough else "training"
        return "auxiliary" if place.feeds else "validation"

    def library_maker(self) -> CallSite | None:
        """Where the library module that is running right now was made; None inside a module of the user's own."""
        if not self.stack:
            return None
        top = self.stack[-1]
        return None if is_users_module(type(top).__module__) else self.made.get(top)

    def records(self) -> Iterable[Record]:
        """Call places and mode switches."""
        for place in self.places.values():
            yield NetworkCalls(
                network=place.network,
                where=place.site.location() if place.site.file else None,
                made=place_of(place.made),
                phase=self.phase(place),
                calls=place.calls,
                iterations=len(place.iterations),
                in_training_mode=place.training,
                left_training_mode=place.left_training,
                noisy=place.noisy,
                quiet=place.quiet,
                with_dropout_only=place.dropout_only,
                first_iteration=place.first,
                last_iteration=place.last,
                loader=place_of(place.loader.made) if place.loader is not None else None,
                other_data=place.loader is not None and not place.loader.trains,
                with_gradients=place.grad,
                step=place.last,
            )
        for (owner, layer, site), built in self.built.items():
            yield LayerBuiltInCall(
                network=owner,
                layer=layer,
                where=site.location(),
                calls=built.calls,
                training=built.training,
                iterations=len(built.iterations),
                step=max(built.iterations),
            )
        for key in self._switch_order:
            network, mode, site = key
            times, last, first = self._switches[key]
            yield ModeSwitch(
                network=network,
                mode=mode,
                where=site.location(),
                times=times,
                last_iteration=last,
                iterations_before=first,
                iterations_after=max(0, self.watch.iteration - last),
                step=last,
            )


def place_of(site: CallSite | None) -> Location | None:
    """A site as a location."""
    return site.location() if site is not None and site.file else None


@cache
def is_users_module(name: str) -> bool:
    """True if a module is user code."""
    filename = getattr(sys.modules.get(name), "__file__", None)
    return bool(filename) and users(str(filename))


def _does_nothing(module: Any) -> bool:
    """Dropout of probability zero; normalisation without running statistics behaves the same in both modes."""
    probability = getattr(module, "p", None)
    if probability is not None:
        return float(probability) == 0.0
    return not getattr(module, "track_running_stats", True)


def _part_that_is_copied(frame: FrameType) -> Any:
    """The layer whose copy gets its state, inside of a whole that is copied; None for the whole, made where it is."""
    while frame.f_code.co_name == "__setstate__" and frame.f_back is not None:  # a layer's own, which calls this one
        frame = frame.f_back
    if _RECONSTRUCTS is None or frame.f_code is not _RECONSTRUCTS:
        return None
    above = frame.f_back
    while above is not None and above.f_code.co_filename == _RECONSTRUCTS.co_filename:
        if above.f_code is _RECONSTRUCTS:
            return frame.f_locals.get("x")
        above = above.f_back
    return None
