"""A network that acts voxel by voxel, put in the place of every network while a function of the user's runs.

It reads a code of two levels from what it is given, whatever was done to intensities before, and gives a high value
where the code is high and a low one elsewhere, in the form, size and number of channels that the network's own output
has. Only ever used in a child process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from traindx.watch.probes.recorded import EnoughError

MARK = 3.97  # logits of a certain yes: a sigmoid makes 0.98 of it; no whole number, as votes and labels are
BELOW = -8.0  # of the third channel on: never the largest
LIKE = 1e-3  # of the range, that two equal levels differ after rounding
SMALL = 64  # of a side: larger pieces are cut down to that before the network itself is asked for its channels
MULTIPLE = 32


class UnreadableError(Exception):
    """What the network is given, or gives, is no code or no map of it; the text says why."""


@dataclass
class StandIn:
    """What is done instead of calling a network.

    Attributes:
        torch: The script's torch.
        level: What is given everywhere, instead of reading a code; None to read it.
        reads: False while no code is in the input: the larger half of the values is taken for high.
        until: Processor time after which :class:`EnoughError` is raised.
        calls: Calls so far.
        pieces: Samples in all calls so far, of how many voxels along every axis.
        channels: Most channels that an output had.
    """

    torch: Any
    level: float | None = None
    reads: bool = True
    until: float = float("inf")
    calls: int = 0
    pieces: list[tuple[int, ...]] = field(default_factory=list)
    channels: int = 0
    _levels: list[Any] = field(default_factory=list)
    _forms: dict[Any, Any] = field(default_factory=dict)
    _inside: bool = False

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, an outermost module with parameters is not called."""
        kind = self.torch.nn.Module
        real = kind.__call__

        def call(module: Any, /, *args: Any, **kwargs: Any) -> Any:
            if self._inside or not any(True for _ in module.parameters()):
                return real(module, *args, **kwargs)
            return self._instead(module, real, args, kwargs)

        kind.__call__ = call
        try:
            yield
        finally:
            kind.__call__ = real

    def begin(self, level: float | None = None) -> None:
        """Another run."""
        self.level, self.calls, self.pieces = level, 0, []
        self._levels.clear()

    def _instead(self, module: Any, real: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if time.process_time() > self.until:
            raise EnoughError
        torch = self.torch
        values = [*args, *kwargs.values()]
        given = next((one for one in values if isinstance(one, torch.Tensor) and one.dim() >= 4), None)
        if given is None or not given.is_floating_point():
            raise UnreadableError("it is given no image")
        self.calls += 1
        self.pieces += [tuple(given.shape[2:])] * int(given.shape[0])
        form = self._form(module, real, args, kwargs, given)
        bits = self._bits(given.detach())
        margin = form.margins
        if any(margin):
            cut = [slice(one, side - one) for one, side in zip(margin, bits.shape[1:], strict=True)]
            bits = bits[(slice(None), *cut)]
        return form.fill(torch, self._marks(bits, form.channels).to(form.dtype))

    def _marks(self, bits: Any, channels: int) -> Any:
        torch = self.torch
        high = torch.where(bits, MARK, -MARK) if self.level is None else torch.full(bits.shape, self.level)
        self.channels = max(self.channels, channels)
        out = torch.full((bits.shape[0], channels, *bits.shape[1:]), BELOW)
        out[:, 0] = high
        if channels > 1:
            out[:, 1] = -high
        return out

    # -- the code ------------------------------------------------------------------------------------------------------

    def _bits(self, given: Any) -> Any:
        """Where the code is high, of shape (samples, sides): the same in all channels that hold a code."""
        torch = self.torch
        if not self.reads:
            return given[:, 0] > given[:, 0].flatten(1).median(1).values.reshape(-1, *[1] * (given.dim() - 2))
        if self.level is not None:
            return torch.zeros((given.shape[0], *given.shape[2:]), dtype=torch.bool)
        samples = []
        for sample in given:
            found = [bits for channel in sample if (bits := self._of_channel(channel)) is not None]
            if not found or any(not torch.equal(found[0], one) for one in found[1:]):
                raise UnreadableError("channels are of different places, or intensities are no function of one voxel")
            samples.append(found[0])
        return torch.stack(samples)

    def _of_channel(self, channel: Any) -> Any | None:
        """None where it holds more than the two levels and one of what was padded."""
        high, low = channel.max(), channel.min()
        near = LIKE * (high - low)
        if not bool(near > 0):
            return channel > high  # nothing but padding
        top = channel >= high - near
        others = channel[~(top | (channel <= low + near))]
        if not others.numel():
            self._levels[:] = [high, low]
            return top
        if bool(others.max() - others.min() > near):
            return None
        middle = others[0]
        if self._levels and abs(self._levels[0] - middle) <= near and abs(self._levels[1] - low) <= near:
            return (channel - middle).abs() <= near  # what was padded lies above
        return top

    # -- the form of the output ----------------------------------------------------------------------------------------

    def _form(self, module: Any, real: Callable[..., Any], args: Any, kwargs: Any, given: Any) -> Form:
        key = (id(module), tuple(given.shape[1:]))
        if key not in self._forms:
            sides = given.shape[2:]
            small = [min(side, max(SMALL, MULTIPLE)) if side % MULTIPLE == 0 else side for side in sides]
            made = None
            if list(small) != list(sides):
                try:
                    made = self._asked(module, real, args, kwargs, given, tuple(small))
                except EnoughError:
                    raise
                except Exception:  # a network for one size
                    made = None
                if made is not None and any(made.margins):
                    made = None
            self._forms[key] = made or self._asked(module, real, args, kwargs, given, tuple(sides))
        found = self._forms[key]
        assert isinstance(found, Form)
        return found

    def _asked(
        self, module: Any, real: Callable[..., Any], args: Any, kwargs: Any, given: Any, sides: tuple[int, ...]
    ) -> Form:
        """What the network itself gives for the first sample, cut to these sides."""
        torch = self.torch

        def first(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            value = value[:1] if value.dim() and value.shape[0] == given.shape[0] else value
            if value.dim() == given.dim() and value.shape[2:] == given.shape[2:]:
                value = value[(slice(None), slice(None), *(slice(0, side) for side in sides))]
            return value

        training = [one for one in module.modules() if one.training]
        self._inside = True
        try:
            module.eval()  # norms in training mode would take the code into their means, or refuse one sample
            with torch.no_grad():
                output = real(module, *map(first, args), **{name: first(value) for name, value in kwargs.items()})
        finally:
            self._inside = False
            for one in training:
                one.training = True
        return Form.of(torch, output, sides)


@dataclass
class Form:
    """How an output holds its map: the path to it, its channels, and what is cut off on both sides."""

    output: Any
    channels: int
    margins: tuple[int, ...]
    dtype: Any

    @classmethod
    def of(cls, torch: Any, output: Any, sides: tuple[int, ...]) -> Form:
        """Read it from an output of one sample.

        Raises:
            UnreadableError: The first tensor in it is no map of the size of the input, or of valid convolutions.
        """
        main = next(_tensors(torch, output), None)
        if main is None or main.dim() != len(sides) + 2 or not main.is_floating_point():
            raise UnreadableError("it gives no map")
        lost = [side - int(own) for side, own in zip(sides, main.shape[2:], strict=True)]
        if any(one < 0 or one % 2 for one in lost) or (any(lost) and len(set(lost)) > 1) or max(lost) > min(sides) // 2:
            raise UnreadableError("its output has another size than its input")
        return cls(output, int(main.shape[1]), tuple(one // 2 for one in lost), main.dtype)

    def fill(self, torch: Any, marks: Any) -> Any:
        """The output with marks in it; other maps in it hold zeros."""
        first = [True]

        def made(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                if first[0]:
                    first[0] = False
                    return marks
                if value.dim() and value.shape[2:] == marks.shape[2:]:
                    return torch.zeros((marks.shape[0], *value.shape[1:]), dtype=value.dtype)
                return torch.zeros((marks.shape[0], *value.shape[1:]), dtype=value.dtype) if value.dim() else value
            if type(value) in (list, tuple):
                return type(value)(made(one) for one in value)
            if isinstance(value, dict):
                return type(value)((key, made(one)) for key, one in value.items())
            return value

        return made(self.output)


def _tensors(torch: Any, value: Any) -> Iterator[Any]:
    if isinstance(value, torch.Tensor):
        yield value
    elif type(value) in (list, tuple):
        for one in value:
            yield from _tensors(torch, one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _tensors(torch, one)
