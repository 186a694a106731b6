"""One run of the user's sampling loop with the network replaced by the exact denoiser of Gaussian voxels."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from traindx.checks.diffusion.call_recorder import (
    Layout,
    OutputForm,
    RecordedCall,
    UnexaminedError,
    blank,
    dtype_name,
    remember,
    shape_of,
    stand_in,
    survey,
    time_values,
)
from traindx.checks.diffusion.step_log import Segment, StepLog, pick_voxels
from traindx.core.frames import location, user_place
from traindx.core.gaussian_oracle import GaussianField, answer, encode, noise_estimate, posterior_mean
from traindx.core.undisturbed import undisturbed

if TYPE_CHECKING:
    from types import CodeType

    from torch import nn

    from traindx.case import Diffusion
    from traindx.finding import Location

HUGE = 2**25
"""Voxels of a batch from which the denoiser answers in 32 bit: above 256 x 256 x 256 in a batch of two."""

VOXELS = 4096
"""Voxels judged; every one has its own closed form, so more would only repeat."""


@dataclass
class TracedCall:
    """One call of the network, and what the loop did until the next one.

    Attributes:
        timestep: Told to the network.
        x: Noisy image at the judged voxels, 64-bit.
        output: The denoiser's answer there.
        place: The user's line that called.
        after: Everything between this call and the next.
    """

    timestep: int
    x: Tensor
    output: Tensor
    place: tuple[CodeType, int] | None
    after: Segment = field(default_factory=Segment)


@dataclass
class Trace:
    """A run.

    Attributes:
        calls: Calls in order; repeated calls with the same x (guidance by two conditions) are one.
        final: Returned image at the judged voxels; None if it has another size.
        kind: Prediction type that the denoiser answered in.
        alphas: ᾱ table, 64-bit.
        mean: Mean of the Gaussian of each judged voxel.
        sd: Its standard deviation.
        member: Its index.
        low: Lower end of the data range.
        high: Upper end.
        dtype: Type that x had at the last call.
        batch: Samples.
        dimensions: Spatial dimensions.
        other_noise: The loop drew from numpy's or python's global random state, so noise may come from there.
    """

    calls: list[TracedCall]
    final: Tensor | None
    kind: str
    alphas: Tensor
    mean: Tensor
    sd: Tensor
    member: Tensor
    low: float
    high: float
    dtype: torch.dtype
    batch: int
    dimensions: int
    other_noise: bool = False

    def x0(self, step: int) -> Tensor:
        """x̂0 of the denoiser at a step."""
        call = self.calls[step]
        return posterior_mean(call.x, self.alphas[call.timestep], self.mean, self.sd)

    def noise(self, step: int) -> Tensor:
        """ε̂ of the denoiser at a step."""
        call = self.calls[step]
        return noise_estimate(call.x, self.x0(step), self.alphas[call.timestep])

    def velocity(self, step: int) -> Tensor:
        """v̂ of the denoiser at a step."""
        return encode("v", self.x0(step), self.noise(step), self.alphas[self.calls[step].timestep])

    def next_x(self, step: int) -> Tensor | None:
        """What the step returned: the next call's x, or the final image."""
        return self.calls[step + 1].x if step + 1 < len(self.calls) else self.final


@dataclass
class RecordedTimes:
    """What a first run with a blank network tells: the layout of the call and the times in order."""

    layout: Layout
    times: Tensor
    time_dtype: str
    time_shape: tuple[int, ...]
    batch: int
    stack: tuple[tuple[CodeType, int], ...]
    calls: int
    image_shape: tuple[int, ...] = ()

    def apart_from(self, other: tuple[tuple[CodeType, int], ...]) -> Location | None:
        """The innermost line of the call that another stack does not share: where sampling goes its own way."""
        own = [place for place in self.stack if place not in other]
        return location(*own[0]) if own else self.where

    @property
    def where(self) -> Location | None:
        """The user's line that calls the network in sampling."""
        return location(*self.stack[0]) if self.stack else None


def hear_times(
    diffusion: Diffusion, model: nn.Module, batch: Any, shape: Sequence[int] | None, form: OutputForm, seed: int
) -> RecordedTimes:
    """Run the sampling loop with a network that returns zeros, and listen to the times it is given.

    Raises:
        UnexaminedError: The loop never calls the network, or its calls cannot be understood.
    """
    recorded: list[RecordedCall] = []
    first: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    own_times: list[Tensor] = []

    def listen(*args: Any, **kwargs: Any) -> Any:
        recorded.append(remember(args, kwargs))
        if not first:
            first.append((args, kwargs))
        if diffusion.read_call is not None:
            x_t, time = diffusion.read_call(args, kwargs)
            own_times.append(time_values(time))
            return form.dress(torch.zeros_like(x_t))
        return form.dress(blank(args, kwargs, shape))

    with undisturbed(seed), stand_in(diffusion.network(model), listen):
        diffusion.sample(model, batch)
    if not recorded:
        raise UnexaminedError("the sampling loop never called the module that Diffusion.network returns")
    layout = survey(recorded, shape, diffusion)
    where = location(*recorded[0].stack[0]) if recorded[0].stack else None
    if layout.read is None and layout.time is None:
        raise UnexaminedError("no argument of the network looks like a time", where)
    times = own_times or [call.times[layout.time] for call in recorded if layout.time in call.times]
    uneven = [row for row in times if bool((row != row[0]).any())]
    if uneven:
        raise UnexaminedError("the samples of one batch are at different timesteps in one call", where)
    value = layout.time_of(*first[0])
    return RecordedTimes(
        layout=layout,
        times=torch.stack([row[0] for row in times]),
        time_dtype=dtype_name(value),
        time_shape=shape_of(value),
        batch=recorded[0].batch,
        stack=recorded[0].stack,
        calls=len(recorded),
        image_shape=tuple(layout.x_t(*first[0]).shape),
    )


