"""What number the network is given for a timestep, and which timestep a given number means.

Projects hand their time embedding the integer timestep, t/T, t/(T-1) or something else; and some hand it one thing in
training and another in sampling. Treatments that need to know the timestep of a call read it here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from traindx.core.randomness import preserved
from traindx.core.time_convention import conventions
from traindx.trials.network_calls import Answered, hooked, needs_diffusion, probe, read_call
from traindx.trials.treatment import TreatmentUnfitError

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.case import Case

# float32 carries t/T to about 6e-8 relative: 6e-5 of a step for T = 1000. A hundredth of a step is far from both that
# and from the .5 of a step by which t/T and t/(T-1) differ on average.
WHOLE = 0.01


@dataclass(frozen=True)
class TimeCoding:
    """The number given to the network is ``scale * t + offset``.

    Attributes:
        scale: Slope.
        offset: Value at t = 0.
        dtype: Type of the number, or None for a python number.
    """

    scale: float
    offset: float = 0.0
    dtype: torch.dtype | None = torch.float32

    def decode(self, value: Tensor) -> Tensor:
        """Timesteps, as float64, that such numbers mean."""
        return (value.detach().double() - self.offset) / self.scale

    def encode(self, t: Tensor) -> Tensor:
        """Numbers for timesteps, in the type that training uses."""
        value = t.double() * self.scale + self.offset
        dtype = self.dtype or torch.float32
        return value.to(dtype) if dtype.is_floating_point else value.round().to(dtype)


def training_coding(case: Case) -> TimeCoding:
    """The coding of time in training, measured on ``diffusion.denoise`` with timesteps that are known.

    The network is stopped before it runs, so this costs next to nothing.

    Raises:
        TreatmentUnfitError: ``denoise`` does not call the network as a module, or the coding is not linear in t.
    """
    diffusion = needs_diffusion(case, "reading the time coding")
    last = len(diffusion.alphas_cumprod) - 1
    recorded: dict[int, Any] = {}
    with preserved(), case.open(), torch.no_grad():
        model, batch, target = probe(case)
        x = torch.randn_like(target)
        for t in sorted({0, 1, last // 3, last // 2, last}):

            def stop(args: tuple[Any, ...], kwargs: dict[str, Any], t: int = t) -> None:
                recorded[t] = read_call(diffusion, args, kwargs, tuple(target.shape))[1]
                raise Answered

            with hooked(diffusion.network(model), before=stop):
                try:
                    diffusion.denoise(model, x, torch.full((len(x),), t, device=x.device), batch)
                except Answered:
                    continue
            raise TreatmentUnfitError(
                "diffusion.denoise does not call diffusion.network(model) as a module",
                expected="network(model)(x_t, time, ...), so that its arguments can be read",
            )
    numbers = {t: float(as_tensor(value, "cpu").double().mean()) for t, value in recorded.items()}
    scale = (numbers[last] - numbers[0]) / last
    worst = max(abs(value - (numbers[0] + scale * t)) for t, value in numbers.items())
    if scale == 0 or worst > 1e-3 * abs(scale):
        raise TreatmentUnfitError(
            f"the time given to the network is not linear in the timestep: {numbers}",
            expected="t, t/T, t/(T-1) or another linear coding",
        )
    example = recorded[last]
    dtype = example.dtype if isinstance(example, torch.Tensor) else None
    return TimeCoding(scale, numbers[0], dtype)


class SamplingClock:
    """Reads timesteps off a sampling loop, whose coding of time may differ from that of training.

    The coding is settled by the first call of a loop and kept: sampling starts where noise is strong, so the reading
    that puts the first call there is the right one. A raw 1 late in the loop is then not taken for t/T = 1.

    Args:
        training: Coding in training; preferred where several fit.
        count: Number of timesteps T.
    """

    def __init__(self, training: TimeCoding, count: int) -> None:
        self._training = training
        self._count = count
        self._settled: TimeCoding | None = None

    def decode(self, time: Any, device: torch.device | str) -> Tensor:
        """Timesteps of a call, float64, of shape ``(n,)``.

        Raises:
            TreatmentUnfitError: No known coding gives a timestep between 0 and T - 1.
        """
        value = as_tensor(time, device)
        if self._settled is None:
            self._settled = self._settle(value)
        return self._settled.decode(value).clamp(0, self._count - 1)

    def _settle(self, value: Tensor) -> TimeCoding:
        usual = (TimeCoding(known.scale, known.offset) for known in conventions(self._count))
        candidates = [self._training, *usual]
        fitting = []
        for coding in candidates:
            t = coding.decode(value)
            if bool(((t >= -WHOLE) & (t <= self._count - 1 + WHOLE)).all()):
                whole = bool(((t - t.round()).abs() <= WHOLE).all())
                noisy = float(t.max()) >= (self._count - 1) / 2
                fitting.append((whole and noisy, noisy, whole, coding))
        if not fitting:
            raise TreatmentUnfitError(
                f"the time {float(value.max()):g} given to the network in sampling is no timestep of "
                f"{self._count} in any known coding",
                expected="t, t/T, t/(T-1) or the coding of training",
            )
        best = max(range(len(fitting)), key=lambda index: (fitting[index][:3], -index))
        return fitting[best][3]


class TimeReader:
    """Reads timesteps off calls of the network in training and in sampling alike.

    Args:
        case: A case with a diffusion part; its coding in training is measured at once.
    """

    def __init__(self, case: Case) -> None:
        diffusion = needs_diffusion(case, "reading timesteps")
        self._count = len(diffusion.alphas_cumprod)
        self.training = training_coding(case)
        self._clock: SamplingClock | None = None

    def clock(self) -> SamplingClock:
        """A clock for one sampling loop."""
        return SamplingClock(self.training, self._count)

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Read the calls in the block as those of one sampling loop."""
        outer = self._clock
        self._clock = self.clock()
        try:
            yield
        finally:
            self._clock = outer

    def decode(self, time: Any, device: torch.device | str) -> Tensor:
        """Timesteps of a call, float64, of shape ``(n,)``.

        Raises:
            TreatmentUnfitError: The number is far from every timestep.
        """
        if self._clock is not None:
            return self._clock.decode(time, device)
        t = self.training.decode(as_tensor(time, device))
        if bool(((t < -1) | (t > self._count)).any()):
            raise TreatmentUnfitError(
                f"the loss gives the network the time {float(as_tensor(time, device).max()):g}, which is no timestep "
                f"of {self._count} in the coding of diffusion.denoise",
                expected="denoise calls the network exactly as in training",
            )
        return t.clamp(0, self._count - 1)


def as_tensor(time: Any, device: torch.device | str) -> Tensor:
    """A time argument of any form as a tensor of shape ``(n,)``."""
    if isinstance(time, torch.Tensor):
        return time.detach().reshape(-1)
    return torch.tensor([float(time)], device=device, dtype=torch.float64)
