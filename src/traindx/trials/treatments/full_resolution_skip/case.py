r"""``full-resolution-skip``: the network's output becomes an x0 head behind an analytic skip from x_t.

A network without a full-resolution path cannot express the noise in a v or epsilon target, but it can express x0. Here
its output h is read as an estimate of x0 with error e, and the noisy image is combined with it by the exact posterior
mean of a Gaussian :math:`x_0 \sim N(h, e^2)` observed as :math:`x_t = a x_0 + \sigma\epsilon`:

.. math:: \hat x_0 = h + k\,(x_t - a h), \qquad k = a e^2 / (a^2 e^2 + \sigma^2),

from which v and epsilon follow. For :math:`\sigma \gg e` this is the plain x0 head,
:math:`v = (a x_t - h)/\sigma` and :math:`\epsilon = (x_t - a h)/\sigma`; where the noise is weaker than the head's own
error those quotients blow up and the posterior does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from traindx.trials.treatment import RANK_NETWORK, Tally, Treatment

if TYPE_CHECKING:
    from torch import nn

    from traindx.case import Case
    from traindx.trials.time_coding import TimeReader

# The head's error as a share of the data's standard deviation. Much smaller, and the loss at weak noise, whose weight
# grows to 1/(2e)^2, drowns the rest (a toy with 4x4 bottleneck, 250 steps, v: 22.1 dB at .01, 29.7 at .1); much larger,
# and the noise of x_t shows in the samples (23.1 dB at .4).
HEAD_ERROR = 0.1


def full_resolution_skip(parameters: Mapping[str, Any], case: Case) -> Treatment:
    """Read the network's output as x0 and derive what the case trains for, in the loss and in sampling alike.

    Args:
        parameters: ``head_error``: assumed error of the head as a share of the target's standard deviation (0.1).
        case: The case to be treated.

    Raises:
        TreatmentUnfitError: The case has no diffusion part, or timesteps cannot be read off the network's calls.
    """
    from traindx.trials.network_calls import needs_diffusion

    needs_diffusion(case, "full-resolution-skip")
    share = float(parameters.get("head_error", HEAD_ERROR))
    tally = Tally()
    # a model that was built by one application may be sampled through another one: both read time by one clock
    readers: list[TimeReader] = []
    return Treatment(
        "full-resolution-skip",
        "network output as x0 head with an analytic skip from x_t",
        frozenset({"training", "sampling"}),
        lambda before: _apply(before, share, tally, readers),
        rank=RANK_NETWORK,
        tally=tally,
    )


def _apply(before: Case, share: float, tally: Tally, readers: list[TimeReader]) -> Case:
    import torch

    from traindx.core.parameterisation import coefficients, from_estimate
    from traindx.trials.network_calls import (
        first_tensor,
        needs_diffusion,
        probe,
        read_call,
        while_sampling,
        with_first_tensor,
    )
    from traindx.trials.time_coding import TimeReader

    diffusion = needs_diffusion(before, "full-resolution-skip")
    if not readers:
        readers.append(TimeReader(before))
    reader = readers[0]
    with before.open(), torch.no_grad():
        error = share * max(float(probe(before)[2].float().std()), 1e-6)

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        head = first_tensor(output)
        x, time = read_call(diffusion, args, kwargs, tuple(head.shape))
        a, sigma = coefficients(diffusion.alphas_cumprod, reader.decode(time, head.device), head)
        tally.hits += 1
        made = from_estimate(head, error, x, a, sigma, diffusion.prediction)
        return with_first_tensor(output, made.to(head.dtype))

    def model() -> nn.Module:
        made = before.model()
        diffusion.network(made).register_forward_hook(hook, with_kwargs=True)
        return made

    return while_sampling(before.replace(model=model), lambda *_: reader.sampling())
