"""What a loss compares an output with, and the output that says exactly what the target says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from traindx.watch.collectors.provenance import ACTIVATIONS
from traindx.watch.probes.loss_path import Path, Ref, Source, Step, references

SURE = 8.0  # a logit that says yes; e^-8 is a probability of 3e-4
LAYOUT = ("float", "double", "contiguous", "squeeze", "unsqueeze", "view", "reshape", "flatten", "to", "clone", "type")
REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "sub", "__sub__", "__rsub__", "rsub", "subtract")
CLASSES = ("cross_entropy", "nll_loss")
PROBABILITIES = ("binary_cross_entropy",)
LOGITS = ("binary_cross_entropy_with_logits",)


@dataclass
class Comparison:
    """A target and the output that is compared with it.

    Attributes:
        source: The output.
        step: The comparison.
        activation: The activation between the two, or "".
        target: The target.
        shape: Shape of what is compared, which has as many numbers as the output.
    """

    source: Source
    step: Step
    activation: str
    target: Any
    shape: tuple[int, ...]

    def saying(self, torch: Any, target: Any) -> Any | None:
        """An output that says what a target says; None where none can."""
        operand = self._operand(torch, target)
        if operand is None:
            return None
        output = _before_activation(torch, self.activation, operand)
        return None if output is None else output.reshape(self.source.value.shape).to(self.source.value.dtype)

    def _operand(self, torch: Any, target: Any) -> Any | None:
        name = self.step.name
        if name in REGRESSION:
            return target.float() if tuple(target.shape) == self.shape else None
        if name in PROBABILITIES or name in LOGITS:
            if tuple(target.shape) != self.shape or float(target.min()) < 0 or float(target.max()) > 1:
                return None
            return target.float() if name in PROBABILITIES else 2 * SURE * (target.float() - 0.5)
        if target.is_floating_point():
            return (
                2 * SURE * (target.float() - 0.5)
                if name == "cross_entropy" and tuple(target.shape) == self.shape
                else None
            )
        classes = self.shape[1] if len(self.shape) > 1 else self.shape[0]
        known = (target >= 0) & (target < classes)
        wanted = torch.nn.functional.one_hot(target.clamp(0, classes - 1), classes) * known[..., None]
        if wanted.dim() > 1:
            wanted = wanted.movedim(-1, 1)
        if tuple(wanted.shape) != self.shape:
            return None
        return 2 * SURE * (wanted.float() - (1.0 if name == "nll_loss" else 0.5))


def _before_activation(torch: Any, activation: str, operand: Any) -> Any | None:
    """The output whose activation is the operand."""
    low, high = float(operand.min()), float(operand.max())
    if activation in ("", "log_softmax"):  # log-softmax leaves log-probabilities as they are
        return operand
    if activation == "sigmoid" and low >= 0 and high <= 1:
        return torch.logit(operand, eps=3e-4)
    if activation == "softmax" and low >= 0 and high <= 1:
        return operand.clamp_min(3e-4).log()
    if activation == "tanh" and low >= -1 and high <= 1:
        return torch.atanh(operand.clamp(-0.9995, 0.9995))
    return None


def comparisons(path: Path) -> Iterator[Comparison]:
    """Every comparison with a constant of an output, or of its activation."""
    torch = path.torch
    made_by = {number: step for step in path.needed() for number in step.gives}
    sources = {source.number: source for source in path.sources}
    values: dict[int, Any] | None = None
    for step in path.needed():
        if step.name not in (*REGRESSION, *CLASSES, *PROBABILITIES, *LOGITS):
            continue
        operands = list(step.args[:2])
        operands += [step.kwargs[key] for key in ("input", "target", "other") if key in step.kwargs][
            : 2 - len(operands)
        ]
        if len(operands) != 2:
            continue
        first, second = operands
        if isinstance(second, Ref) and step.name in REGRESSION:
            first, second = second, first
        if not isinstance(first, Ref) or not isinstance(second, torch.Tensor) or second.numel() < 2:
            continue
        origin = _origin(first, made_by, sources)
        if origin is None:
            continue
        source, activation = origin
        values = path.values() if values is None else values
        operand = values[first.number]
        if operand.numel() == source.value.numel():
            yield Comparison(source, step, activation, second, tuple(operand.shape))


def _origin(ref: Ref, made_by: dict[int, Step], sources: dict[int, Source]) -> tuple[Source, str] | None:
    """The output that a value is, up to its shape and one activation."""
    activation = ""
    for _ in range(12):
        if ref.number in sources:
            return sources[ref.number], activation
        step = made_by.get(ref.number)
        if step is None or step.in_place or len(refs := list(references(step))) != 1:
            return None
        if step.name in ACTIVATIONS and not activation:
            activation = step.name
        elif step.name not in LAYOUT:
            return None
        ref = refs[0]
    return None
