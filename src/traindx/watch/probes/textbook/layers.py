"""Layers that are written by hand: normalisation within a sample, and the dropping of whole paths."""

from __future__ import annotations

from typing import Any

from traindx.watch.probes.functions.common import as_tensor
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.draws import drawn

NORMS = {
    "layernorm", "layernorm2d", "layernorm3d", "rmsnorm", "rmsnorm2d", "groupnorm", "instancenorm", "instancenorm2d",
    "instancenorm3d", "channelnorm", "pixelnorm", "channellayernorm", "rootmeansquarenorm",
}  # fmt: skip
OTHERS = {
    "pre", "post", "residual", "attention", "attn", "block", "conv", "spectral", "weight", "batch", "ada", "adaptive",
    "adain", "linear", "relu", "act", "swish", "silu", "gelu", "gated", "with", "proj", "response", "l2", "loss",
    "init", "cond", "conditional", "film", "mlp", "drop", "fused", "switchable", "get", "build", "make", "spade",
    "norms",
}  # fmt: skip
PATHS = {"droppath", "stochasticdepth", "droppaths"}
TIMES = 3.0  # as large
SAMPLES = 48


def _input(trial: Trial, seed: int = 0) -> tuple[str, Any]:
    """The only array, and numbers of its shape for which a constant that prevents a division by 0 does not matter."""
    name = trial.only()
    given = trial.arrays[name]
    trial.require(given.is_floating_point() and 2 <= given.dim() <= 5 and given.shape[0] >= 2 and given.numel() >= 32)
    result = as_tensor(trial.torch, trial.call.result)
    trial.require(result is not None and result.shape == given.shape)
    return name, 10 * trial.torch.randn(given.shape, generator=trial.generator(seed)) + 2


@entry(
    "norm-ignores-the-scale",
    "model",
    "normalisation layer",
    "gives the same for a sample and for three times that sample",
    names=NORMS,
    unless=OTHERS,
    remedy="Divide by the root of the variance (or of the mean square): x * torch.rsqrt(variance + eps).",
    source="Ba et al., Layer Normalization, 2016, section 5.1; Zhang and Sennrich, RMSNorm, 2019, section 3",
)
def ignores_the_scale(trial: Trial) -> None:
    """One array of any number of axes; a result of the same shape, with or without a learned scale and shift."""
    name, numbers = _input(trial)
    once, more = (trial.tensor(**{name: factor * numbers}).double() for factor in (1.0, TIMES))
    spread = float(once.std())
    trial.require(spread > 0)
    off = float((more - once).abs().mean()) / spread
    trial.expect(off < 0.05, "an input, and three times that input", f"they differ by {off:.2f} of the spread")


@entry(
    "norm-keeps-samples-apart",
    "model",
    "normalisation within a sample",
    "makes nothing of one sample for another one",
    names=NORMS,
    unless=OTHERS,
    remedy="Take mean and variance over the features alone (dim=-1, or dim=1 of an image), never over axis 0.",
    source="Ba et al., Layer Normalization, 2016, eq. 3; Wu and He, Group Normalization, 2018, eq. 5",
)
def keeps_samples_apart(trial: Trial) -> None:
    """Axis 0 is that of the samples; three axes are samples, places and features."""
    name, numbers = _input(trial)
    trial.require(numbers.dim() != 3 or not {"group", "instance"} & set(trial.call.name.lower().split("norm")))
    other = _input(trial, seed=1)[1] * 4 - 30
    other[0] = numbers[0]
    first, second = (trial.tensor(**{name: one}).double()[0] for one in (numbers, other))
    spread = float(first.std())
    trial.require(spread > 0)
    off = float((second - first).abs().mean()) / spread
    trial.expect(off < 0.05, "a sample beside others, and beside other ones", f"it differs by {off:.2f} of its spread")


@entry(
    "dropped-paths-are-whole",
    "model",
    "dropping of paths",
    "drops whole samples in training, and changes nothing in evaluation",
    names=PATHS,
    unless={"rate", "rates", "block", "schedule", "prob", "net", "model", "scheduled", "list", "layer"},
    random=True,
    remedy="A mask of shape (batch, 1, 1, ...), divided by the probability of keeping; nothing in evaluation.",
    source="Huang et al., Deep Networks with Stochastic Depth, 2016, eq. 2",
)
def dropped_paths(trial: Trial) -> None:
    """One array; the mode is that of the layer, or an argument called ``training``."""
    torch = trial.torch
    name = trial.only()
    given = trial.arrays[name]
    owner = trial.call.args.get("self")
    switch = type(trial.call.args.get("training")) is bool
    trial.require(given.is_floating_point() and given.dim() >= 2 and given[0].numel() >= 4)
    trial.require(switch or isinstance(owner, torch.nn.Module))
    made = torch.randn((SAMPLES, *given.shape[1:]), generator=trial.generator()).abs() + 1

    def passed(training: bool) -> Any:
        if switch:
            return as_tensor(torch, trial.again(**{name: made, "training": training}))
        return as_tensor(torch, drawn(trial, 1, training, **{name: made}))

    quiet, loud = passed(False), passed(True)
    trial.require(quiet is not None and quiet.shape == made.shape)
    trial.expect(bool(torch.allclose(quiet, made)), "a batch in evaluation", "it came out changed")
    trial.require(loud is not None and loud.shape == made.shape)
    factor = (loud / made).flatten(1)
    apart = float((factor.amax(1) - factor.amin(1) > 1e-3).double().mean())
    trial.expect(apart == 0, f"{SAMPLES} samples in training", f"{100 * apart:.0f} % of them are dropped in parts")
