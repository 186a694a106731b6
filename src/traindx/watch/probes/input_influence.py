"""Does the output follow every argument, where things are, which of two alike is which, and the time?

A few forward passes on a twin of the network whose zero-initialised gates were drawn again: one argument is replaced by
another sample's, moved, flipped or swapped with an equal one, and the output is compared. Where it does not follow at
all, both runs are compared operation by operation, which names the line on which the difference was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, ClassVar, NamedTuple

from traindx.core.batches import rows_of
from traindx.core.undisturbed import reinit_zero_initialized
from traindx.evidence.probed import InputProbed
from traindx.watch.collectors.inputs import is_time_like
from traindx.watch.probes.base import Probe
from traindx.watch.probes.captured import Captured, tensor_arguments
from traindx.watch.probes.isolation import CannotRepeatError, isolated, twin
from traindx.watch.probes.tracing import all_same, floats_in, in_step, traced
from traindx.watch.runtime.stats import sample

ROWS = 4  # samples that are enough to see an influence
NOTHING = 1e-6  # of the output's spread: round-off of float32
LOOK_CLOSER = 0.3  # a flip that does less than this share of what another sample does calls for a moving spot
TIMES = ("t", "time", "timestep", "timesteps", "step", "steps", "sigma", "noise_level", "temb", "tau")
MOST_ARGUMENTS = 6


class Argument(NamedTuple):
    """A tensor argument, and how to put another in its place."""

    name: str
    value: Any
    put: Callable[[Any], tuple[Any, Any]]


class InputInfluence(Probe):
    """Changes one argument at a time."""

    subject = "influence of inputs"
    forwards: ClassVar[int] = 10
    evaluation: ClassVar[bool] = True

    def look(self, captured: Captured) -> None:
        """Change what can be changed, and write down what came of it."""
        torch, call = self.watch.torch, captured.call
        first = next((a for _, a, _ in tensor_arguments(torch, call) if a.is_floating_point() and a.dim() > 1), None)
        if first is None or not captured.intact:
            return
        if first.shape[0] > ROWS:  # cut the batch where that is understood by the network
            args, kwargs = (rows_of(part, slice(0, ROWS), int(first.shape[0])) for part in (call.args, call.kwargs))
            call.args, call.kwargs, whole = args, kwargs, (call.args, call.kwargs)
        else:
            whole = (call.args, call.kwargs)
        try:
            try:
                bench = _Bench(torch, captured)
            except RuntimeError:
                call.args, call.kwargs = whole
                bench = _Bench(torch, captured)
            for record in bench.records():
                self.watch.sink.event(record.model_copy(update={"step": self.watch.iteration}))
        finally:
            call.args, call.kwargs = whole


class _Bench:
    """The base call of an experiment and everything that is compared with it."""

    def __init__(self, torch: Any, captured: Captured) -> None:
        self.torch = torch
        self.captured = captured
        self.arguments = [Argument(*one) for one in tensor_arguments(torch, captured.call)][:MOST_ARGUMENTS]
        self.model = captured.twin()
        with isolated(torch, captured.then, seed=0):
            reinit_zero_initialized(self.model)
        self.base, shape = self._outputs(captured.call.args, captured.call.kwargs)
        self.spread = max(float(self.base.std(unbiased=False)), 1e-3 * float(self.base.square().mean().sqrt()), 1e-12)
        self.spatial = shape[2:] if len(shape) >= 4 else ()
        again, _ = self._outputs(captured.call.args, captured.call.kwargs, seed=1)
        self.noise = self._difference(again)

    def _outputs(self, args: Any, kwargs: Any, seed: int | None = None) -> tuple[Any, tuple[int, ...]]:
        """A sample of all numbers that the network gives, and the shape of its first tensor."""
        model = twin(self.torch, self.model)
        outputs = list(floats_in(self.torch, self.captured.again(args, kwargs, network=model, seed=seed)))
        if not outputs:
            raise CannotRepeatError("it gives no tensor of floating-point numbers")
        return self.torch.cat([sample(one, 65536) for one in outputs[:8]]), tuple(outputs[0].shape)

    def _difference(self, other: Any) -> float:
        if other.shape != self.base.shape:
            return float("inf")
        return float((other - self.base).square().mean().sqrt()) / self.spread

    def effect(self, args: Any, kwargs: Any) -> float:
        """Root mean square change of the output over its spread."""
        return self._difference(self._outputs(args, kwargs)[0])

    def records(self) -> Iterator[InputProbed]:
        """All changes that can be made to these arguments."""
        yield self._of_all()
        several = len([one for one in self.arguments if one.value.is_floating_point() and one.value.dim() > 1]) > 1
        for one in self.arguments if len(self.arguments) > 1 else ():
            yield from self._of_one(one, closer=several)
        yield from self._of_swaps()

    def _record(self, name: str, change: str, effect: float, value: Any, **more: Any) -> InputProbed:
        call, shape = self.captured.call, tuple(value.shape)
        return InputProbed(
            network=type(call.network).__name__,
            argument=name,
            change=change,
            effect=effect,
            noise=self.noise,
            training=call.grad,
            shape=shape,
            time=name.split("[", maxsplit=1)[0] in TIMES and is_time_like(value, self.torch.Tensor),
            single=bool((value == value.reshape(-1)[:1]).all()),
            dense=bool(self.spatial),
            registered=bool(self.spatial) and shape[2:] == self.spatial,
            where=call.site.location() if call.site.file else None,
            **more,
        )

    def _of_all(self) -> InputProbed:
        args, kwargs = self.captured.call.args, self.captured.call.kwargs
        differs = False
        for one in self.arguments:
            new = other_values(self.torch, one.value)
            differs = differs or not self.torch.equal(new, one.value)
            args, kwargs = _replaced(args, kwargs, one.value, new)
        effect = self.effect(args, kwargs)
        more = self._lost(args, kwargs) if differs and effect <= NOTHING else {}
        return self._record("all inputs", "other values", effect, self.arguments[0].value, differs=differs, **more)

    def _of_one(self, one: Argument, *, closer: bool) -> Iterator[InputProbed]:
        value = one.value
        rolled = value.roll(1, 0) if value.dim() and value.shape[0] > 1 else value
        changes = [("other sample", rolled)] if not self.torch.equal(rolled, value) else []
        for change, new in (*changes, ("other values", other_values(self.torch, value))):
            args, kwargs = one.put(new)
            effect = self.effect(args, kwargs)
            differs = not self.torch.equal(new, value)
            if effect > NOTHING or change == "other values":
                more = self._lost(args, kwargs) if differs and effect <= NOTHING else {}
                yield self._record(one.name, change, effect, value, differs=differs, **more)
                break
        if closer and effect > NOTHING and self.spatial and value.dim() >= 4 and value.is_floating_point():
            yield from self._of_place(one, effect)

    def _of_place(self, one: Argument, whole: float) -> Iterator[InputProbed]:
        """Flip it; if that does little, put a spot on an even image, and then elsewhere."""
        value = one.value
        flipped = self._record(one.name, "flip", self.effect(*one.put(value.flip(-1))), value)
        yield flipped
        if flipped.effect < LOOK_CLOSER * whole:
            plain = self.torch.full_like(value, float(value.mean()))
            pictures = (plain, plain + spot(self.torch, value, 1), plain + spot(self.torch, value, 3))
            empty, here_, there = (self._outputs(*one.put(picture))[0] for picture in pictures)
            for change, difference in (("spot", here_ - empty), ("spot moved", there - here_)):
                yield self._record(one.name, change, float(difference.square().mean().sqrt()) / self.spread, value)

    def _of_swaps(self) -> Iterator[InputProbed]:
        images = [one for one in self.arguments if one.value.dim() >= 3 and one.value.is_floating_point()]
        for a, b in combinations(images, 2):
            if a.value.shape != b.value.shape or self.torch.equal(a.value, b.value):
                continue
            args, kwargs = self.captured.call.args, self.captured.call.kwargs
            args, kwargs = _swapped(args, kwargs, a.value, b.value)
            yield self._record(f"{a.name} <-> {b.name}", "swap", self.effect(args, kwargs), a.value)

    # -- where a difference is lost ------------------------------------------------------------------------------

    def _lost(self, args: Any, kwargs: Any) -> dict[str, Any]:
        """Compare both runs operation by operation."""
        call = self.captured.call
        with traced(self.torch) as one:
            self._outputs(call.args, call.kwargs)
        with traced(self.torch) as two:
            self._outputs(args, kwargs)
        read, at, name = False, None, ""
        for first, second in in_step(one, two):
            if not all_same(self.torch, first.taken, second.taken):
                read = True
                if all_same(self.torch, first.given, second.given):
                    at, name = first.site, first.name
        return {"lost_at": at.location() if at is not None else None, "lost_in": name, "read": read}


def other_values(torch: Any, value: Any) -> Any:
    """Everything moved on by one place along all axes, and noise of the tensor's own spread added to real numbers."""
    moved = value.reshape(-1).roll(1 + (value[0].numel() if value.dim() > 1 else 0)).reshape(value.shape)
    if not value.is_floating_point() or not value.numel():
        return moved
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(value.shape, generator=generator).to(value.device, value.dtype)
    spread = float(value.float().std()) if value.numel() > 1 else 0.0
    return moved + noise * (spread or abs(float(value.float().mean())) or 1.0)


def spot(torch: Any, like: Any, quarters: int) -> Any:
    """A soft bright spot, a quarter (1) or three quarters (3) along every spatial axis, away from the edges."""
    shape = torch.ones(())
    for size in like.shape[2:]:
        axis = torch.exp(-0.5 * ((torch.arange(size) - size * quarters // 4) / max(1.0, size / 16)) ** 2)
        shape = shape[..., None] * axis
    return (2 * float(like.float().std()) * shape).to(like.device, like.dtype)


def _replaced(args: Any, kwargs: Any, old: Any, new: Any) -> tuple[Any, Any]:
    """Arguments with one tensor, wherever it is, replaced by another."""
    return _map(args, lambda one: new if one is old else one), _map(kwargs, lambda one: new if one is old else one)


def _swapped(args: Any, kwargs: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Arguments with two tensors exchanged."""

    def other(one: Any) -> Any:
        return b if one is a else a if one is b else one

    return _map(args, other), _map(kwargs, other)


def _map(value: Any, change: Callable[[Any], Any]) -> Any:
    if type(value) in (list, tuple):
        return type(value)(_map(one, change) for one in value)
    if type(value) is dict:
        return {key: _map(one, change) for key, one in value.items()}
    return change(value)
