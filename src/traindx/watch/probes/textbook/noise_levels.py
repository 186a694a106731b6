"""Constants of a diffusion: variances of its steps, what they leave of the image, and positions in time."""

from __future__ import annotations

import itertools

from traindx.watch.probes.textbook.base import Trial, entry

LEAST_STEPS = 20  # fewer are a sampler's choice, or another thing
LEFT = 0.1  # of the image's variance, at the last level: Stable Diffusion's own schedule leaves 0.005
ROUND_OFF = 1e-6
HO = "Ho et al., Denoising Diffusion Probabilistic Models, 2020, section 2"


def _levels(trial: Trial) -> list[float]:
    """One number a step, from a value or from a result that depends on no array."""
    trial.require(not trial.arrays)
    levels = trial.result().double().flatten()
    trial.require(len(levels) >= LEAST_STEPS and max(trial.result().shape) == len(levels))
    return [float(one) for one in levels]


@entry(
    "step-variances",
    "sampling",
    "list of the variances of a diffusion's steps",
    "lies between 0 and 1 and never falls",
    names={"betas", "betaschedule", "linearbetaschedule", "cosinebetaschedule", "makebetas", "getbetas"},
    unless={"adam", "optim", "optimizer"},
    universal=True,
    remedy="torch.linspace(1e-4, 0.02, 1000), or the cosine schedule of Nichol and Dhariwal.",
    source=HO,
)
def step_variances(trial: Trial) -> None:
    """(T,) or (T, 1, 1, 1)."""
    betas = _levels(trial)
    inside = all(0 <= one <= 1 for one in betas)
    trial.expect(inside, f"{len(betas)} steps", f"they reach from {min(betas):.3g} to {max(betas):.3g}")
    falls = next((step for step in range(1, len(betas)) if betas[step] < betas[step - 1] - ROUND_OFF), 0)
    trial.expect(
        not falls, f"{len(betas)} steps", f"step {falls} has {betas[falls]:.4g} after {betas[falls - 1]:.4g}: they fall"
    )


@entry(
    "what-steps-leave",
    "sampling",
    "list of the shares of the image's variance that are left after each step of a diffusion",
    "begins near 1, lies between 0 and 1, and never rises",
    names={"alphascumprod", "alphabar", "alphabars", "alphacumprod", "alphahat", "abar", "alphasbar", "alphabart"},
    unless={"prev", "sqrt", "log", "one", "minus", "next", "recip", "inv"},
    universal=True,
    remedy="torch.cumprod(1 - betas, 0).",
    source=HO,
)
def what_steps_leave(trial: Trial) -> None:
    """(T,) or (T, 1, 1, 1)."""
    left = _levels(trial)
    inside = all(0 <= one <= 1 + ROUND_OFF for one in left)
    trial.expect(inside, f"{len(left)} steps", f"they reach from {min(left):.3g} to {max(left):.3g}")
    rises = next((step for step in range(1, len(left)) if left[step] > left[step - 1] + ROUND_OFF), 0)
    trial.expect(not rises, f"{len(left)} steps", f"step {rises} has {left[rises]:.4g} after {left[rises - 1]:.4g}")
    trial.expect(left[0] > 0.5, f"{len(left)} steps", f"the first one leaves {left[0]:.3f} of the image's variance")


@entry(
    "last-step-is-noise",
    "sampling",
    "list of the shares of the image's variance that are left after each step of a diffusion",
    f"leaves less than {LEFT:g} at the last step, since sampling begins with pure noise",
    names={"alphascumprod", "alphabar", "alphabars", "alphacumprod", "alphahat", "abar", "alphasbar", "alphabart"},
    unless={"prev", "sqrt", "log", "one", "minus", "next", "recip", "inv"},
    remedy="More steps, or variances that grow as the steps become fewer (the usual 1e-4 to 0.02 belong to 1000).",
    source="Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, 2024",
)
def last_step_is_noise(trial: Trial) -> None:
    """(T,) or (T, 1, 1, 1), falling."""
    left = _levels(trial)
    trial.require(all(after <= before + ROUND_OFF for before, after in itertools.pairwise(left)))
    trial.require(0.5 < left[0] <= 1 and left[-1] >= 0)
    trial.expect(
        left[-1] < LEFT,
        f"{len(left)} steps",
        f"the last one leaves {left[-1]:.3f} of the image's variance ({left[-1] ** 0.5:.2f} of its amplitude)",
    )
