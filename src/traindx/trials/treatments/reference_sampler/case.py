r"""``reference-sampler``: the user's own sampling loop, with x between network calls propagated by the exact formula.

The loop runs unchanged: its timesteps, time arguments and conditions stay the user's. Only the noisy image that goes
into every call after the first is replaced by what deterministic DDIM (Song et al. 2021, equation 12 with
:math:`\eta = 0`) makes of the previous output, :math:`x_s = a_s\hat x_0 + \sigma_s\hat\epsilon`, and what comes out at
the end is the last :math:`\hat x_0`, after whatever the user's function does to its result (clipping, rescaling).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traindx.trials.treatment import RANK_SAMPLER, Tally, Treatment, TreatmentUnfitError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from traindx.case import Case, Diffusion
    from traindx.trials.network_calls import Sampler
    from traindx.trials.time_coding import SamplingClock


def reference_sampler(parameters: Mapping[str, Any], case: Case) -> Treatment:
    """Propagate x between the network calls of the user's sampling loop by exact deterministic DDIM.

    Args:
        parameters: None.
        case: The case to be treated.

    Raises:
        TreatmentUnfitError: The case has no diffusion part.
    """
    from traindx.trials.network_calls import needs_diffusion

    needs_diffusion(case, "reference-sampler")
    tally = Tally()
    return Treatment(
        "reference-sampler",
        "exact DDIM between the network calls of the sampling loop",
        frozenset({"sampling"}),
        lambda before: _apply(before, tally),
        rank=RANK_SAMPLER,
        tally=tally,
    )


@dataclass
class Trajectory:
    """One pass of the user's sampling loop, followed by the exact formula.

    Attributes:
        diffusion: The diffusion part of the case.
        clock: Reads the timesteps.
        shape: Shape of the sampled image.
    """

    diffusion: Diffusion
    clock: SamplingClock
    shape: tuple[int, ...] | None
    calls: int = 0
    _t: float = float("inf")
    _x: Tensor | None = None
    _x0: Tensor | None = None
    _epsilon: Tensor | None = None

    def before(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Give the network the exact x; the first call keeps the user's noise."""
        from traindx.core.parameterisation import coefficients
        from traindx.trials.network_calls import read_call, replaced

        x, time = read_call(self.diffusion, args, kwargs, self.shape)
        t = self.clock.decode(time, x.device)
        if float(t.max() - t.min()) > 0.5:
            raise TreatmentUnfitError("the sampling loop gives the samples of one batch different timesteps")
        now = float(t.mean())
        if not now < self._t - 1e-6:
            raise TreatmentUnfitError(
                f"the sampling loop calls the network at timestep {now:g} after {self._t:g}",
                expected="one call a step with falling timesteps (no guidance by a second call, no repeated loops)",
            )
        self._t = now
        self._x = x
        if self._x0 is not None and self._epsilon is not None:
            a, sigma = coefficients(self.diffusion.alphas_cumprod, t[:1], x)
            self._x = (a * self._x0 + sigma * self._epsilon).to(x.dtype)
            return replaced(args, kwargs, x, self._x)
        return None

    def after(self, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Read x0 and the noise off the output."""
        import torch

        from traindx.core.parameterisation import coefficients, to_epsilon, to_x0
        from traindx.trials.network_calls import first_tensor

        assert self._x is not None
        out, kind = first_tensor(output).detach(), self.diffusion.prediction
        when = torch.tensor([self._t], device=out.device)
        a, sigma = coefficients(self.diffusion.alphas_cumprod, when, out)
        x = self._x.detach()
        # the noise is taken before x0 is clipped, as the published samplers do
        self._epsilon = to_epsilon(out, x, a, sigma, kind)
        self._x0 = to_x0(out, x, a, sigma, kind)
        if self.diffusion.clip is not None:
            self._x0 = self._x0.clamp(*self.diffusion.clip)
        self.calls += 1

    @property
    def result(self) -> Tensor:
        """The last x0.

        Raises:
            TreatmentUnfitError: The loop never called the network.
        """
        if self._x0 is None:
            raise TreatmentUnfitError(
                "the sampling function never calls diffusion.network(model) as a module",
                expected="network(model)(x_t, time, ...)",
            )
        return self._x0


def _apply(before: Case, tally: Tally) -> Case:
    from traindx.trials.network_calls import hooked, needs_diffusion, on_prediction_paths
    from traindx.trials.post_processing import read_post_processing
    from traindx.trials.time_coding import TimeReader

    diffusion = needs_diffusion(before, "reference-sampler")
    reader = TimeReader(before)

    def exact(run: Sampler) -> Sampler:
        finish: dict[tuple[int, ...], Callable[[Tensor], Tensor]] = {}

        def sample(model: nn.Module, batch: Any) -> Tensor:
            expected = tuple(before.target(batch).shape) if before.target is not None else None
            path = Trajectory(diffusion, reader.clock(), expected)
            with hooked(diffusion.network(model), before=path.before, after=path.after):
                theirs = run(model, batch)
            x0 = path.result
            if x0.shape != theirs.shape:
                raise TreatmentUnfitError(
                    f"the network predicts {tuple(x0.shape)} but the sampling function returns {tuple(theirs.shape)}",
                    expected="the same shape",
                )
            if tuple(x0.shape[1:]) not in finish:
                finish[tuple(x0.shape[1:])] = read_post_processing(before, run, reader, model, batch)
            tally.hits += path.calls
            return finish[tuple(x0.shape[1:])](x0).to(theirs.dtype)

        return sample

    return on_prediction_paths(before, exact)