def trace(
    diffusion: Diffusion,
    model: nn.Module,
    batch: Any,
    *,
    recorded: RecordedTimes,
    timesteps: list[int],
    kind: str,
    form: OutputForm,
    size: int,
    low: float,
    high: float,
    seed: int,
    widen: bool,
) -> Trace:
    """Run the loop once more, with the exact denoiser standing in for the network.

    Args:
        diffusion: Whose loop.
        model: Any model; its network does not run.
        batch: What the loop conditions on.
        recorded: From :func:`hear_times`.
        timesteps: What each call's time stands for, in order.
        kind: Prediction type to answer in.
        form: Structure of the network's output.
        size: Number of samples in the batch.
        low: Lower end of the data range.
        high: Upper end.
        seed: Of the loop's noise.
        widen: Answer 32-bit calls in 64 bit, so that the loop goes on in 64 bit where it lets types promote.

    Raises:
        UnexaminedError: The network is called in a way that cannot be followed.
    """
    alphas = sampling_table(diffusion)
    network = diffusion.network(model)
    log = StepLog()
    calls: list[TracedCall] = []
    state: dict[str, Any] = {}

    def begin(x: Tensor) -> None:
        state["exact"] = torch.float32 if x.device.type == "mps" or x.numel() > HUGE else torch.float64
        if x.shape[0] % size:
            raise UnexaminedError(f"the network is called with {x.shape[0]} samples for a batch of {size}")
        one = GaussianField.over((size, *x.shape[1:]), low, high, str(x.device))
        repeats = [x.shape[0] // size] + [1] * (x.ndim - 1)
        state.update(
            shape=x.shape,
            field=one,
            mean=one.mean().to(state["exact"]).repeat(repeats),
            sd=one.sd().to(state["exact"]).repeat(repeats),
            voxels=pick_voxels(one.member.numel(), VOXELS),
        )
        log.watch(one.member.numel(), state["voxels"])

    def forward(*args: Any, **kwargs: Any) -> Any:
        log.paused = True
        try:
            x = recorded.layout.x_t(args, kwargs)
            if not state:
                begin(x)
            if x.shape != state["shape"]:
                raise UnexaminedError(f"the network is called with shapes {tuple(state['shape'])} and {tuple(x.shape)}")
            if len(calls) >= len(timesteps):
                raise UnexaminedError("the loop's number of network calls depends on what the network returns")
            timestep = timesteps[len(calls)]
            exact = x.to(state["exact"])
            output = answer(kind, exact, alphas[timestep].to(exact), state["mean"], state["sd"])
            flat = state["voxels"].to(x.device)
            calls.append(
                TracedCall(
                    timestep,
                    x.detach().reshape(-1)[flat].double().cpu(),
                    output.detach().reshape(-1)[flat].double().cpu(),
                    user_place(sys._getframe(1)),
                )
            )
            state["dtype"] = x.dtype
            log.next_segment()
            return form.dress(output if widen and x.dtype is torch.float32 else output.to(x.dtype))
        finally:
            log.paused = False

    with undisturbed(seed), stand_in(network, forward):
        before = _other_randomness()
        with log:
            result = diffusion.sample(model, batch)
        other_noise = _other_randomness() != before
    if not calls:
        raise UnexaminedError("the sampling loop stopped calling the network")
    for call, segment in zip(calls, log.segments[1:], strict=True):
        call.after = segment
    one, flat = state["field"], state["voxels"].to(state["field"].member.device)
    return Trace(
        calls=_merge_repeats(calls),
        final=_final_values(result, one.member.shape, flat),
        kind=kind,
        alphas=alphas,
        mean=one.mean().reshape(-1)[flat].cpu().double(),
        sd=one.sd().reshape(-1)[flat].cpu().double(),
        member=one.member.reshape(-1)[flat].cpu(),
        low=low,
        high=high,
        dtype=state["dtype"],
        batch=size,
        dimensions=len(state["shape"]) - 2,
        other_noise=other_noise,
    )


def sampling_table(diffusion: Diffusion) -> Tensor:
    """ᾱ that the loop is held to: its own declared table where there is one, else that of training; 64-bit, CPU."""
    own = diffusion.sampling_alphas_cumprod
    return (diffusion.alphas_cumprod if own is None else own).detach().double().cpu()


def _other_randomness() -> tuple[object, ...]:
    """Something that changes when numpy's or python's global random state is drawn from."""
    state = np.random.get_state(legacy=False)
    return random.getstate()[1], str(state)


def _final_values(result: Any, shape: Sequence[int], voxels: Tensor) -> Tensor | None:
    """The returned image at the judged voxels, if it has the shape of x."""
    value = result
    while isinstance(value, tuple | list) and value:
        value = value[0]
    if not isinstance(value, Tensor) or tuple(value.shape) != tuple(shape):
        return None
    return value.detach().reshape(-1)[voxels.to(value.device)].double().cpu()


def _merge_repeats(calls: list[TracedCall]) -> list[TracedCall]:
    """Two calls at one timestep with one x (guidance with and without condition) count as one."""
    merged: list[TracedCall] = []
    for call in calls:
        if merged and merged[-1].timestep == call.timestep and torch.equal(merged[-1].x, call.x):
            call.after.noises = merged[-1].after.noises + call.after.noises
            call.after.clamps = merged[-1].after.clamps + call.after.clamps
            merged[-1] = call
        else:
            merged.append(call)
    return merged
