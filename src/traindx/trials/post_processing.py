"""What a sampling function does to its result: clipping, rescaling to another range, nothing.

The network is replaced by a stand-in that knows the answer: at every call it predicts one fixed image of random
values, wider than the data. Whatever else is wrong with a sampler, its last step then returns that image, and the
function's result as a function of the image's values shows the post-processing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from traindx.core.parameterisation import coefficients, from_x0
from traindx.core.randomness import preserved
from traindx.trials.network_calls import needs_diffusion, read_call, standing_in
from traindx.trials.treatment import TreatmentUnfitError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from traindx.case import Case
    from traindx.trials.network_calls import Sampler
    from traindx.trials.time_coding import TimeReader

# the image spans three times the data, so that every clip shows as a plateau
WIDTH = 3.0
# a result that departs from one curve by more than this share of its range is no function of the image
SCATTER = 1e-3
KNOTS = 4096


def ask_stand_in(
    case: Case, run: Sampler, reader: TimeReader, model: nn.Module, batch: Any, prediction: str, width: float
) -> tuple[Tensor, Tensor]:
    """Run a sampling function on a stand-in for the network.

    Args:
        case: The case.
        run: Its sampling function.
        reader: Reads timesteps.
        model: Its model.
        batch: A batch.
        prediction: Type of the stand-in's output.
        width: Values reach from minus this times the largest target to plus this.

    Returns:
        The image that the stand-in knows, and what the function returned.
    """
    diffusion = needs_diffusion(case, "the stand-in")
    assert case.target is not None
    target = case.target(batch).detach()
    with preserved(), torch.no_grad():
        torch.manual_seed(0)
        image = (2 * torch.rand_like(target) - 1) * width * target.abs().max().clamp_min(1e-6)
        clock = reader.clock()

        def answer(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
            x, time = read_call(diffusion, args, kwargs, tuple(target.shape))
            a, sigma = coefficients(diffusion.alphas_cumprod, clock.decode(time, x.device), x)
            return from_x0(image.to(x.dtype), x, a, sigma, prediction)

        with standing_in(diffusion.network(model), answer):
            result = run(model, batch)
    if result.numel() != image.numel():
        raise TreatmentUnfitError(
            f"the sampling function returns {tuple(result.shape)} for a target of {tuple(image.shape)}"
        )
    return image, result.detach().reshape(image.shape)


def read_post_processing(
    case: Case, run: Sampler, reader: TimeReader, model: nn.Module, batch: Any
) -> Callable[[Tensor], Tensor]:
    """The function that a sampler applies to its last x0: a straight line with bounds, or a lookup table.

    Returns:
        A function that maps values of x0 to values of the result, element by element.
    """
    diffusion = needs_diffusion(case, "reading the post-processing")
    image, result = ask_stand_in(case, run, reader, model, batch, diffusion.prediction, WIDTH)
    known, shown = image.flatten().double().cpu().numpy(), result.flatten().double().cpu().numpy()
    order = np.argsort(known)
    known, shown = known[order], shown[order]
    spread = float(shown.max() - shown.min())
    rising, falling = np.maximum.accumulate(shown), np.minimum.accumulate(shown[::-1])[::-1]
    if not spread > 0 or not np.isfinite(shown).all() or float((rising - falling).max()) > SCATTER * spread:
        return lambda x0: x0  # not a curve: the loop clips x0 already where the case declares it
    straight = _straight(known, shown, spread)
    if straight is not None:
        slope, shift, low, high = straight
        return lambda x0: (slope * x0 + shift).clamp(low, high)
    knots = np.unique(np.linspace(0, len(known) - 1, min(KNOTS, len(known))).round().astype(int))
    xs, ys = known[knots], shown[knots]

    def finish(x0: Tensor) -> Tensor:
        looked_up = np.interp(x0.detach().double().cpu().numpy(), xs, ys)
        return torch.from_numpy(np.asarray(looked_up)).to(device=x0.device, dtype=x0.dtype)

    return finish


def _straight(
    known: NDArray[np.float64], shown: NDArray[np.float64], spread: float
) -> tuple[float, float, float, float] | None:
    """Slope, shift and bounds of ``clip(slope * x + shift, low, high)``; None where the curve has another form."""
    low, high = float(shown.min()), float(shown.max())
    inside = (shown > low + 1e-6 * spread) & (shown < high - 1e-6 * spread)
    if inside.sum() < 2 or np.ptp(known[inside]) == 0:
        return None
    slope, shift = np.polyfit(known[inside], shown[inside], 1)
    if np.abs(np.clip(slope * known + shift, low, high) - shown).max() > SCATTER * spread:
        return None
    # a bound is one only where values pile up on it; otherwise it is the end of the image's range
    clipped_low, clipped_high = (shown == low).sum() > 1, (shown == high).sum() > 1
    return float(slope), float(shift), low if clipped_low else -math.inf, high if clipped_high else math.inf
