"""Divergences and likelihoods: what they are between equal distributions, and where they are least."""

from __future__ import annotations

import math

from traindx.watch.probes.textbook.base import Trial, entry

ZERO = 1e-3  # a smoothing constant stays below


@entry(
    "kl-of-standard-normal",
    "loss",
    "Kullback-Leibler divergence from a standard normal distribution",
    "is 0 for a mean of 0 and a log variance of 0, and positive for any other",
    names={"kl", "kld", "kldiv", "kldivergence", "kullback", "gaussiankl", "klloss", "kldloss"},
    unless={"annealing", "weight", "schedule", "beta", "categorical"},
    universal=True,
    remedy="-0.5 * (1 + logvar - mu ** 2 - logvar.exp()), summed over the latent axes.",
    source="Kingma and Welling, Auto-Encoding Variational Bayes, 2014, appendix B",
)
def kl_of_standard_normal(trial: Trial) -> None:
    """Needs a mean and a log variance by name."""
    torch = trial.torch
    mean = trial.need("mu", "mean", "mus", "means", "zmean", "zmu")
    logvar = trial.need("logvar", "logvariance", "lnvar", "logsigma2", "logsigmasq", "zlogvar")
    a, b = trial.arrays[mean], trial.arrays[logvar]
    trial.require(len(trial.arrays) == 2 and mean != logvar and a.shape == b.shape)

    def total(mu: float, log: float) -> float:
        result = trial.tensor(**{mean: torch.full_like(a, mu), logvar: torch.full_like(b, log)})
        return float(result.double().sum())

    none, moved, wide = total(0.0, 0.0), total(2.0, 0.0), total(0.0, 1.0)
    trial.expect(abs(none) < ZERO * max(abs(moved), 1.0), "a mean of 0 and a log variance of 0", f"{none:.3g} came out")
    trial.expect(moved > 0, "means of 2 and log variances of 0", f"{moved:.3g} came out")
    trial.expect(wide > 0, "means of 0 and log variances of 1", f"{wide:.3g} came out")
    ratio = wide / moved  # (e - 2) / 4, whatever is averaged or summed
    trial.expect(
        abs(ratio - (math.e - 2) / 4) < 0.02,
        "means of 2, and then log variances of 1",
        f"the second costs {ratio:.3f} of the first, by definition 0.180: variances are counted otherwise",
    )
