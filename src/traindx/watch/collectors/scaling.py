"""Gradient clipping and gradient scaling: in which order, how often they act, and what they skip."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.core import compat
from traindx.evidence.base import Record
from traindx.evidence.observed_optim import ClippingSeen, ScalerSeen
from traindx.watch.collectors.backwards import Backward, Backwards
from traindx.watch.collectors.networks import place_of
from traindx.watch.collectors.optimisers import Optimisers, is_adaptive
from traindx.watch.runtime.call_sites import CallSite, constructor_site, directly, here
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.structure import members
from traindx.watch.runtime.unread import Unread
from traindx.watch.runtime.watch import Collector, Watch


@dataclass
class _Clip:
    function: str
    limit: float
    adaptive: bool = False
    norms: list[float] = field(default_factory=list)
    active: list[float] = field(default_factory=list)
    unread: Unread | None = None
    calls: int = 0
    scaled: int = 0
    scale: float = 1.0
    after_step: int = 0
    before_backward: int = 0
    waiting: Any = None  # a parameter without a gradient, until its step
    empty: int = 0
    empty_at_last: bool = False


@dataclass
class _Scaler:
    made: CallSite | None
    stepped: CallSite | None = None
    steps: int = 0
    skipped: int = 0
    run: int = 0
    longest: int = 0
    updates: int = 0
    scales: list[float] = field(default_factory=list)
    enabled: bool = True
    unscaled_backward: int = 0
    used: bool = False


class Scaling(Collector):
    """Wraps ``clip_grad_norm_``, ``clip_grad_value_`` and the gradient scaler's methods."""

    subject = "gradient scaling and clipping"

    def __init__(self, watch: Watch, backwards: Backwards, optimisers: Optimisers) -> None:
        super().__init__(watch)
        self.backwards = backwards
        self.optimisers = optimisers
        self._clips: dict[tuple[Any, ...], _Clip] = {}
        self._scalers: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._order: list[_Scaler] = []
        self._live: Any = None  # the scaler whose factor is still in the gradients
        self._factor = 1.0
        self._unscaled: set[int] = set()
        self._inside_clip = False
        self._clipping = ""
        self._gradients: list[Any] = []
        self._largest: Any = None
        self._bare: Any = None  # the first parameter that is trained, where none of those given has a gradient
        self._given = -1  # how many parameters a clipping was given, where that is known

    def install(self) -> None:
        """Patch."""
        torch, watch = self.watch.torch, self.watch
        for owner in (torch.nn.utils, torch.nn.utils.clip_grad):
            for name, function in (("clip_grad_norm_", "norm"), ("clip_grad_value_", "value")):
                watch.patches.wrap(owner, name, self._make_clip(function))
        watch.patches.wrap(torch.nn.utils.clip_grad, "_group_tensors_by_device_and_dtype", self._make_grouping)
        watch.patches.wrap(torch.nn.utils.clip_grad, "_clip_grads_with_norm_", self._make_scaling)
        scaler = torch.amp.GradScaler
        watch.patches.wrap(scaler, "__init__", self._make_init)
        watch.patches.wrap(scaler, "scale", self._make_scale)
        watch.patches.wrap(scaler, "unscale_", self._make_unscale)
        watch.patches.wrap(scaler, "step", self._make_step)
        watch.patches.wrap(scaler, "update", self._make_update)
        self.backwards.on_backward(self, before=self._before_backward)
        self.optimisers.on_step(self, self._steps)

    # -- clipping ------------------------------------------------------------------------------------------------

    def _make_clip(self, function: str) -> Any:
        watch = self.watch

        def make(original: Any) -> Any:
            def clip(parameters: Any, *args: Any, **kwargs: Any) -> Any:
                limit = args[0] if args else kwargs.get("max_norm", kwargs.get("clip_value"))
                if not watch.here_and_now or self._inside_clip or limit is None:
                    return original(parameters, *args, **kwargs)
                site = here()
                self._inside_clip = True
                self._clipping = function
                self._gradients, self._largest, self._bare = [], None, None
                self._given = len(members(parameters)) if isinstance(parameters, list | tuple) else -1
                try:
                    total = original(parameters, *args, **kwargs)
                finally:
                    self._inside_clip = False
                with watch.ours(self):
                    self._clipped(function, site, limit, total if function == "norm" else self._largest)
                self._gradients, self._bare = [], None
                return total

            return clip

        return make

    def _make_scaling(self, original: Any) -> Any:
        """How many parameters there were, again as clipping itself has them."""
        watch = self.watch

        def scale(parameters: Any, *args: Any, **kwargs: Any) -> Any:
            if self._inside_clip and isinstance(parameters, list):
                self._given = len(parameters)
                with watch.ours(self):  # a mode of the script's would be told that gradients are asked for
                    if all(one.grad is None for one in parameters):
                        self._bare = next((one for one in parameters if one.requires_grad), None)
            return original(parameters, *args, **kwargs)

        return scale

    def _make_grouping(self, original: Any) -> Any:
        """What is clipped: the list that clipping makes of what it was given (which may be read once only)."""
        watch = self.watch

        def grouping(lists: Any, *args: Any, **kwargs: Any) -> Any:
            if self._inside_clip and not self._gradients and watch.here_and_now:
                with watch.ours(self):
                    self._gradients = list(lists[0])
                    if self._clipping == "value" and watch.level is not ObservationLevel.OFF:
                        sizes = [grad.detach().abs().max() for grad in self._gradients if grad.numel()]
                        self._largest = watch.torch.stack(sizes).max() if sizes else None
            return original(lists, *args, **kwargs)

        return grouping

    def _clipped(self, function: str, site: CallSite | None, limit: Any, size: Any) -> None:
        entry = self._clips.setdefault((function, site), _Clip(function, math.nan))
        limit = entry.limit = self.watch.number(limit, entry.limit)
        entry.calls += 1
        entry.empty += self._given == 0
        entry.empty_at_last = self._given == 0
        mine = {id(grad) for grad in self._gradients}
        for optimizer, tracked in self.optimisers.tracked.items():
            if any(
                p.grad is not None and id(p.grad) in mine for group in optimizer.param_groups for p in group["params"]
            ):
                entry.adaptive = entry.adaptive or is_adaptive(tracked.name)
                if self._live is not None and id(optimizer) not in self._unscaled and self._factor != 1.0:
                    entry.scaled += 1
                    entry.scale = self._factor
                if tracked.steps and tracked.since_step == 0 and not tracked.cleared:
                    entry.after_step += 1
        if self._bare is not None:
            entry.waiting = self.watch.torch.utils.weak.WeakIdRef(self._bare)
        entry.unread = entry.unread or Unread(self.watch.torch)
        if size is not None:
            entry.unread.add(size)
        if self.watch.level is not ObservationLevel.OFF:
            self._read_sizes(entry)

    def _steps(self, rate: float) -> None:
        """A step is about to be taken: with gradients that were not there when they were clipped?"""
        for entry in self._clips.values():
            bare = entry.waiting() if entry.waiting is not None else None
            if bare is not None and bare.grad is not None:
                entry.before_backward += 1
                entry.waiting = None

    def _read_sizes(self, entry: _Clip) -> None:
        for number in entry.unread.read() if entry.unread is not None else ():
            if math.isfinite(number):
                entry.norms.append(number)
                entry.active.append(float(number > entry.limit))

    # -- scaling -------------------------------------------------------------------------------------------------

    def _known(self, scaler: Any) -> _Scaler:
        entry: _Scaler | None = self._scalers.get(scaler)
        if entry is None:
            entry = self._scalers[scaler] = _Scaler(constructor_site(scaler), enabled=bool(scaler.is_enabled()))
            self._order.append(entry)
        return entry

    def _make_init(self, original: Any) -> Any:
        watch = self.watch

        def init(scaler: Any, *args: Any, **kwargs: Any) -> None:
            original(scaler, *args, **kwargs)
            if watch.here_and_now and scaler not in self._scalers:
                with watch.ours(self):
                    self._known(scaler)

        return init

    def _make_scale(self, original: Any) -> Any:
        watch = self.watch

        def scale(scaler: Any, outputs: Any) -> Any:
            result = original(scaler, outputs)
            if watch.here_and_now:
                with watch.ours(self):
                    entry = self._known(scaler)
                    entry.used = True
                    if entry.enabled:
                        if self._live is None:
                            self._unscaled.clear()
                        self._live = entry
                        self._factor = self._read(scaler)
                        for tensor in result if isinstance(result, list | tuple) else (result,):
                            if isinstance(tensor, watch.torch.Tensor):
                                self.backwards.scaled[tensor] = self._factor
            return result

        return scale

    def _read(self, scaler: Any) -> float:
        """The present factor; on a device it is read only while watching."""
        factor = compat.scale_of(scaler)
        if factor is None or (factor.device.type != "cpu" and self.watch.level is ObservationLevel.OFF):
            return self._factor
        return float(factor)

    def _make_unscale(self, original: Any) -> Any:
        def unscale_(scaler: Any, optimizer: Any) -> None:
            original(scaler, optimizer)
            self._unscaled.add(id(optimizer))

        return unscale_

    def _make_step(self, original: Any) -> Any:
        watch = self.watch

        def step(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            if not watch.here_and_now:
                return original(scaler, optimizer, *args, **kwargs)
            with watch.ours(self):
                entry = self._known(scaler)
                entry.stepped = directly() or entry.stepped
                entry.steps += 1
                if watch.level is not ObservationLevel.OFF and entry.enabled:
                    entry.scales.append(self._read(scaler))
            tracked = self.optimisers.tracked.get(optimizer)
            before = tracked.steps if tracked is not None else 0
            result = original(scaler, optimizer, *args, **kwargs)
            took = tracked is None or tracked.steps > before or watch.over
            entry.run = 0 if took else entry.run + 1
            entry.skipped += not took
            entry.longest = max(entry.longest, entry.run)
            if not took:
                self.optimisers.skipped(optimizer)
            return result

        return step

    def _make_update(self, original: Any) -> Any:
        def update(scaler: Any, *args: Any, **kwargs: Any) -> None:
            original(scaler, *args, **kwargs)
            if self.watch.here_and_now:
                with self.watch.ours(self):
                    self._known(scaler).updates += 1
            self._live = None
            self._unscaled.clear()

        return update

    def _before_backward(self, call: Backward) -> None:
        for entry in self._order:
            if entry.enabled and entry.used and entry.steps and call.scale == 1.0:
                entry.unscaled_backward += 1

    def records(self) -> Iterable[Record]:
        """Clips and scalers."""
        shown = self.watch.shown
        for (_, site), clip in self._clips.items():
            if self.watch.may_wait:
                self._read_sizes(clip)
            yield ClippingSeen(
                function=clip.function,
                where=shown(site),
                limit=clip.limit,
                calls=clip.calls,
                active=sum(clip.active) / len(clip.active) if clip.active else 0.0,
                norms=tuple(clip.norms[:128]),
                scaled=clip.scaled,
                scale=clip.scale,
                after_step=clip.after_step,
                before_backward=clip.before_backward,
                empty=clip.empty,
                empty_at_last=clip.empty_at_last,
                adaptive=clip.adaptive,
                step=self.watch.iteration,
            )
        for entry in self._order:
            if entry.steps:
                yield ScalerSeen(
                    where=place_of(entry.stepped or entry.made),
                    made=entry.made.location() if entry.made is not None else None,
                    steps=entry.steps,
                    skipped=entry.skipped,
                    longest_skip=entry.longest,
                    scales=tuple(entry.scales[:128]),
                    updates=entry.updates,
                    enabled=entry.enabled,
                    unscaled_backward=entry.unscaled_backward,
                    step=self.watch.iteration,
                )
